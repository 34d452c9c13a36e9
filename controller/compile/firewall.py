"""FIREWALL: rules in the order of their sequence numbers, for new connections, with inside addresses."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compile import actions as a
from controller.compile import services
from controller.compile.builder import ProgramBuilder, match
from controller.compile.router import ip_match
from controller.compile.values import Match
from controller.model.gateway import FirewallAction, FirewallRule, Gateway, RuleDirection
from controller.pipeline import fields as f
from controller.pipeline import priorities, tables
from controller.pipeline.cookies import Category

_DIRECTIONS = {RuleDirection.IN: (f.SOUTH,), RuleDirection.OUT: (f.NORTH,), RuleDirection.IN_OUT: (f.SOUTH, f.NORTH)}


def fill(builder: ProgramBuilder, gateway: Gateway) -> None:
    """Add the flows of FIREWALL of a service router."""
    builder.flow(tables.FIREWALL, priorities.Band.GUARD + 1, match(f.ORIGINATED.at(1)),
                 [a.Resubmit(tables.NEIGHBOUR), a.Goto(tables.OUT)], Category.BASE, note="made by this router")
    builder.flow(tables.FIREWALL, priorities.Band.GUARD, match(ct_state=f.CtState(("trk",), ("new", "inv"))),
                 [a.Goto(tables.FORWARD)], Category.BASE, note="known connections and their ICMP errors")
    for rank, rule in enumerate(gateway.firewall_rules):
        for conditions in dict.fromkeys(_conditions(rule)):
            builder.flow(tables.FIREWALL, priorities.rule(rank), conditions, _verdict(rule.action, rule.stateful),
                         Category.FIREWALL, rank + 1, note=f"rule {rule.id}")
    for version in (4, 6):
        builder.flow(tables.FIREWALL, priorities.Band.NORMAL, ip_match(version=version),
                     _verdict(gateway.firewall_default, True), Category.FIREWALL, note="default verdict")


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
                            for ports in services.matches(service):
                                yield ip_match(direction, *scope, source=source, destination=destination,
                                               version=version, **ports)
