"""Checks that every reference of a document leads to an object that is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from controller.model.document import Document
from controller.model.fields import ANY
from controller.model.problems import Problem, hint
from controller.model.view import interface_group_ids


def edge_clusters(document: Document) -> Iterator[Problem]:
    """The edge cluster of a gateway."""
    known = [cluster.id for cluster in document.edge_clusters]
    for position, tier0 in enumerate(document.tier0s):
        path = f"tier0s[{position}].locale_service.edge_cluster"
        yield from _known("edge cluster", [(path, tier0.locale_service.edge_cluster)], known)


def edges(document: Document) -> Iterator[Problem]:
    """The edges of interfaces, settings of service routers and sub-clusters are in the gateway's edge cluster."""
    clusters = {cluster.id: [edge.id for edge in cluster.edges] for cluster in document.edge_clusters}
    for position, tier0 in enumerate(document.tier0s):
        path, service = f"tier0s[{position}].locale_service", tier0.locale_service
        if service.edge_cluster in clusters:
            where = f" in edge cluster {service.edge_cluster!r}"
            for key, entries in (("interfaces", service.interfaces), ("service_routers", service.service_routers)):
                references = ((f"{path}.{key}[{i}].edge", entry.edge) for i, entry in enumerate(entries))
                yield from _known("edge", references, clusters[service.edge_cluster], where)
            for i, pair in enumerate(tier0.sub_clusters):
                references = _list(f"tier0s[{position}].sub_clusters[{i}].edges", pair.edges)
                yield from _known("edge", references, clusters[service.edge_cluster], where)


def group_members(document: Document) -> Iterator[Problem]:
    """The members of interface groups are interfaces of the gateway."""
    for position, tier0 in enumerate(document.tier0s):
        known = [interface.id for interface in tier0.locale_service.interfaces]
        for i, group in enumerate(tier0.locale_service.interface_groups):
            path = f"tier0s[{position}].locale_service.interface_groups[{i}].members"
            yield from _known("interface", _list(path, group.members), known)


def next_hop_scopes(document: Document) -> Iterator[Problem]:
    """The scope of a next hop is interfaces of the gateway."""
    for position, tier0 in enumerate(document.tier0s):
        known = [interface.id for interface in tier0.locale_service.interfaces]
        for i, route in enumerate(tier0.static_routes):
            for j, hop in enumerate(route.next_hops):
                path = f"tier0s[{position}].static_routes[{i}].next_hops[{j}].scope"
                yield from _known("interface", _list(path, hop.scope), known)


def rule_scopes(document: Document) -> Iterator[Problem]:
    """The scope of a NAT or firewall rule is interface groups of the gateway."""
    for position, tier0 in enumerate(document.tier0s):
        known = interface_group_ids(tier0)
        for key, rules in (("nat_rules", tier0.nat_rules), ("gateway_firewall.rules", tier0.gateway_firewall.rules)):
            for i, rule in enumerate(rules):
                yield from _known("interface group", _list(f"tier0s[{position}].{key}[{i}].scope", rule.scope), known)


def segment_gateways(document: Document) -> Iterator[Problem]:
    """The gateway of a segment."""
    known = [tier0.id for tier0 in document.tier0s]
    references = ((f"segments[{i}].gateway", segment.gateway) for i, segment in enumerate(document.segments))
    yield from _known("gateway", references, known)


def services(document: Document) -> Iterator[Problem]:
    """The services of NAT and firewall rules, where they are not written in place."""
    known = [service.id for service in document.services]
    for position, tier0 in enumerate(document.tier0s):
        for i, nat in enumerate(tier0.nat_rules):
            if isinstance(nat.service, str):
                yield from _known("service", [(f"tier0s[{position}].nat_rules[{i}].service", nat.service)], known)
        for i, rule in enumerate(tier0.gateway_firewall.rules):
            path = f"tier0s[{position}].gateway_firewall.rules[{i}].services"
            yield from _known("service", _list(path, rule.services), [*known, ANY])


def address_groups(document: Document) -> Iterator[Problem]:
    """The address groups of firewall rules."""
    known = [*(group.id for group in document.groups), ANY]
    for position, tier0 in enumerate(document.tier0s):
        for i, rule in enumerate(tier0.gateway_firewall.rules):
            path = f"tier0s[{position}].gateway_firewall.rules[{i}]"
            yield from _known("group", _list(f"{path}.sources", rule.sources), known)
            yield from _known("group", _list(f"{path}.destinations", rule.destinations), known)


CHECKS = (
    edge_clusters,
    edges,
    group_members,
    next_hop_scopes,
    rule_scopes,
    segment_gateways,
    services,
    address_groups,
)
"""Checks of a document whose identifiers are unique."""


def _list(path: str, values: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Yield path and value of the references in a list that may hold values written in place as well."""
    return ((f"{path}[{i}]", value) for i, value in enumerate(values) if isinstance(value, str))


def _known(
    what: str, references: Iterable[tuple[str, str]], known: Collection[str], where: str = ""
) -> Iterator[Problem]:
    for path, value in references:
        if value not in known:
            yield Problem(path, f"there is no {what} {value!r}{where}; {hint(value, known)}")
