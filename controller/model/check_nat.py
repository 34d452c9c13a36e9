"""Checks of NAT rules.

What each action needs: NSX Policy API, PolicyNatRule, and the NSX table of NAT rules (nsx.md 1.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network, summarize_address_range

from controller.model import rules
from controller.model.document_rules import NatRule, Protocol
from controller.model.gateway import NatAction, Network, RedirectionPolicy
from controller.model.problems import Problem
from controller.model.view import GatewayView, View

WIDEST_ONE_TO_ONE = 20
"""Prefix length of the widest network of DNAT and REFLEXIVE: each of its addresses can cost flows."""

MOST_TRANSLATIONS = 2 ** (32 - WIDEST_ONE_TO_ONE)
"""Translations of single addresses, or of addresses with a port, that one rule may make."""

_NO_HOSTS = tuple(IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"))

_NEEDS = {
    NatAction.SNAT: ("translated_network",),
    NatAction.DNAT: ("destination_network", "translated_network"),
    NatAction.NO_SNAT: (),
    NatAction.NO_DNAT: (),
    NatAction.REFLEXIVE: ("source_network", "translated_network"),
}
_REFUSES = {
    NatAction.SNAT: ("translated_port",),
    NatAction.DNAT: (),
    NatAction.NO_SNAT: ("translated_network", "translated_port"),
    NatAction.NO_DNAT: ("translated_network", "translated_port"),
    NatAction.REFLEXIVE: ("destination_network", "service", "translated_port"),
}


@dataclass(frozen=True)
class _Case:
    """One NAT rule with what is needed to judge it."""

    path: str
    rule: NatRule
    gateway: GatewayView
    view: View

    def problem(self, key: str, message: str) -> Problem:
        return Problem(f"{self.path}.{key}", message)


def needed_fields(case: _Case) -> Problem | None:
    """The fields an action cannot do without."""
    for key in _NEEDS[case.rule.action]:
        if getattr(case.rule, key) is None:
            return case.problem(key, f"this key is required for {case.rule.action.value}")
    return None


def refused_fields(case: _Case) -> Problem | None:
    """The fields that mean nothing for an action."""
    for key in _REFUSES[case.rule.action]:
        if getattr(case.rule, key) is not None:
            return case.problem(key, f"is not allowed for {case.rule.action.value}")
    return None


def one_service_entry(case: _Case) -> Problem | None:
    """The service of a NAT rule has one entry, and it is not one of IPv6."""
    if case.rule.service is None:
        return None
    entries = rules.service_entries(case.rule.service, case.view.document)
    if len(entries) != 1:
        return case.problem("service", f"{case.rule.service!r} has {len(entries)} entries; a NAT rule takes one")
    if entries[0].protocol is Protocol.ICMPV6:
        return case.problem("service", "there is no NAT for IPv6; must be TCP, UDP or ICMPv4")
    return None


def port_needs_service(case: _Case) -> Problem | None:
    """A translated port takes the place of a destination port, so the rule must match on one."""
    if case.rule.translated_port is None:
        return None
    entries = rules.service_entries(case.rule.service, case.view.document) if case.rule.service else ()
    if any(entry.destination_ports for entry in entries):
        return None
    return case.problem("translated_port", "needs a service beside it, of TCP or UDP and with destination_ports")


def width(case: _Case) -> Problem | None:
    """The networks of DNAT and REFLEXIVE are not wider than /20."""
    key = "destination_network" if case.rule.action is NatAction.DNAT else "source_network"
    network = getattr(case.rule, key)
    if case.rule.action not in (NatAction.DNAT, NatAction.REFLEXIVE) or network.prefixlen >= WIDEST_ONE_TO_ONE:
        return None
    return case.problem(key, f"{network} is too wide; /{WIDEST_ONE_TO_ONE} to /32 are allowed")


def number_of_translations(case: _Case) -> Problem | None:
    """A rule that changes ports makes one translation per address and port: not more of them than a /20 makes."""
    if case.rule.translated_port is None:
        return None
    (entry,) = rules.service_entries(case.rule.service, case.view.document)
    ports = sum(ports.last - ports.first + 1 for ports in rules.service(entry).destination_ports)
    count = ports * case.rule.destination_network.num_addresses
    if count <= MOST_TRANSLATIONS:
        return None
    return case.problem(
        "translated_port",
        f"makes {count} translations, one for each address and port; {MOST_TRANSLATIONS} are allowed",
    )


def equal_size(case: _Case) -> Problem | None:
    """DNAT translates to one address or one to one; REFLEXIVE one to one: to a network of the same size."""
    if case.rule.action not in (NatAction.DNAT, NatAction.REFLEXIVE):
        return None
    reflexive = case.rule.action is NatAction.REFLEXIVE
    network = case.rule.source_network if reflexive else case.rule.destination_network
    translated = _translated(case.rule)
    sizes = (network.prefixlen,) if reflexive else (network.prefixlen, 32)
    if len(translated) == 1 and translated[0].prefixlen in sizes:
        return None
    allowed = f"a network of the size of {network}" if network.prefixlen < 32 else "one address"
    if not reflexive and network.prefixlen < 32:
        allowed = f"one address or {allowed}"
    return case.problem("translated_network", f"must be {allowed} for {case.rule.action.value}")


def external_addresses(case: _Case) -> Problem | None:
    """External addresses of a rule are nobody's: no interface has them, no next hop, no segment, not the backplane."""
    dnat = case.rule.action is NatAction.DNAT
    key = "destination_network" if dnat else "translated_network"
    external = [case.rule.destination_network] if dnat else _translated(case.rule)
    for network in external:
        for owner, taken in _taken(case.gateway):
            if taken.version == 4 and taken.overlaps(network):
                return case.problem(key, f"includes {owner}; external addresses must be free unicast ones")
    return None


