"""A trace told in words: router by router, what was decided and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from controller.explain.trace import Step, Trace
from controller.model import names
from controller.pipeline import cookies, fields, groups, tables
from controller.pipeline.cookies import Category


def _sets(step: Step, mark: fields.Mark) -> bool:
    """True where a step sets a mark."""
    field = mark.field
    return f"set_field:{mark.value << field.first:#x}/{field.mask:#x}->{field.register}" in step.actions


def _goes_to(step: Step, table: tables.Table) -> bool:
    """True where a step goes on in a table."""
    return f"goto_table:{table.number}" in step.actions


@dataclass(frozen=True)
class Hop:
    """One thing that happened on the way: where, what, why."""

    bridge: str
    place: str
    what: str
    why: str

    def as_dict(self) -> dict:
        """Return the hop as JSON values."""
        return {"bridge": self.bridge, "place": self.place, "what": self.what, "why": self.why}


class Narrator:
    """Tells traces of one gateway, given as the JSON document of ``GET /saga/v1/gateways``."""

    def __init__(self, gateway: dict):
        self._gateway = gateway
        self._places = {gateway["distributed_router"]["bridge"]: "distributed router"}
        self._routers = {}
        for router in gateway["routers"]:
            self._places[router["bridge"]] = f"service router of slot {router['slot']} on {router['edge']}"
            self._routers[router["bridge"]] = router
        self._switches = {names.switch_bridge(gateway["prefix"], switch): place for switch, place in (
            (names.BACKPLANE, "backplane"), (names.PUNT_NORTH, "north punt switch"),
            (names.PUNT_SOUTH, "south punt switch"))}
        self._tellers: dict[str, Callable[[Step], Hop | None]] = {
            "CLASSIFY": self._classify, "LOCAL": self._local, "OWNER": self._owner, "PUNT": self._punt,
            "TRACK": self._track, "STATE": self._state, "DNAT": self._dnat, "ROUTE": self._route,
            "FIREWALL": self._firewall, "NAT": self._nat, "FORWARD": self._forward, "OUT": self._out,
        }

    def tell(self, trace: Trace) -> list[Hop]:
        """Return what happened in a trace, in order."""
        hops: list[Hop] = []
        for step in trace.steps:
            if step.bridge in self._switches:
                hops.append(Hop(step.bridge, self._switches[step.bridge], "switched" if step.actions != ("drop",) else
                                "dropped", "from and to the ports that the frame's addresses belong to"
                                if step.actions != ("drop",) else "no port has these addresses"))
                continue
            if step.bridge not in self._places:
                continue
            kind = tables.DR if step.bridge == self._gateway["distributed_router"]["bridge"] else tables.SR
            name = next((table.name for table in tables.tables_of(kind) if table.number == step.table), "")
            teller = self._tellers.get(name)
            hop = teller(step) if teller else None
            if hop is not None:
                hops.append(hop)
        return hops

    def _hop(self, step: Step, what: str, why: str) -> Hop:
        return Hop(step.bridge, self._places[step.bridge], what, why)

    def _classify(self, step: Step) -> Hop:
        if "drop" in step.actions or step.match == "no match":
            return self._hop(step, "dropped", "not addressed to this port, or not of the kind and slot it serves")
        punted, north = _sets(step, fields.PUNTED.at(1)), _sets(step, fields.NORTH)
        if step.bridge not in self._routers:
            return self._hop(step, "taken", "addressed to the distributed router")
        if punted:
            return self._hop(step, "taken from the shadow port", "punted: treated as if received on its "
                             + ("backplane" if north else "own uplink of the interface group"))
        if north:
            return self._hop(step, "taken from the backplane", "going north: the remote address is the destination")
        return self._hop(step, "taken from the uplink", "going south: the remote address is the source")

    def _local(self, step: Step) -> Hop | None:
        if _goes_to(step, tables.OWNER) or step.actions == (f"goto_table:{tables.ROUTE.number}",):
            return None
        if any(action.startswith("CONTROLLER") for action in step.actions):
            return self._hop(step, "answered by the controller", "addressed to the router itself")
        if _sets(step, fields.ORIGINATED.at(1)):
            return self._hop(step, "answered by the router itself", "addressed to the router; never punted")
        return self._hop(step, "dropped", "not to be routed, or addressed to the router itself")

    def _owner(self, step: Step) -> Hop | None:
        if any(action.startswith("multipath(") for action in step.actions):
            return self._hop(step, "owner chosen", "hash of both addresses, the same for both directions")
        if step.bucket is None:
            return None
        return self._hop(step, f"owner: slot {step.bucket}",
                         "highest score of the remote address's hash: "
                         + ", ".join(f"slot {slot} {score}" for slot, score in sorted(step.scores.items())))

    def _punt(self, step: Step) -> Hop:
        if _goes_to(step, tables.TRACK):
            return self._hop(step, "served here", "this router holds the slot")
        register = re.search(rf"{fields.DIRECTION.register}=(0x[0-9a-f]+)", step.match)
        north = register and int(register[1], 16) & fields.DIRECTION.mask == fields.NORTH.value
        way = "south" if north else "north"
        return self._hop(step, f"punted over the {way} punt switch", "another router holds the slot")

    def _track(self, step: Step) -> Hop:
        zone = self._routers[step.bridge]["zone"]
        if any(action.startswith("ct(") for action in step.actions):
            return self._hop(step, "passed the connection tracker", f"zone {zone} belongs to this router alone")
        return self._hop(step, "handed to the controller", "TTL expired: an ICMP time exceeded is sent")

    def _state(self, step: Step) -> Hop:
        if _goes_to(step, tables.DNAT):
            return self._hop(step, "new connection from outside", "the destination is looked up in DNAT")
        if _goes_to(step, tables.ROUTE):
            return self._hop(step, "goes on to routing", "new from inside, or a known connection")
        return self._hop(step, "dropped", "the tracker calls it invalid")

    def _rule(self, step: Step, listed: str) -> str | None:
        if not cookies.is_ours(step.cookie):
            return None
        number = cookies.object_of(step.cookie)
        names = self._gateway[listed]
        return names[number - 1] if 0 < number <= len(names) else None

    def _dnat(self, step: Step) -> Hop | None:
        rule = self._rule(step, "nat_rules")
        if cookies.category_of(step.cookie) != Category.NAT or rule is None:
            return None
        return self._hop(step, "destination translated", f"NAT rule {rule}")

    def _route(self, step: Step) -> Hop:
        if any(action.startswith("CONTROLLER") for action in step.actions):
            return self._hop(step, "handed to the controller", "no route: an ICMP unreachable is sent")
        if cookies.category_of(step.cookie) == Category.NAT or "drop" in step.actions:
            return self._hop(step, "dropped", "an external address that no translation claimed: fail closed")
        if f"group:{groups.DR_ECMP}" in step.actions:
            how = f"service router of slot {step.bucket}, by the owner table" if step.bucket is not None else (
                "a service router by the datapath's five-tuple hash")
            return self._hop(step, f"routed north, to {how}", "default route with equal-cost next hops")
        destination = next((part for part in step.match.split(",") if part.startswith(("nw_dst=", "ipv6_dst="))),
                           "default route")
        return self._hop(step, "routed", destination.replace("nw_dst=", "to ").replace("ipv6_dst=", "to "))

    def _firewall(self, step: Step) -> Hop:
        rule = self._rule(step, "firewall_rules")
        verdict = "dropped" if "drop" in step.actions else (
            "rejected" if _sets(step, fields.REJECT) else "let through")
        if cookies.category_of(step.cookie) == Category.BASE and "drop" in step.actions:
            return self._hop(step, "dropped", "it came from outside and would go back to where it came from")
        if cookies.category_of(step.cookie) == Category.BASE:
            return self._hop(step, "let through", "known connection, or made by the router itself")
        return self._hop(step, f"firewall: {verdict}", f"rule {rule}" if rule else "default action")

    def _nat(self, step: Step) -> Hop:
        commit = next((action for action in step.actions if action.startswith("ct(commit")), None)
        rule = self._rule(step, "nat_rules")
        if any(action.startswith("CONTROLLER") for action in step.actions):
            return self._hop(step, "rejected", "the sender is told")
        if commit is None:
            return self._hop(step, "not tracked", "let through by a stateless rule")
        nat = re.search(r"nat\(([^)]*)\)", commit)
        if nat:
            return self._hop(step, f"connection entered, {nat[1]}", f"NAT rule {rule}")
        return self._hop(step, "connection entered", f"NAT rule {rule}" if rule else "no NAT rule")

    def _forward(self, step: Step) -> Hop | None:
        if any(action.startswith("CONTROLLER") for action in step.actions):
            return self._hop(step, "handed to the controller", "TTL expired: an ICMP time exceeded is sent")
        if "drop" in step.actions:
            return self._hop(step, "dropped", "no translation could be made")
        return None

    def _out(self, step: Step) -> Hop:
        if any(action.startswith("CONTROLLER") for action in step.actions):
            return self._hop(step, "waits", "the neighbour is not known yet; the controller asks for it")
        port = next((action.removeprefix("output:") for action in step.actions if action.startswith("output:")), "")
        return self._hop(step, f"leaves by {self._port(step.bridge, port)}", "interface of the route")

    def _port(self, bridge: str, number: str) -> str:
        ports = self._gateway["ports"].get(bridge, {})
        return next((name for name, value in ports.items() if str(value) == number), f"port {number}")
