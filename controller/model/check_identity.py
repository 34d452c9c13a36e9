"""Checks of what names an object: identifiers, numbers, bridge prefixes, member indexes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.model.document import Document
from controller.model.fields import PREFIX_WORDS, is_prefix
from controller.model.problems import Problem
from controller.model.view import gateway_number


def duplicate_ids(document: Document) -> Iterator[Problem]:
    """Identifiers are unique among their kind; edges in the whole file, because an edge is in one cluster only."""
    yield from _unique("edge cluster", _ids("edge_clusters", document.edge_clusters))
    edges = (
        entry
        for position, cluster in enumerate(document.edge_clusters)
        for entry in _ids(f"edge_clusters[{position}].edges", cluster.edges)
    )
    yield from _unique("edge", edges)
    yield from _unique("gateway", _ids("tier0s", document.tier0s))
    yield from _unique("segment", _ids("segments", document.segments))
    yield from _unique("service", _ids("services", document.services))
    yield from _unique("group", _ids("groups", document.groups))
    for position, tier0 in enumerate(document.tier0s):
        path, service = f"tier0s[{position}]", tier0.locale_service
        yield from _unique("interface", _ids(f"{path}.locale_service.interfaces", service.interfaces))
        yield from _unique("interface group", _ids(f"{path}.locale_service.interface_groups", service.interface_groups))
        yield from _unique("static route", _ids(f"{path}.static_routes", tier0.static_routes))
        yield from _unique("NAT rule", _ids(f"{path}.nat_rules", tier0.nat_rules))
        yield from _unique("firewall rule", _ids(f"{path}.gateway_firewall.rules", tier0.gateway_firewall.rules))


def duplicate_router_settings(document: Document) -> Iterator[Problem]:
    """A service router has one entry in service_routers."""
    for position, tier0 in enumerate(document.tier0s):
        path = f"tier0s[{position}].locale_service.service_routers"
        settings = enumerate(tier0.locale_service.service_routers)
        yield from _unique("edge", ((f"{path}[{i}].edge", entry.edge) for i, entry in settings))


def gateway_numbers(document: Document) -> Iterator[Problem]:
    """The numbers of gateways, given or by position, are unique."""
    entries = (
        (f"tier0s[{position}].number", str(gateway_number(document, position)))
        for position in range(len(document.tier0s))
    )
    for problem in _unique("number", entries):
        yield Problem(problem.path, f"{problem.message}; set number to another one of 1 to 255")


def bridge_prefixes(document: Document) -> Iterator[Problem]:
    """Bridge prefixes are unique, and where one is the gateway's id, that can start the name of a bridge."""
    usable = []
    for position, tier0 in enumerate(document.tier0s):
        path = f"tier0s[{position}].bridge_prefix"
        if tier0.bridge_prefix is None and not is_prefix(tier0.id):
            yield Problem(path, f"is needed, as the id {tier0.id!r} cannot start names of bridges; set {PREFIX_WORDS}")
        else:
            usable.append((path, tier0.bridge_prefix or tier0.id))
    yield from _unique("bridge prefix", usable)


def member_indexes(document: Document) -> Iterator[Problem]:
    """member_index is on all edges of a cluster or on none, and unique in the cluster."""
    for position, cluster in enumerate(document.edge_clusters):
        paths = [f"edge_clusters[{position}].edges[{i}].member_index" for i in range(len(cluster.edges))]
        entries = [(path, edge.member_index) for path, edge in zip(paths, cluster.edges, strict=True)]
        given = [(path, str(index)) for path, index in entries if index is not None]
        if given and len(given) < len(entries):
            missing = next(path for path, index in entries if index is None)
            yield Problem(missing, f"is needed, as {given[0][0]} is set: give it to all edges of a cluster or to none")
        else:
            yield from _unique("member_index", given)


CHECKS = (duplicate_ids, duplicate_router_settings, gateway_numbers, bridge_prefixes, member_indexes)
"""Checks of a document of which nothing is known yet."""


def _ids(path: str, objects: Iterable) -> Iterator[tuple[str, str]]:
    return ((f"{path}[{position}].id", entry.id) for position, entry in enumerate(objects))


def _unique(what: str, entries: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, value in entries:
        if value in first:
            yield Problem(path, f"the {what} {value!r} is there already, at {first[value]}")
        else:
            first[value] = path
