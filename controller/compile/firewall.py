"""FIREWALL: rules in the order of their sequence numbers, for new connections, with inside addresses."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compile import actions as a
from controller.compile import services
from controller.compile.builder import ProgramBuilder, match
from controller.compile.router import ip_match
from controller.compile.values import Match
from controller.model.gateway import FirewallAction, FirewallRule, Gateway, RuleDirection, Service
from controller.pipeline import fields as f
from controller.pipeline import priorities, tables
from controller.pipeline.cookies import Category

_PORT_OF = {"TCP": "tcp_dst", "UDP": "udp_dst"}
_DIRECTIONS = {RuleDirection.IN: (f.SOUTH,), RuleDirection.OUT: (f.NORTH,), RuleDirection.IN_OUT: (f.SOUTH, f.NORTH)}


def lets_through_without_state(gateway: Gateway, keeps_state: bool) -> bool:
    """True where some verdict of the firewall lets packets through without state (see ``fill``)."""
    by_default = gateway.firewall_default is FirewallAction.ALLOW and not keeps_state
    return by_default or any(rule.action is FirewallAction.ALLOW and not rule.stateful
                             for rule in gateway.firewall_rules)


def fill(builder: ProgramBuilder, gateway: Gateway, keeps_state: bool) -> None:
    """Add the flows of FIREWALL of a service router.

    ``keeps_state`` says whether both directions of a connection pass one router; where they do not, the default
    verdict is one without state (as the default rule of an active/active Tier-0 in NSX), or no answer would get back.
    """
    builder.flow(tables.FIREWALL, priorities.Band.GUARD + 1, match(f.ORIGINATED.at(1)),
                 [a.Resubmit(tables.NEIGHBOUR), a.Goto(tables.OUT)], Category.BASE, note="made by this router")
    for group in gateway.groups:
        builder.flow(tables.FIREWALL, priorities.Band.GUARD + 1,
                     match(f.SOUTH, f.INGRESS_GROUP.at(group.index), f.EGRESS_GROUP.at(group.index),
                           f.ORIGINATED.at(0)), (), Category.BASE,
                     note="from outside and back to where it came from would go round until its TTL ends")
    builder.flow(tables.FIREWALL, priorities.Band.GUARD, match(ct_state=f.CtState(("trk",), ("new", "inv"))),
                 [a.Goto(tables.FORWARD)], Category.BASE, note="known connections and their ICMP errors")
    for rank, rule in enumerate(gateway.firewall_rules):
        for conditions in dict.fromkeys(_conditions(rule)):
            builder.flow(tables.FIREWALL, priorities.rule(rank), conditions, _verdict(rule.action, rule.stateful),
                         Category.FIREWALL, rank + 1, note=f"rule {rule.id}")
    for version in (4, 6):
        builder.flow(tables.FIREWALL, priorities.Band.NORMAL, ip_match(version=version),
                     _verdict(gateway.firewall_default, keeps_state), Category.FIREWALL, note="default verdict")


def _verdict(action: FirewallAction, stateful: bool) -> list[a.Action]:
    if action is FirewallAction.DROP:
        return []
    if action is FirewallAction.REJECT:
        mark = f.REJECT
    else:
        mark = f.ALLOW if stateful else f.ALLOW_STATELESS
    return [a.SetMark(mark), a.Goto(tables.NAT)]


def _conditions(rule: FirewallRule) -> Iterator[Match]:
    for direction in _DIRECTIONS[rule.direction]:
        group_field = f.EGRESS_GROUP if direction is f.NORTH else f.INGRESS_GROUP
        scopes = [(group_field.at(index),) for index in sorted(rule.scope)] or [()]
        for version in sorted(rule.ip_versions):
            sources = [net for net in rule.sources if net.version == version] if rule.sources else [None]
            destinations = [net for net in rule.destinations if net.version == version] if rule.destinations else [None]
            fitting = [s for s in rule.services if services.family(s) in (None, version)] if rule.services else [None]
            for scope in scopes:
                for source in sources:
                    for destination in destinations:
                        for service in fitting:
                            for marks, ports in _shapes(rule, service, version):
                                yield ip_match(direction, *scope, *marks, source=source, destination=destination,
                                               version=version, **ports)


def _shapes(rule: FirewallRule, service: Service | None, version: int) -> Iterator[tuple[tuple[f.Mark, ...], dict]]:
    """Yield marks and packet fields for every shape of packet of a service entry.

    The tracker knows a first fragment by its external port, which is not the one to look at where DNAT translated it.
    Later fragments go with a rule that lets them through; one that does not has had the first of them.
    """
    for shape, conditions in services.tracked(service, version):
        if shape is services.Shape.LATER_FRAGMENT and rule.action is not FirewallAction.ALLOW:
            continue
        translated = {_PORT_OF[service.protocol]: conditions["ct_tp_dst"]} if "ct_tp_dst" in conditions and (
            service.protocol in _PORT_OF) else {}
        if not translated:
            yield (), conditions
            continue
        yield (f.PORT_TRANSLATED.at(0),), conditions
        yield (f.PORT_TRANSLATED.at(1),), {name: value for name, value in (conditions | translated).items()
                                           if name != "ct_tp_dst"}
