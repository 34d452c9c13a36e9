"""What the tests about rules share: gateway files with other rules, one lab with several of them, frames sent as is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any

import yaml

from controller.explain import oracle
from tests.e2e.helpers import FOUR_EDGE, SLOTS, Answer, tool
from tests.e2e.helpers_traffic import push_counters
from topologies.hosts import LabHost
from topologies.lab import Lab
from topologies.process import end

SNAT_ADDRESS = "198.51.100.1"
PUBLIC = "198.51.100.80"
OUT = {"id": "out", "action": "SNAT", "source_network": "10.0.0.0/24", "translated_network": SNAT_ADDRESS,
       "sequence_number": 1000}
"""The SNAT rule of every inside host."""
ROUTERS_OUTSIDE = tuple(f"R-up{slot}" for slot in SLOTS)
"""Interfaces of the physical router on the uplinks."""


def remotes(count: int, version: int = 4) -> list[str]:
    """Return addresses of B; a dozen is enough for every service router to own some."""
    return [f"192.0.2.{2 + number}" if version == 4 else f"2001:db8:b::{2 + number:x}" for number in range(count)]


def gateway(
    nat: Sequence[Mapping[str, Any]] = (), rules: Sequence[Mapping[str, Any]] = (), default: str = "ALLOW",
    text: str = FOUR_EDGE, **tier0: Any,
) -> str:
    """Return a gateway file with these NAT rules, firewall rules and default action, and other keys of the Tier-0."""
    document = yaml.safe_load(text)
    document["tier0s"][0] |= {
        "nat_rules": [dict(rule) for rule in nat],
        "gateway_firewall": {"default_action": default, "rules": [dict(rule) for rule in rules]},
        **tier0,
    }
    return yaml.safe_dump(document, sort_keys=False)


def service(protocol: str, *ports: int | str) -> dict[str, Any]:
    """Return a service entry with destination ports."""
    return {"protocol": protocol, "destination_ports": [str(port) for port in ports]}


def use(lab: Lab, text: str) -> None:
    """Have a gateway file in force in the lab, and forget all connections."""
    if lab.gateway_file.read_text() != text:
        lab.set_config(text)
        lab.wait_settled()
    lab.appctl(lab.bridges[0], "dpctl/flush-conntrack")


def datapath(lab: Lab) -> str:
    """Return the name that Open vSwitch's tools know the datapath by."""
    return lab.switch(lab.bridges[0]).ovs.datapath_name


def slots_of(lab: Lab, connections: Iterable[Mapping[str, Any]]) -> set[int]:
    """Return the slots of the service routers that track the connections."""
    slots = {router.zone: router.slot for router in lab.config.gateways[0].routers}
    return {slots[connection["zone"]] for connection in connections if connection["zone"] in slots}


def owner(remote: str) -> int:
    """Return the slot that owns a remote address."""
    return oracle.owner(ip_address(remote), SLOTS)


def owned_on_link(slot: int, network: str = "172.16.{}.{}") -> str:
    """Return an address that nobody has, on the uplink of the service router that owns it."""
    return next(address for host in range(50, 250) if owner(address := network.format(slot, host)) == slot)


def punted(lab: Lab) -> tuple[int, int]:
    """Return how many packets came in by all north and all south shadow ports."""
    push_counters(lab)
    counters = {slot: lab.counters(f"t0-sr{slot}") for slot in SLOTS}
    north, south = (sum(found[f"t0-sr{slot}-{port}"].rx_packets for slot, found in counters.items())
                    for port in ("pn", "ps"))
    return north, south


def errors(answers: Iterable[Answer]) -> list[str]:
    """Return what went wrong with connections."""
    return [answer.error for answer in answers if answer.error]


@contextmanager
def captured(lab: Lab, host: str, interfaces: Iterable[str], expression: str):
    """Capture on interfaces of a host during the block; the list that is yielded gets the lines at its end."""
    lines: list[str] = []
    with ExitStack() as stack:
        captures = [stack.enter_context(lab.capture(host, interface, expression)) for interface in interfaces]
        yield lines
    for capture in captures:
        lines += filter(None, capture.lines)


def inject(host: LabHost, interface: str, frames: Iterable[bytes]) -> None:
    """Send frames as they are from an interface of a host."""
    host.run(tool("inject", interface), stdin="".join(frame.hex() + "\n" for frame in frames))


@contextmanager
def running(host: LabHost, *command: str | int):
    """Run a program of ``tools/`` during the block, after its first line, which must be ``listening``."""
    process = host.popen(tool(*command), stdin=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "listening\n", process.stderr.read()
        yield process
    finally:
        end(process)