CHECKS_OF_A_RULE = (
    needed_fields,
    refused_fields,
    one_service_entry,
    port_needs_service,
    width,
    number_of_translations,
    equal_size,
    external_addresses,
)
"""In this order; after the first problem of a rule the rest is not asked."""


def every_rule(view: View) -> Iterator[Problem]:
    """Every NAT rule, enabled or not, is complete and can be carried out."""
    for gateway in view.gateways:
        for position, rule in enumerate(gateway.tier0.nat_rules):
            case = _Case(f"{gateway.path}.nat_rules[{position}]", rule, gateway, view)
            problem = next((found for check in CHECKS_OF_A_RULE if (found := check(case))), None)
            if problem:
                yield problem


def no_nat_with_symmetric_hash(view: View) -> Iterator[Problem]:
    """SRC_DST_IP_HASH and NAT exclude each other (as in NSX 4.2 and later; nsx.md section 0)."""
    for gateway in view.gateways:
        policy = gateway.tier0.stateful_services.redirection_policy
        enabled = [rule.id for rule in gateway.tier0.nat_rules if rule.enabled]
        if gateway.stateful and policy is RedirectionPolicy.SRC_DST_IP_HASH and enabled:
            yield Problem(
                f"{gateway.path}.stateful_services.redirection_policy",
                f"SRC_DST_IP_HASH allows no NAT rules, such as {enabled[0]!r}: the owner is chosen by both addresses,"
                " and NAT changes one of them between the two directions; must be IP_HASH, or no NAT rule enabled",
            )


CHECKS = (every_rule, no_nat_with_symmetric_hash)
"""Checks of a document whose subnets are in order; each is independent of the others."""


def _translated(rule: NatRule) -> list[IPv4Network]:
    """Return the networks that cover the translated addresses."""
    return list(summarize_address_range(*rule.translated_network)) if rule.translated_network else []


def _taken(gateway: GatewayView) -> Iterator[tuple[str, Network]]:
    """Yield what must not be translated to: a description, and the address or network (of any family)."""
    for special in _NO_HOSTS:
        yield f"addresses that no host has ({special})", special
    for _, view, address in gateway.uplink_addresses():
        yield f"{address.ip}, the address of interface {view.interface.id!r}", ip_network(address.ip)
    for _, segment, address in gateway.segment_addresses():
        yield f"addresses of segment {segment.segment.id!r} ({address.network})", address.network
    transit = gateway.tier0.internal_transit_subnet
    yield f"addresses of the internal transit subnet ({transit})", transit
    for route in gateway.tier0.static_routes:
        for hop in route.next_hops:
            yield f"{hop.ip_address}, a next hop of route {route.id!r}", ip_network(hop.ip_address)
