"""DNAT and NAT: looking a translation up before the firewall, committing it after.

Going south the destination is rewritten in DNAT without the connection tracker, so that routing and firewall see the
inside address and a refused connection leaves no state; NAT puts the external address back and commits the connection
with the translation.  Going north the firewall has seen the inside source already, and NAT commits with the
translated one.  The packets of known connections are translated by the tracker itself, in TRACK.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from controller.compile import actions as a
from controller.compile import services
from controller.compile.builder import ProgramBuilder, match
from controller.compile.router import ip_match
from controller.model.gateway import Gateway, NatAction, NatRule, PortRange, ServiceRouter
from controller.pipeline import fields as f
from controller.pipeline import priorities, tables
from controller.pipeline.cookies import Category

_INBOUND = (NatAction.DNAT, NatAction.NO_DNAT, NatAction.REFLEXIVE)
_OUTBOUND = (NatAction.SNAT, NatAction.NO_SNAT, NatAction.REFLEXIVE)


def external_networks(gateway: Gateway) -> tuple[IPv4Network, ...]:
    """Addresses that exist only as translations: they are never routed, only translated."""
    networks: dict[IPv4Network, None] = {}
    for rule in gateway.nat_rules:
        if rule.action in (NatAction.SNAT, NatAction.REFLEXIVE) and rule.translated:
            networks.update(dict.fromkeys(summarize_address_range(*rule.translated)))
        elif rule.action is NatAction.DNAT and rule.destination:
            networks[rule.destination] = None
    return tuple(networks)


@dataclass(frozen=True)
class _Inbound:
    """One translation of a destination: what to match, what to set, and what to put back before committing."""

    external: IPv4Network
    inside: IPv4Address
    ports: dict
    protocol: str | None
    external_port: int | None
    inside_port: int | None


def fill(builder: ProgramBuilder, gateway: Gateway, router: ServiceRouter) -> None:
    """Add the flows of DNAT and NAT of a service router."""
    _fill_inbound(builder, gateway, router)
    _fill_outbound(builder, gateway, router)
    for version in (4, 6):
        builder.flow(tables.NAT, priorities.Band.GUARD, ip_match(f.REJECT, f.NAT_RULE.at(0), version=version),
                     [a.ToController(a.Reason.REJECTED)], Category.BASE, note="rejected: tell the sender")
        builder.flow(tables.NAT, priorities.Band.NORMAL, ip_match(f.ALLOW, f.NAT_RULE.at(0), version=version),
                     [a.Ct(router.zone, tables.FORWARD, commit=True)], Category.BASE, note="not translated")
        builder.flow(tables.NAT, priorities.Band.NORMAL,
                     ip_match(f.ALLOW_STATELESS, f.NAT_RULE.at(0), version=version),
                     [a.Goto(tables.FORWARD)], Category.BASE, note="let through without state")


def _scopes(rule: NatRule, field: f.RegField) -> list[tuple[f.Mark, ...]]:
    return [(field.at(index),) for index in sorted(rule.scope)] or [()]


def _fill_inbound(builder: ProgramBuilder, gateway: Gateway, router: ServiceRouter) -> None:
    builder.flow(tables.DNAT, priorities.Band.MISS, (), [a.Goto(tables.ROUTE)], Category.BASE)
    key = 0
    for rank, rule in enumerate(gateway.nat_rules):
        if rule.action not in _INBOUND:
            continue
        note = f"{rule.action.value} rule {rule.id}"
        if rule.action is NatAction.NO_DNAT:
            for scope in _scopes(rule, f.INGRESS_GROUP):
                for ports in services.matches(rule.service):
                    builder.flow(tables.DNAT, priorities.rule(rank),
                                 ip_match(*scope, source=rule.source, destination=rule.destination, version=4, **ports),
                                 [a.Goto(tables.ROUTE)], Category.NAT, rank + 1, note)
            continue
        source = rule.source if rule.action is NatAction.DNAT else None
        for one in _inbound(rule):
            key += 1
            set_port = [a.Set(f"{one.protocol}_dst", one.inside_port)] if one.inside_port is not None else []
            for scope in _scopes(rule, f.INGRESS_GROUP):
                builder.flow(tables.DNAT, priorities.rule(rank),
                             ip_match(*scope, source=source, destination=one.external, version=4, **one.ports),
                             [a.SetMark(f.NAT_RULE.at(key)), a.Set("ipv4_dst", int(one.inside)), *set_port,
                              a.Goto(tables.ROUTE)], Category.NAT, rank + 1, note)
            _commit_inbound(builder, router, one, key, rank, note)


def _commit_inbound(builder: ProgramBuilder, router: ServiceRouter, one: _Inbound, key: int, rank: int,
                    note: str) -> None:
    restore: list[a.Action] = [a.Set("ipv4_dst", int(one.external.network_address))]
    conditions: dict = {"eth_type": f.ETH_IPV4}
    if one.inside_port is not None:
        restore.append(a.Set(f"{one.protocol}_dst", one.external_port))
        conditions["ip_proto"] = one.ports["ip_proto"]
    commit = a.Ct(router.zone, tables.FORWARD, commit=True,
                  nat=a.Nat(a.NatKind.DESTINATION, one.inside, one.inside, one.inside_port))
    for verdict, then in ((f.ALLOW, commit), (f.ALLOW_STATELESS, commit),
                          (f.REJECT, a.ToController(a.Reason.REJECTED))):
        builder.flow(tables.NAT, priorities.Band.GUARD, match(verdict, f.NAT_RULE.at(key), **conditions),
                     [*restore, then], Category.NAT, rank + 1, note)


def _inbound(rule: NatRule) -> Iterator[_Inbound]:
    """Split a DNAT or REFLEXIVE rule into translations of single addresses, and single ports where these change."""
    inside_first = rule.translated[0]
    if rule.action is NatAction.REFLEXIVE:
        outside, inside = _one_to_one(rule)
        for external, address in zip(outside, inside, strict=True):
            yield _Inbound(IPv4Network(external), address, {}, None, None, None)
        return
    many_to_one = rule.translated[0] == rule.translated[1]
    for offset, external in enumerate(rule.destination):
        inside = inside_first if many_to_one else inside_first + offset
        if rule.translated_port is None:
            for ports in services.matches(rule.service):
                yield _Inbound(IPv4Network(external), inside, ports, None, None, None)
            continue
        for ports in rule.service.destination_ports:
            for port in range(ports.first, ports.last + 1):
                single = replace(rule.service, destination_ports=(PortRange(port, port),))
                for conditions in services.matches(single):
                    yield _Inbound(IPv4Network(external), inside, conditions, rule.service.protocol.lower(), port,
                                   rule.translated_port)


def _one_to_one(rule: NatRule) -> tuple[list[IPv4Address], list[IPv4Address]]:
    """External and inside addresses of a REFLEXIVE rule, in step."""
    first, last = rule.translated
    outside = [first + offset for offset in range(int(last) - int(first) + 1)]
    return outside, list(rule.source)


def _fill_outbound(builder: ProgramBuilder, gateway: Gateway, router: ServiceRouter) -> None:
    for rank, rule in enumerate(gateway.nat_rules):
        if rule.action not in _OUTBOUND:
            continue
        for source, nat in _outbound(rule):
            for scope in _scopes(rule, f.EGRESS_GROUP):
                for ports in services.matches(rule.service):
                    builder.flow(tables.NAT, priorities.rule(rank),
                                 ip_match(f.NORTH, *scope, source=source, destination=rule.destination, version=4,
                                          **ports),
                                 [a.Ct(router.zone, tables.FORWARD, commit=True, nat=nat)], Category.NAT, rank + 1,
                                 note=f"{rule.action.value} rule {rule.id}")


def _outbound(rule: NatRule) -> Iterator[tuple[IPv4Network | None, a.Nat | None]]:
    if rule.action is NatAction.REFLEXIVE:
        for external, inside in zip(*_one_to_one(rule), strict=True):
            yield IPv4Network(inside), a.Nat(a.NatKind.SOURCE, external, external)
    elif rule.action is NatAction.SNAT:
        yield rule.source, a.Nat(a.NatKind.SOURCE, *rule.translated)
    else:
        yield rule.source, None
