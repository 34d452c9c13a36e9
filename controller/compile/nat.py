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
from controller.compile.services import Shape
from controller.model.gateway import Gateway, NatAction, NatRule, PortRange, Service, ServiceRouter
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
    """One translation of a destination: addresses, the service it is for, and both ports where that changes."""

    external: IPv4Address
    inside: IPv4Address
    service: Service | None = None
    external_port: int | None = None
    inside_port: int | None = None


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


def _note(rule: NatRule) -> str:
    return f"{rule.action.value} rule {rule.id}"


def _fill_inbound(builder: ProgramBuilder, gateway: Gateway, router: ServiceRouter) -> None:
    builder.flow(tables.DNAT, priorities.Band.MISS, (), [a.Goto(tables.ROUTE)], Category.BASE)
    key = 0
    for rank, rule in enumerate(gateway.nat_rules):
        if rule.action is NatAction.NO_DNAT:
            leave = dict.fromkeys(Shape, [a.Goto(tables.ROUTE)]) | {Shape.LATER_FRAGMENT: []}
            _look_up(builder, rule, rank, rule.service, rule.destination, leave)
        elif rule.action in _INBOUND:
            ambiguous = _ports_decide(gateway, rule)
            for one in _inbound(rule):
                key += 1
                _look_up(builder, rule, rank, one.service, one.external, _translation(one, key, ambiguous))
                _commit_inbound(builder, router, rule, rank, one, key)
            if ambiguous:
                _look_up(builder, rule, rank, rule.service, rule.destination, {Shape.LATER_FRAGMENT: []})


def _look_up(builder: ProgramBuilder, rule: NatRule, rank: int, service: Service | None,
             destination: IPv4Address | IPv4Network | None, actions: dict[Shape, list[a.Action]]) -> None:
    """Add the flows of DNAT for a rule's packets to a destination, by shape."""
    source = None if rule.action is NatAction.REFLEXIVE else rule.source
    for shape, conditions in services.tracked(service):
        for scope in _scopes(rule, f.INGRESS_GROUP) if shape in actions else ():
            builder.flow(tables.DNAT, priorities.rule(rank),
                         ip_match(*scope, source=source, destination=destination, version=4, **conditions),
                         actions[shape], Category.NAT, rank + 1, _note(rule))


def _translation(one: _Inbound, key: int, ambiguous: bool) -> dict[Shape, list[a.Action]]:
    """What DNAT does to a packet that is to be translated, by shape."""
    address = [a.SetMark(f.NAT_RULE.at(key)), a.Set("ipv4_dst", int(one.inside))]
    port = []
    if one.inside_port is not None:
        port = [a.SetMark(f.PORT_TRANSLATED.at(1)), a.Set(_port_of(one), one.inside_port)]
    onward = [a.Goto(tables.ROUTE)]
    return {Shape.WHOLE: [*address, *port, *onward], Shape.FIRST_FRAGMENT: [*address, *port, *onward]} | (
        {} if ambiguous else {Shape.LATER_FRAGMENT: [*address, *onward]})


def _port_of(one: _Inbound) -> str:
    return f"{one.service.protocol.lower()}_dst"


def _ports_decide(gateway: Gateway, rule: NatRule) -> bool:
    """True where address and protocol alone do not tell what a packet's destination is translated to.

    Then a connection cannot begin with a fragmented datagram: its later fragments are dropped.
    """
    if Shape.LATER_FRAGMENT not in dict(services.tracked(rule.service)):
        return False
    if sum(1 for _ in _inbound(rule)) > rule.destination.num_addresses:
        return True
    return any(other is not rule and other.action in _INBOUND
               and len({each.service.protocol for each in (rule, other) if each.service}) < 2
               and any(network.overlaps(rule.destination) for network in _looked_up(other))
               for other in gateway.nat_rules)


