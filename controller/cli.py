"""``saga``: check a gateway file, show gateways, explain where a packet goes, list alarms, reload.

Exit codes: 0 done; 1 the controller or a switch cannot be asked; 2 the input is not valid.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.explain.explain import Explainer, ExplainError, find_gateway, question
from controller.model import ModelError, load
from controller.model.warnings import config_alarms

DEFAULT_API = "http://127.0.0.1:8080"
TIMEOUT = 20
"""Seconds to wait for the controller or a switch."""
PLAIN_WIDTH = 140
"""Columns of tables where the output is no terminal."""


class CommandError(Exception):
    """A command that cannot be carried out; ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


class Client:
    """The controller's REST interface."""

    def __init__(self, base: str):
        self.base = base.rstrip("/")

    def call(self, method: str, path: str) -> tuple[int, object]:
        """Return status and JSON body.  Raises CommandError where the controller does not answer."""
        request = urllib.request.Request(f"{self.base}/saga/v1{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, ValueError) as error:
            raise CommandError(f"no controller at {self.base} ({error}); is ryu-manager running? "
                               "--api or SAGA_API names another one") from error

    def get(self, path: str) -> object:
        """Return the JSON document of a path."""
        status, body = self.call("GET", path)
        if status != 200:
            raise CommandError(f"{path}: {status} {body}")
        return body


def trace(bridge: str, flow: str, options: tuple[str, ...]) -> str:
    """Run ``ofproto/trace`` on the Open vSwitch of this machine (or of OVS_RUNDIR).  Raises CommandError."""
    try:
        done = subprocess.run(["ovs-appctl", "ofproto/trace", bridge, flow, *options], capture_output=True, text=True,
                              timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"ovs-appctl: {error}") from error
    if done.returncode:
        raise CommandError(f"ovs-appctl ofproto/trace {bridge}: {done.stderr.strip() or done.stdout.strip()}; "
                           "run this where the bridge is, with OVS_RUNDIR set if it is not the system's Open vSwitch")
    return done.stdout


def _printed_as_json(args: argparse.Namespace, body: object) -> bool:
    """Print a body as JSON where that was asked for; True if so."""
    if args.json:
        print(json.dumps(body, indent=1))
    return args.json


def _check(args: argparse.Namespace, console: Console) -> int:
    try:
        config = load(args.file)
    except ModelError as error:
        problems = [{"path": problem.path, "message": problem.message} for problem in error.problems]
        if not _printed_as_json(args, {"valid": False, "problems": problems}):
            for problem in problems:
                print(f"{args.file}: {problem['path'] or 'file'}: {problem['message']}", file=sys.stderr)
        return 2
    alarms = [vars(alarm) for alarm in config_alarms(config)]
    gateways = [gateway.id for gateway in config.gateways]
    if _printed_as_json(args, {"valid": True, "gateways": gateways, "alarms": alarms}):
        return 0
    for alarm in alarms:
        console.print(Text(f"{alarm['severity']} {alarm['id']} {alarm['entity']}: {alarm['cause']} "
                           f"Remedy: {alarm['remedy']}"), soft_wrap=True)
    print(f"{args.file}: valid, {len(gateways)} gateway(s), {len(alarms)} alarm(s)")
    return 0


def _show(args: argparse.Namespace, console: Console) -> int:
    client = Client(args.api)
    gateways, health = client.get("/gateways"), client.get("/health")
    if _printed_as_json(args, {"gateways": gateways, "health": health}):
        return 0
    for gateway in gateways:
        policy = gateway["redirection_policy"] if gateway["stateful"] else "not stateful"
        print(f"Tier-0 {gateway['id']}: {gateway['ha_mode']}, {policy}, north ECMP {gateway['dr_ecmp']}")
        table = Table("slot", "edge", "failure domain", "bridge", "zone", "state", "port", "addresses")
        for router in gateway["routers"]:
            bridge = health["bridges"].get(router["bridge"], {})
            state = "settled" if bridge.get("settled") else ("connected" if bridge.get("connected") else "DISCONNECTED")
            for number, leg in enumerate(router["legs"]):
                front = (str(router["slot"]), router["edge"], router["failure_domain"] or "", router["bridge"],
                         str(router["zone"]), state) if number == 0 else ("",) * 6
                table.add_row(*front, leg["port"], "\n".join(leg["addresses"]))
        console.print(table)
        rows = Table("slot", "member", "peer", "holder", "sub-cluster", title="owner table")
        for row in gateway["owner_table"]:
            rows.add_row(str(row["slot"]), row["member"], row["peer"] or "none", row["holder"],
                         row["sub_cluster"] or "none")
        console.print(rows)
        segments = ", ".join(f"{segment['id']} ({', '.join(segment['addresses'])})"
                             for segment in gateway["segments"])
        console.print(Text(f"segments: {segments}"), soft_wrap=True)
    return 0


def _status(args: argparse.Namespace, console: Console) -> int:
    health = Client(args.api).get("/health")
    if _printed_as_json(args, health):
        return 0
    table = Table("bridge", "connected", "settled", "round", "changes", "audits", "missing", "altered", "alien",
                  title="bridges; what audits repaired is in the last three columns")
    for name, bridge in health["bridges"].items():
        table.add_row(name, str(bridge["connected"]), str(bridge["settled"]),
                      *(str(bridge.get(key, "")) for key in ("round", "changes", "audits", "repaired_missing",
                                                             "repaired_altered", "repaired_alien")))
    console.print(table)
    return 0


def _alarms(args: argparse.Namespace, console: Console) -> int:
    alarms = Client(args.api).get("/alarms")
    if _printed_as_json(args, alarms):
        return 0
    for alarm in alarms:
        console.print(Text(f"{alarm['severity']} {alarm['id']} {alarm['gateway']} {alarm['entity']}\n"
                           f"  cause: {alarm['cause']}\n  remedy: {alarm['remedy']}"), soft_wrap=True)
    if not alarms:
        print("no alarms")
    return 0


def _reload(args: argparse.Namespace, console: Console) -> int:
    status, body = Client(args.api).call("POST", "/reload")
    if _printed_as_json(args, body):
        pass
    elif status == 200:
        print("the gateway file was read again")
    else:
        for problem in body.get("problems", []):
            print(f"{problem['path'] or 'file'}: {problem['message']}", file=sys.stderr)
        print(body.get("error", ""), file=sys.stderr)
    return 0 if status == 200 else 2


def _explain(args: argparse.Namespace, console: Console) -> int:
    gateways = Client(args.api).get("/gateways")
    try:
        flow = question(args.src, args.dst, args.proto, args.sport, args.dport)
        gateway, north = find_gateway(gateways, flow)
    except (ValueError, ExplainError) as error:
        raise CommandError(str(error), 2) from error
    told = Explainer(gateway, trace).explain(flow, north)
    if _printed_as_json(args, told):
        return 0
    _print_explanation(told, {"north": args.via, "south": args.return_via}, console)
    return 0


def _print_explanation(told: dict, via: dict[str, str | None], console: Console) -> None:
    owner = told["owner"]
    print(f"{told['src']} -> {told['dst']} ({told['proto']}), opened {told['opened']}; gateway {told['gateway']}")
    if owner is None:
        print("no owner: this gateway does not redirect; every router serves what it receives")
    else:
        moved = "" if owner["holder"] == owner["member"] else f", held by {owner['holder']}"
        print(f"owner: slot {owner['slot']} on {owner['member']}{moved} ({owner['bridge']}, zone {owner['zone']})")
        scores = ", ".join(f"slot {slot}: {score}" for slot, score in told["hash"]["scores"].items())
        inputs = told["hash"]
        print(f"why: hash of {inputs['value']} ({inputs['north']} going north, {inputs['south']} coming south)"
              + (f", highest score wins: {scores}" if scores else ""))
    for direction in ("north", "south"):
        unowned = " (an answer that comes back over another router than the packet that it answers)"
        note = unowned if owner is None and direction != told["opened"].rpartition(" ")[2] else ""
        table = Table("entering at", "outcome", title=f"going {direction}{note}")
        for edge, walk in told[direction].items():
            last = walk["hops"][-1] if walk["hops"] else {"place": "", "what": "nothing"}
            table.add_row(edge, ("punted, then " if walk["punted"] else "not punted, ")
                          + f"{last['place']} {last['what']}")
        console.print(table)
        edge = via[direction] if via[direction] in told[direction] else next(
            (edge for edge, walk in told[direction].items() if walk["punted"]), next(iter(told[direction])))
        print(f"the walk from {edge}, as Open vSwitch computes it:")
        hops = (told.get("distributed_router", []) if direction == "north" else []) + told[direction][edge]["hops"]
        for hop in hops:
            console.print(Text(f"  {hop['bridge']:10} {hop['place']}: {hop['what']} ({hop['why']})"), soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="saga", description="Stateful active/active gateways for Open vSwitch")
    parser.add_argument("--api", default=os.environ.get("SAGA_API", DEFAULT_API),
                        help="base URL of the controller (default: SAGA_API or %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function, help_: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(function=function)
        return command

    add("check", _check, "check a gateway file; exit code 2 and the path of what is wrong").add_argument("file")
    add("show", _show, "show gateways, service routers, ports and owner table")
    add("status", _status, "show whether every bridge is connected and settled, and what audits repaired")
    add("alarms", _alarms, "list open alarms with cause and remedy")
    add("reload", _reload, "have the controller read its gateway file again")
    explain = add("explain", _explain, "say which router owns a connection, where its packets go, and why")
    explain.add_argument("--src", required=True, help="source address of the packet that opens the connection")
    explain.add_argument("--dst", required=True, help="its destination address")
    explain.add_argument("--proto", choices=("tcp", "udp", "icmp"), default="tcp")
    explain.add_argument("--sport", type=int, default=40000, help="source port (default %(default)s)")
    explain.add_argument("--dport", type=int, default=80, help="destination port (default %(default)s)")
    explain.add_argument("--via", help="edge from which the walk north is printed in full (default: one that punts)")
    explain.add_argument("--return-via", help="the same for the walk south")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``saga`` and return its exit code."""
    args = _parser().parse_args(arguments)
    try:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
        return args.function(args, console)
    except CommandError as error:
        print(f"saga: {error}", file=sys.stderr)
        return error.code


if __name__ == "__main__":
    sys.exit(main())
