"""``saga explain``: who owns a remote address, and the way of a packet in both directions, as Open vSwitch computes it.

The packet is traced with ``ovs-appctl ofproto/trace`` from every router it may enter by; nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from controller.explain import oracle
from controller.explain.trace import Trace, parse
from controller.explain.walk import Narrator
from controller.model.gateway import Address
from controller.pipeline.fields import BACKPLANE_INTERFACE, LINK, SLOT
from controller.pipeline.tables import PUNT

Tracer = Callable[[str, str, tuple[str, ...]], str]
"""(bridge, flow, options) to the output of ``ofproto/trace`` on the Open vSwitch instance of that bridge."""

OPENING = ("--ct-next", "trk,new", "--ct-next", "trk,new,snat,dnat")
"""What the tracker says of a connection that it does not know, and of the same once it is entered and translated."""
ESTABLISHED = ("--ct-next", "trk,est,rpl")
UNKNOWN = ("--ct-next", "trk,inv")
HOST_MAC = "02:00:00:00:00:01"
"""Stands for the neighbour that the traced packet comes from."""


_CHOSEN = re.compile(rf"{SLOT.register}=(0x[0-9a-f]+|0)/(0x[0-9a-f]+)")


class ExplainError(Exception):
    """The question does not fit the gateways: no gateway has a segment with either address."""


@dataclass(frozen=True)
class Flow:
    """What is asked about: addresses, protocol (tcp, udp or icmp), ports."""

    src: Address
    dst: Address
    proto: str = "tcp"
    sport: int = 40000
    dport: int = 80


def _inside(gateway: dict, address: Address) -> dict | None:
    """Return the segment of a gateway that an address is in."""
    for segment in gateway["segments"]:
        for own in segment["addresses"]:
            if address in ip_interface(own).network:
                return segment
    return None


def _translates_to_inside(gateway: dict, address: Address) -> bool:
    return any(address in ip_network(rule["destination"]) for rule in gateway["translations"] if rule["destination"])


def find_gateway(gateways: list[dict], flow: Flow) -> tuple[dict, bool]:
    """Return the gateway that a flow crosses and whether it goes north.  Raises ExplainError if there is none."""
    for gateway in gateways:
        if _inside(gateway, flow.src) and not _inside(gateway, flow.dst):
            return gateway, True
    for gateway in gateways:
        if not _inside(gateway, flow.src) and (_inside(gateway, flow.dst)
                                               or _translates_to_inside(gateway, flow.dst)):
            return gateway, False
    raise ExplainError(f"{flow.src} -> {flow.dst} crosses no gateway: name one address in a segment, or one that a NAT "
                       "rule translates, and one outside")


class Explainer:
    """Answers about one gateway, given as the JSON document of ``GET /saga/v1/gateways``."""

    def __init__(self, gateway: dict, tracer: Tracer):
        self.gateway = gateway
        self._tracer = tracer
        self._narrator = Narrator(gateway)
        self._links = [row["slot"] for row in gateway["owner_table"]]
        self._bridges = {router["bridge"] for router in gateway["routers"]}

    def explain(self, flow: Flow, north: bool) -> dict:
        """Return owner, hash inputs and the walks of both directions, from every router they may enter by."""
        remote = flow.dst if north else flow.src
        walks = {"north": {}, "south": {}}
        for router in self.gateway["routers"]:
            walks["north"][router["edge"]] = self._walk(router, flow if north else _turned(flow), True, north)
            walks["south"][router["edge"]] = self._walk(router, _turned(flow) if north else flow, False, not north)
        first = next(iter(walks["north" if north else "south"].values()))
        slot = self._slot_of(first["trace"])
        result = {
            "gateway": self.gateway["id"], "src": str(flow.src), "dst": str(flow.dst), "proto": flow.proto,
            "opened": "from inside, going north" if north else "from outside, going south",
            "remote_address": str(remote), "redirection_policy": self.gateway["redirection_policy"],
            "hash": self._hash(flow, remote) | {"scores": self._scores(first["trace"])},
            "owner": self._owner(slot), "oracle_slot": self._oracle(flow, remote),
        }
        for direction, by_edge in walks.items():
            result[direction] = {edge: {key: value for key, value in walk.items() if key != "trace"}
                                 for edge, walk in by_edge.items()}
        if north:
            result["distributed_router"] = [hop.as_dict() for hop in self._narrator.tell(self._from_segment(flow))]
        return result

    def owner(self, remote: Address) -> dict | None:
        """Return the owner table's row of a remote address (with bridge and zone), as Open vSwitch chooses it.

        None where the gateway does not redirect, or where the owner depends on both addresses.
        """
        inside = next((ip_interface(own).ip for segment in self.gateway["segments"] for own in segment["addresses"]
                       if ip_interface(own).version == remote.version), None)
        if inside is None:
            raise ExplainError(f"gateway {self.gateway['id']} has no segment of the family of {remote}")
        walk = self._walk(self.gateway["routers"][0], Flow(inside + 1, remote), True, True)
        return self._owner(self._slot_of(walk["trace"]))

    def _walk(self, router: dict, flow: Flow, north: bool, opens: bool) -> dict:
        options = OPENING if opens else self._answering(flow)
        leg = next(leg for leg in router["legs"] if (leg["index"] == BACKPLANE_INTERFACE) is north)
        source = self.gateway["distributed_router"]["legs"][0]["mac"] if north else HOST_MAC
        trace = parse(self._tracer(router["bridge"], _flow_text(flow, leg["port"], source, leg["mac"]), options))
        hops = [hop.as_dict() for hop in self._narrator.tell(trace)]
        if not opens and self.gateway["redirects"]:
            hops = [self._translated_back(hop, flow, north) for hop in hops]
        return {"entered": f"{leg['port']} of {router['bridge']}",
                "punted": any(hop["what"].startswith("punted over") for hop in hops), "hops": hops, "trace": trace}

    def _answering(self, flow: Flow) -> tuple[str, ...]:
        """How the tracker is to see an answer: as known to an owner; as unknown where the gateway has none.

        Where nothing is redirected an answer may come back over a router that has not seen the connection; to that
        router an answer of TCP or ping is invalid, a datagram new.
        """
        if self.gateway["redirects"]:
            return ESTABLISHED
        return OPENING if flow.proto == "udp" else UNKNOWN

    def _translated_back(self, hop: dict, flow: Flow, north: bool) -> dict:
        """An answer of a translated connection is traced with the address that the tracker gives back to it."""
        inside = flow.src if north else flow.dst
        translated = any(rule["source"] and inside in ip_network(rule["source"]) and rule["translated"]
                         for rule in self.gateway["translations"] if inside.version == 4)
        if hop["what"] == "passed the connection tracker" and translated:
            return hop | {"why": hop["why"] + "; it knows the connection and undoes its translation here"}
        return hop

    def _from_segment(self, flow: Flow) -> Trace:
        segment = _inside(self.gateway, flow.src)
        router = self.gateway["distributed_router"]
        leg = next(leg for leg in router["legs"] if leg["port"] == segment["port"])
        full = parse(self._tracer(router["bridge"], _flow_text(flow, leg["port"], HOST_MAC, leg["mac"]), OPENING))
        return Trace(tuple(step for step in full.steps if step.bridge == router["bridge"]), full.datapath_actions,
                     full.text)

    def _slot_of(self, trace: Trace) -> int | None:
        """Return the slot that the first router's PUNT found chosen, None where none was asked for."""
        for step in trace.steps:
            chosen = _CHOSEN.search(step.match)
            if step.table == PUNT.number and chosen and step.bridge in self._bridges:
                value, mask = (int(part, 16) for part in chosen.groups())
                return value & SLOT.mask if mask & SLOT.mask else self._links[value >> LINK.first]
        return None

    def _hash(self, flow: Flow, remote: Address) -> dict:
        """Return what goes into the hash in each direction."""
        if self.gateway["redirection_policy"] == "SRC_DST_IP_HASH":
            return {"north": "both addresses", "south": "both addresses", "value": f"{flow.src} {flow.dst}"}
        return {"north": "destination address", "south": "source address", "value": str(remote)}

    def _scores(self, trace: Trace) -> dict[int, int]:
        return next((step.scores for step in trace.steps if step.scores and step.bridge in self._bridges), {})

    def _owner(self, slot: int | None) -> dict | None:
        row = next((row for row in self.gateway["owner_table"] if row["slot"] == slot), None)
        if row is None:
            return None
        router = next(router for router in self.gateway["routers"] if router["slot"] == slot)
        return row | {"bridge": router["bridge"], "zone": router["zone"]}

    def _oracle(self, flow: Flow, remote: Address) -> int | None:
        if not self.gateway["redirects"] or self.gateway["redirection_policy"] != "IP_HASH":
            return None
        return oracle.owner(remote, [row["slot"] for row in self.gateway["owner_table"]])