def _looked_up(rule: NatRule) -> tuple[IPv4Network, ...]:
    """Destinations that a rule of DNAT is for."""
    if rule.action is NatAction.REFLEXIVE:
        return tuple(summarize_address_range(*rule.translated))
    return (rule.destination or IPv4Network("0.0.0.0/0"),)


def _commit_inbound(builder: ProgramBuilder, router: ServiceRouter, rule: NatRule, rank: int, one: _Inbound,
                    key: int) -> None:
    restore: list[a.Action] = [a.Set("ipv4_dst", int(one.external))]
    conditions: dict = {"eth_type": f.ETH_IPV4}
    if one.inside_port is not None:
        restore.append(a.Set(_port_of(one), one.external_port))
        conditions |= next(services.matches(Service(one.service.protocol)))
    enter = [a.SetMark(f.DESTINATION_TRANSLATED),
             a.Ct(router.zone, tables.FORWARD, commit=True,
                  nat=a.Nat(a.NatKind.DESTINATION, one.inside, one.inside, one.inside_port))]
    for verdict, then in ((f.ALLOW, enter), (f.ALLOW_STATELESS, enter),
                          (f.REJECT, [a.ToController(a.Reason.REJECTED)])):
        builder.flow(tables.NAT, priorities.Band.GUARD, match(verdict, f.NAT_RULE.at(key), **conditions),
                     [*restore, *then], Category.NAT, rank + 1, _note(rule))


def _inbound(rule: NatRule) -> Iterator[_Inbound]:
    """Split a DNAT or REFLEXIVE rule into translations of single addresses, and single ports where these change."""
    if rule.action is NatAction.REFLEXIVE:
        for external, inside in zip(*_one_to_one(rule), strict=True):
            yield _Inbound(external, inside)
        return
    first, last = rule.translated
    for offset, external in enumerate(rule.destination):
        inside = first if first == last else first + offset
        if rule.translated_port is None:
            yield _Inbound(external, inside, rule.service)
            continue
        for ports in rule.service.destination_ports:
            for port in range(ports.first, ports.last + 1):
                single = replace(rule.service, destination_ports=(PortRange(port, port),))
                yield _Inbound(external, inside, single, port, rule.translated_port)


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
            for shape, conditions in services.tracked(rule.service):
                for verdict, actions in _commit_outbound(router, nat, shape):
                    for scope in _scopes(rule, f.EGRESS_GROUP):
                        builder.flow(tables.NAT, priorities.rule(rank),
                                     ip_match(f.NORTH, *verdict, *scope, source=source, destination=rule.destination,
                                              version=4, **conditions), actions, Category.NAT, rank + 1, _note(rule))


def _commit_outbound(router: ServiceRouter, nat: a.Nat | None,
                     shape: Shape) -> Iterator[tuple[tuple[f.Mark, ...], list[a.Action]]]:
    """Yield what is done by verdict: a translation is kept with a connection always, its absence only where state is.

    Whether a later fragment is meant cannot be told where ports decide, so the connection cannot begin with one.
    """
    if shape is Shape.LATER_FRAGMENT:
        yield (), []
    elif nat is not None:
        yield (), [a.SetMark(f.SOURCE_TRANSLATED), a.Ct(router.zone, tables.FORWARD, commit=True, nat=nat)]
    else:
        yield (f.ALLOW,), [a.Ct(router.zone, tables.FORWARD, commit=True)]
        yield (f.ALLOW_STATELESS,), [a.Goto(tables.FORWARD)]


def _outbound(rule: NatRule) -> Iterator[tuple[IPv4Network | None, a.Nat | None]]:
    if rule.action is NatAction.REFLEXIVE:
        for external, inside in zip(*_one_to_one(rule), strict=True):
            yield IPv4Network(inside), a.Nat(a.NatKind.SOURCE, external, external)
    elif rule.action is NatAction.SNAT:
        yield rule.source, a.Nat(a.NatKind.SOURCE, *rule.translated)
    else:
        yield rule.source, None
