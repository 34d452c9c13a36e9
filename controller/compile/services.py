"""Expansion of service entries (protocol and ports) into matches."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from controller.model.gateway import PortRange, Service
from controller.pipeline import fields as f

_PROTOCOLS = {"TCP": (f.PROTO_TCP, "tcp"), "UDP": (f.PROTO_UDP, "udp"), "ICMPv4": (f.PROTO_ICMP, "icmpv4"),
              "ICMPv6": (f.PROTO_ICMPV6, "icmpv6")}

_TRACKED_AS = {"src": "ct_tp_src", "dst": "ct_tp_dst", "type": "ct_tp_src", "code": "ct_tp_dst"}


def port_prefixes(ports: PortRange) -> Iterator[tuple[int, int]]:
    """Split a port range into the fewest (value, mask) pairs that cover exactly it."""
    first, last = ports.first, ports.last
    while first <= last:
        size = first & -first or 1 << 16
        while size > last - first + 1:
            size >>= 1
        yield first, 0xFFFF & ~(size - 1)
        first += size


class Shape(enum.Enum):
    """What a packet shows of its payload, once it has passed the connection tracker.

    Open vSwitch shows fragments without ports, even the first one (``ovs-ofctl set-frags``, normal).  In userspace the
    tracker looks at whole datagrams but gives back their fragments; only the first has the ports, as the tracker's.
    """

    WHOLE = "not a fragment; or any packet, where the payload does not matter"
    FIRST_FRAGMENT = "the ports are in ct_tp_src and ct_tp_dst"
    LATER_FRAGMENT = "there are no ports"


def tracked(service: Service | None, version: int = 4) -> Iterator[tuple[Shape, dict]]:
    """Yield the conditions of a service entry for new connections of an IP version that passed the tracker, by shape.

    Those of later fragments can take too much.  That lets nothing through: the tracker does not enter a datagram, nor
    give any part of it back, before it has seen all of it pass, and the first fragment passes by its ports.
    """
    new = f.CtState(("trk", "new"))
    proto = None
    for conditions in matches(service):
        proto = conditions.get("ip_proto")
        beyond = {_TRACKED_AS[name.partition("_")[2]]: value for name, value in conditions.items()
                  if name != "ip_proto"}
        if not beyond:
            yield Shape.WHOLE, conditions
            if version == 4:  # a later fragment of IPv6 shows the fragment header instead of its protocol
                return
            continue
        yield Shape.WHOLE, conditions | {"ip_frag": f.NO_FRAGMENT}
        yield Shape.FIRST_FRAGMENT, {"ip_proto": proto, "ip_frag": f.FIRST_FRAGMENT, "ct_state": new,
                                     "ct_nw_proto": proto, **beyond}
    if proto is not None:
        yield Shape.LATER_FRAGMENT, {"ip_frag": f.LATER_FRAGMENT, "ct_state": new, "ct_nw_proto": proto}


def family(service: Service) -> int | None:
    """IP version a service entry is bound to, or None where it fits both."""
    return {"ICMPv4": 4, "ICMPv6": 6}.get(service.protocol)


def matches(service: Service | None) -> Iterator[dict[str, int | tuple[int, int]]]:
    """Yield the packet field conditions of a service entry; one empty dict for None (any)."""
    if service is None:
        yield {}
        return
    number, name = _PROTOCOLS[service.protocol]
    if service.protocol.startswith("ICMP"):
        conditions: dict[str, int | tuple[int, int]] = {"ip_proto": number}
        if service.icmp_type is not None:
            conditions[f"{name}_type"] = service.icmp_type
        if service.icmp_code is not None:
            conditions[f"{name}_code"] = service.icmp_code
        yield conditions
        return
    sources = [pair for ports in service.source_ports for pair in port_prefixes(ports)] or [None]
    destinations = [pair for ports in service.destination_ports for pair in port_prefixes(ports)] or [None]
    for source in sources:
        for destination in destinations:
            conditions = {"ip_proto": number}
            if source is not None:
                conditions[f"{name}_src"] = source
            if destination is not None:
                conditions[f"{name}_dst"] = destination
            yield conditions
