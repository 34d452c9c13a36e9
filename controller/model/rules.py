"""What NAT and firewall rules mean: their networks, services and address families, with references followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import collapse_addresses
from typing import TypeVar

from controller.model import gateway
from controller.model.document import Document
from controller.model.document_rules import FirewallRule, IpProtocol, NatRule, Protocol, ServiceEntry
from controller.model.fields import ANY
from controller.model.problems import Problem

_FAMILIES = {
    IpProtocol.BOTH: frozenset((4, 6)),
    IpProtocol.IPV4: frozenset((4,)),
    IpProtocol.IPV6: frozenset((6,)),
}
_PROTOCOL_FAMILIES = {Protocol.ICMPV4.value: frozenset((4,)), Protocol.ICMPV6.value: frozenset((6,))}
_BOTH = frozenset((4, 6))

_Rule = TypeVar("_Rule", NatRule, FirewallRule)


def in_order(rules: Iterable[_Rule]) -> list[_Rule]:
    """Return the rules in the order of evaluation: by sequence number, then by position."""
    return sorted(rules, key=lambda rule: rule.sequence_number)


def networks(items: Iterable[object], document: Document) -> tuple[gateway.Network, ...]:
    """Return the networks of a rule's sources or destinations, IPv4 before IPv6, disjoint; empty means any."""
    groups = {group.id: group for group in document.groups}
    found: list[gateway.Network] = []
    for item in items:
        if item == ANY:
            return ()
        for part in groups[item].ip_addresses if isinstance(item, str) else (item,):
            found.extend(part)
    versions = ([network for network in found if network.version == version] for version in (4, 6))
    return tuple(network for version in versions for network in collapse_addresses(version))


def service(entry: ServiceEntry) -> gateway.Service:
    """Return a service entry with its port ranges sorted and disjoint."""
    return gateway.Service(
        entry.protocol.value,
        tuple(_merged(entry.source_ports)),
        tuple(_merged(entry.destination_ports)),
        entry.icmp_type,
        entry.icmp_code,
    )


def services(items: Iterable[str | ServiceEntry], document: Document) -> tuple[gateway.Service, ...]:
    """Return the services of a firewall rule, each once; empty means any."""
    entries: list[ServiceEntry] = []
    for item in items:
        if item == ANY:
            return ()
        entries.extend(service_entries(item, document))
    return tuple(dict.fromkeys(service(entry) for entry in entries))


def service_entries(item: str | ServiceEntry, document: Document) -> tuple[ServiceEntry, ...]:
    """Return the entries of a service written in place or referred to."""
    if isinstance(item, ServiceEntry):
        return (item,)
    return next(definition.service_entries for definition in document.services if definition.id == item)


def firewall_rule(
    rule: FirewallRule, document: Document, group_indexes: Mapping[str, int]
) -> gateway.FirewallRule | None:
    """Return a firewall rule with references followed, or None if no packet can match it.

    ``ip_versions`` are the families that ip_protocol, sources, destinations and services all have; addresses and
    services of another family are left out, as they match nothing.
    """
    sources, destinations = networks(rule.sources, document), networks(rule.destinations, document)
    entries = services(rule.services, document)
    versions = _FAMILIES[rule.ip_protocol]
    for field in (
        {network.version for network in sources},
        {network.version for network in destinations},
        {version for entry in entries for version in service_versions(entry)},
    ):
        versions &= field or _BOTH
    if not versions:
        return None
    return gateway.FirewallRule(
        id=rule.id,
        action=rule.action,
        direction=rule.direction,
        stateful=rule.stateful,
        sources=tuple(network for network in sources if network.version in versions),
        destinations=tuple(network for network in destinations if network.version in versions),
        services=tuple(entry for entry in entries if service_versions(entry) & versions),
        ip_versions=versions,
        scope=frozenset(group_indexes[group] for group in rule.scope),
    )


def service_versions(entry: gateway.Service) -> frozenset[int]:
    """Return the IP versions a service can be of."""
    return _PROTOCOL_FAMILIES.get(entry.protocol, _BOTH)


def entry_problems(path: str, entry: ServiceEntry) -> Iterator[Problem]:
    """Ports belong to TCP and UDP, type and code to ICMP, and a code needs a type."""
    ports = entry.protocol in (Protocol.TCP, Protocol.UDP)
    if ports:
        unfit = [key for key in ("icmp_type", "icmp_code") if getattr(entry, key) is not None]
    else:
        unfit = [key for key in ("source_ports", "destination_ports") if getattr(entry, key)]
    for key in unfit:
        kind = "ICMP" if ports else "TCP and UDP"
        yield Problem(f"{path}.{key}", f"is for {kind} only, the protocol is {entry.protocol.value}")
    if not ports and entry.icmp_code is not None and entry.icmp_type is None:
        yield Problem(f"{path}.icmp_code", "needs icmp_type beside it")


def _merged(ranges: Iterable[gateway.PortRange]) -> Iterator[gateway.PortRange]:
    current: gateway.PortRange | None = None
    for following in sorted(ranges, key=lambda ports: (ports.first, ports.last)):
        if current and following.first <= current.last + 1:
            current = gateway.PortRange(current.first, max(current.last, following.last))
            continue
        if current:
            yield current
        current = following
    if current:
        yield current