def _turned(flow: Flow) -> Flow:
    return Flow(flow.dst, flow.src, flow.proto, flow.dport, flow.sport)


def _flow_text(flow: Flow, in_port: str, source_mac: str, target_mac: str) -> str:
    version6 = flow.src.version == 6
    proto = {"icmp": "icmp6" if version6 else "icmp"}.get(flow.proto, flow.proto + ("6" if version6 else ""))
    prefix = "ipv6" if version6 else "nw"
    parts = [proto, f"in_port={in_port}", f"dl_src={source_mac}", f"dl_dst={target_mac}",
             f"{prefix}_src={flow.src}", f"{prefix}_dst={flow.dst}", "nw_ttl=64"]
    if flow.proto in ("tcp", "udp"):
        parts += [f"{flow.proto}_src={flow.sport}", f"{flow.proto}_dst={flow.dport}"]
    else:
        parts += ["icmp_type=128" if version6 else "icmp_type=8"]
    return ",".join(parts)


def question(src: str, dst: str, proto: str = "tcp", sport: int = 40000, dport: int = 80) -> Flow:
    """Return the flow asked about.  ValueError where an address is none, or the two are of different families."""
    flow = Flow(ip_address(src), ip_address(dst), proto, sport, dport)
    if flow.src.version != flow.dst.version:
        raise ValueError(f"{src} and {dst} are not of one address family")
    return flow
