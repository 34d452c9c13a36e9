"""Expansion of service entries (protocol and ports) into matches."""

from __future__ import annotations

from collections.abc import Iterator

from controller.model.gateway import PortRange, Service
from controller.pipeline import fields as f

_PROTOCOLS = {"TCP": (f.PROTO_TCP, "tcp"), "UDP": (f.PROTO_UDP, "udp"), "ICMPv4": (f.PROTO_ICMP, "icmpv4"),
              "ICMPv6": (f.PROTO_ICMPV6, "icmpv6")}


def port_prefixes(ports: PortRange) -> Iterator[tuple[int, int]]:
    """Split a port range into the fewest (value, mask) pairs that cover exactly it."""
    first, last = ports.first, ports.last
    while first <= last:
        size = first & -first or 1 << 16
        while size > last - first + 1:
            size >>= 1
        yield first, 0xFFFF & ~(size - 1)
        first += size


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
