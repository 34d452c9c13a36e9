"""Checks of gateway firewall rules and of services."""

from __future__ import annotations

from collections.abc import Iterator

from controller.model import rules
from controller.model.document_rules import FirewallRule, ServiceEntry
from controller.model.fields import ANY
from controller.model.problems import Problem
from controller.model.view import View, interface_group_ids


def service_entries(view: View) -> Iterator[Problem]:
    """Service entries, named or in place, have what fits their protocol."""
    for position, definition in enumerate(view.document.services):
        for i, entry in enumerate(definition.service_entries):
            yield from rules.entry_problems(f"services[{position}].service_entries[{i}]", entry)
    for path, rule in _rules(view):
        for i, item in enumerate(rule.services):
            if isinstance(item, ServiceEntry):
                yield from rules.entry_problems(f"{path}.services[{i}]", item)
    for gateway in view.gateways:
        for position, nat in enumerate(gateway.tier0.nat_rules):
            if isinstance(nat.service, ServiceEntry):
                yield from rules.entry_problems(f"{gateway.path}.nat_rules[{position}].service", nat.service)


def any_alone(view: View) -> Iterator[Problem]:
    """ANY is the only element of its list."""
    for path, rule in _rules(view):
        for key in ("sources", "destinations", "services"):
            items = getattr(rule, key)
            if ANY in items and len(items) > 1:
                yield Problem(f"{path}.{key}[{items.index(ANY)}]", f"{ANY} must be the only element of the list")


def matchable(view: View) -> Iterator[Problem]:
    """Some packet can match a rule: ip_protocol, sources, destinations and services have an IP version in common."""
    for gateway in view.gateways:
        indexes = {group: index for index, group in enumerate(interface_group_ids(gateway.tier0), start=1)}
        for position, rule in enumerate(gateway.tier0.gateway_firewall.rules):
            if rules.firewall_rule(rule, view.document, indexes) is None:
                yield Problem(
                    f"{gateway.path}.gateway_firewall.rules[{position}]",
                    "no packet can match: ip_protocol, sources, destinations and services have no IP version in common",
                )


CHECKS = (service_entries, any_alone, matchable)
"""Checks of a document whose references lead somewhere; each is independent of the others."""


def _rules(view: View) -> Iterator[tuple[str, FirewallRule]]:
    for gateway in view.gateways:
        for position, rule in enumerate(gateway.tier0.gateway_firewall.rules):
            yield f"{gateway.path}.gateway_firewall.rules[{position}]", rule
