"""Alarms about configurations that can be loaded but will not do what their writer expects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network, summarize_address_range
from typing import Literal

from controller.model.gateway import (
    Config,
    FirewallRule,
    Gateway,
    NatAction,
    Network,
    PortRange,
    RedirectionPolicy,
    RuleDirection,
    Service,
)
from controller.model.problems import listing

MOST_COMPARED = 1000
"""Firewall rules of a gateway that are compared with each other."""

_TRANSLATING = (NatAction.SNAT, NatAction.DNAT, NatAction.REFLEXIVE)


@dataclass(frozen=True)
class ConfigAlarm:
    """Something unwise in a configuration.

    ``id`` names the kind, ``entity`` what in the ``gateway`` it is about, ``cause`` says why, ``remedy`` what to do.
    """

    id: str
    gateway: str
    entity: str
    severity: Literal["CRITICAL", "HIGH", "MEDIUM", "LOW"]
    cause: str
    remedy: str


def config_alarms(config: Config) -> tuple[ConfigAlarm, ...]:
    """Return the alarms of a configuration, by gateway; empty if nothing in it is unwise."""
    return tuple(alarm for gateway in config.gateways for check in _CHECKS for alarm in check(gateway))


def stateful_rules_without_redirection(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """Stateful firewall rules on a gateway that does not bring both directions to one router (KB 388122)."""
    found = [rule.id for rule in gateway.firewall_rules if rule.stateful]
    reason = _no_redirection(gateway)
    if reason and found:
        yield ConfigAlarm(
            id="stateful_firewall_without_redirection",
            gateway=gateway.id,
            entity="gateway_firewall",
            severity="HIGH",
            cause=f"{reason}, but these firewall rules are stateful: {listing(found)}. Only the router that saw the"
            " first packet of a connection knows it; answers that return over another router are dropped there.",
            remedy="Enable stateful_services with redirection_policy IP_HASH, or make the rules stateful: false and"
            " allow both directions.",
        )


def translations_without_redirection(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """Translations on a gateway that does not bring both directions to one router (KB 388122).

    REFLEXIVE is among them: NSX translates it without state, here its translation is kept with the connection.
    """
    found = [f"{rule.id} ({rule.action.value})" for rule in gateway.nat_rules if rule.action in _TRANSLATING]
    reason = _no_redirection(gateway)
    if reason and found:
        yield ConfigAlarm(
            id="nat_without_redirection",
            gateway=gateway.id,
            entity="nat_rules",
            severity="HIGH",
            cause=f"{reason}, but there are NAT rules: {listing(found)}. SNAT, DNAT and REFLEXIVE all keep the"
            " translation of a connection at the router that saw its first packet; answers that return over another"
            " router find none there: they are dropped, or leave with the wrong address.",
            remedy="Enable stateful_services with redirection_policy IP_HASH, or remove the NAT rules.",
        )


def shadowed_firewall_rules(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """Firewall rules that never decide, because one earlier rule matches all they match.

    Every pair of rules is compared, so this looks at the first MOST_COMPARED rules only.
    """
    spaces = [_Space.of(rule) for rule in gateway.firewall_rules[:MOST_COMPARED]]
    for position, space in enumerate(spaces):
        rule = space.rule
        earlier = next((other.rule for other in spaces[:position] if other.covers(space)), None)
        if earlier:
            yield ConfigAlarm(
                id="firewall_rule_shadowed",
                gateway=gateway.id,
                entity=f"gateway_firewall.rules.{rule.id}",
                severity="LOW",
                cause=f"Firewall rule {rule.id} never decides: rule {earlier.id} is evaluated before it and matches"
                " everything it matches.",
                remedy=f"Give {rule.id} a lower sequence_number than {earlier.id}, or remove it.",
            )


def dnat_to_nowhere(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """DNAT and REFLEXIVE rules whose inside addresses are in no segment."""
    segments = [address.network for segment in gateway.segments for address in segment.addresses]
    for rule in gateway.nat_rules:
        inside: list[Network] = []
        if rule.action is NatAction.DNAT and rule.translated:
            inside = list(summarize_address_range(*rule.translated))
        elif rule.action is NatAction.REFLEXIVE and rule.source:
            inside = [rule.source]
        outside = [network for network in inside if not _within(network, segments)]
        if outside:
            yield ConfigAlarm(
                id="nat_inside_address_unknown",
                gateway=gateway.id,
                entity=f"nat_rules.{rule.id}",
                severity="MEDIUM",
                cause=f"The inside addresses {listing([str(network) for network in outside])} of {rule.action.value}"
                f" rule {rule.id} are in no segment of the gateway, so nothing there can be reached.",
                remedy="Correct the addresses, or add the segment.",
            )


def shared_failure_domains(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """Sub-clusters whose edges are in one failure domain."""
    for entry in gateway.sub_clusters:
        if entry.shared_domain:
            first, second = (gateway.router(slot).edge for slot in entry.slots)
            yield ConfigAlarm(
                id="sub_cluster_shares_failure_domain",
                gateway=gateway.id,
                entity=f"sub_clusters.{entry.id}",
                severity="MEDIUM",
                cause=f"Edges {first} and {second}, which back each other up in sub-cluster {entry.id}, are both in"
                f" failure domain {entry.shared_domain.domain}: {entry.shared_domain.reason}. Its failure ends their"
                " connections.",
                remedy=_sentence(entry.shared_domain.remedy),
            )


def unknown_failure_domains(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """Sub-clusters of which a failure domain is not known, in a gateway where some are: if none is, none is wanted."""
    if all(router.failure_domain is None for router in gateway.routers):
        return
    for entry in gateway.sub_clusters:
        unknown = [gateway.router(slot).edge for slot in entry.slots if gateway.router(slot).failure_domain is None]
        if unknown:
            yield ConfigAlarm(
                id="sub_cluster_failure_domain_unknown",
                gateway=gateway.id,
                entity=f"sub_clusters.{entry.id}",
                severity="LOW",
                cause=f"No failure_domain is given for {listing(unknown)}, so both edges of sub-cluster {entry.id} may"
                " fail together.",
                remedy="Give every edge a failure_domain.",
            )


def edges_without_backup(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """The edge that is left alone where a stateful gateway has an odd number of them."""
    for router in gateway.routers if gateway.stateful else ():
        if gateway.peer_of(router.slot) is None:
            yield ConfigAlarm(
                id="edge_without_backup",
                gateway=gateway.id,
                entity=f"edges.{router.edge}",
                severity="MEDIUM",
                cause=f"The number of edges is {len(gateway.routers)}, so {router.edge} (slot {router.slot}) is in no"
                " sub-cluster: no other edge knows its connections, and they end when it fails.",
                remedy=f"Add an edge, or remove {router.edge}.",
            )


def unequal_mtu(gateway: Gateway) -> Iterator[ConfigAlarm]:
    """Interfaces of one group with different MTU: which one a connection leaves by is the owner's, not the sender's."""
    for group in gateway.groups:
        members = [entry for router in gateway.routers for entry in router.interfaces if entry.group == group.index]
        if gateway.stateful and len({entry.mtu for entry in members}) > 1:
            found = [f"{entry.id} {entry.mtu}" for entry in members]
            yield ConfigAlarm(
                id="interface_group_mtu_differs",
                gateway=gateway.id,
                entity=f"interface_groups.{group.id}",
                severity="MEDIUM",
                cause=f"The interfaces of group {group.id} have different MTU: {listing(found)}. How large a packet may"
                " be depends on which router owns its remote address.",
                remedy="Give all interfaces of the group the same mtu.",
            )


_CHECKS = (
    stateful_rules_without_redirection,
    translations_without_redirection,
    shadowed_firewall_rules,
    dnat_to_nowhere,
    shared_failure_domains,
    unknown_failure_domains,
    edges_without_backup,
    unequal_mtu,
)


def _no_redirection(gateway: Gateway) -> str | None:
    """Return why the two directions of a connection may pass different routers, or None if they cannot."""
    if len(gateway.routers) < 2:
        return None
    if not gateway.stateful:
        return f"stateful_services of the active/active gateway {gateway.id} are not enabled"
    if gateway.redirection_policy is RedirectionPolicy.NONE:
        return f"the redirection_policy of gateway {gateway.id} is NONE"
    return None


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


@dataclass(frozen=True)
class _Space:
    """What a firewall rule matches; addresses as (IP version, first, last), any address written out."""

    rule: FirewallRule
    sources: tuple[tuple[int, int, int], ...]
    destinations: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, rule: FirewallRule) -> _Space:
        everything = tuple(ip_network("0.0.0.0/0" if version == 4 else "::/0") for version in rule.ip_versions)
        return cls(rule, _ranges(rule.sources or everything), _ranges(rule.destinations or everything))

    def covers(self, narrow: _Space) -> bool:
        """Tell whether this surely includes all of another one (False where it takes several networks or entries)."""
        mine, other = self.rule, narrow.rule
        return (
            mine.direction in (RuleDirection.IN_OUT, other.direction)
            and other.ip_versions <= mine.ip_versions
            and (not mine.scope or (bool(other.scope) and other.scope <= mine.scope))
            and _ranges_cover(self.sources, narrow.sources)
            and _ranges_cover(self.destinations, narrow.destinations)
            and _services_cover(mine.services, other.services)
        )


def _ranges(networks: tuple[Network, ...]) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (network.version, int(network.network_address), int(network.broadcast_address)) for network in networks
    )


def _ranges_cover(wide: tuple[tuple[int, int, int], ...], narrow: tuple[tuple[int, int, int], ...]) -> bool:
    return all(
        any(version == other and low <= first and last <= high for other, low, high in wide)
        for version, first, last in narrow
    )


def _within(network: Network, others: list[Network]) -> bool:
    return any(network.version == other.version and network.subnet_of(other) for other in others)


def _services_cover(wide: tuple[Service, ...], narrow: tuple[Service, ...]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(any(_service_covers(entry, other) for entry in wide) for other in narrow)


def _service_covers(wide: Service, narrow: Service) -> bool:
    return (
        wide.protocol == narrow.protocol
        and _ports_cover(wide.source_ports, narrow.source_ports)
        and _ports_cover(wide.destination_ports, narrow.destination_ports)
        and wide.icmp_type in (None, narrow.icmp_type)
        and wide.icmp_code in (None, narrow.icmp_code)
    )


def _ports_cover(wide: tuple[PortRange, ...], narrow: tuple[PortRange, ...]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(any(w.first <= n.first and n.last <= w.last for w in wide) for n in narrow)
