"""Checks of edges, interface groups, conntrack zones and names: the shape of a gateway.

Conditions for interface groups: Broadcom, "Key Concepts Stateful Services".  Number of edges: nsx.md 2.3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from controller.model import names
from controller.model.document import MAX_EDGES
from controller.model.problems import Problem, listing
from controller.model.view import GatewayView, View


def number_of_edges(view: View) -> Iterator[Problem]:
    """A gateway has at most 8 edges; a stateful one pairs them, so that it says so if their number may be odd."""
    for gateway in view.gateways:
        count, path = len(gateway.routers), f"{gateway.cluster_path}.edges"
        if gateway.stateful and not gateway.tier0.allow_unpaired and (count % 2 or count > MAX_EDGES):
            yield Problem(
                path,
                f"the number of edges is {count}, but the stateful gateway {gateway.tier0.id!r} pairs its edges in"
                " sub-clusters: allowed are 2, 4, 6 or 8, and with allow_unpaired: true 1 to 8",
            )
        elif count > MAX_EDGES:
            yield Problem(path, f"the number of edges is {count}; gateway {gateway.tier0.id!r} can have 1 to 8")


def sub_clusters_of_stateful_gateways(view: View) -> Iterator[Problem]:
    """Only edges of stateful gateways are paired: the others keep no state that a backup could need."""
    for gateway in view.gateways:
        if gateway.tier0.sub_clusters and not gateway.stateful:
            yield Problem(
                f"{gateway.path}.sub_clusters",
                "only a stateful gateway has sub-clusters; enable stateful_services, or leave this key out",
            )


def edge_in_two_sub_clusters(view: View) -> Iterator[Problem]:
    """An edge is in one sub-cluster, once."""
    for gateway in view.gateways:
        first: dict[str, str] = {}
        for position, pair in enumerate(gateway.tier0.sub_clusters):
            for i, edge in enumerate(pair.edges):
                path = f"{gateway.path}.sub_clusters[{position}].edges[{i}]"
                if edge in pair.edges[:i]:
                    yield Problem(path, f"edge {edge!r} cannot back itself up; name two different edges")
                elif edge in first:
                    yield Problem(path, f"edge {edge!r} is in a sub-cluster already, at {first[edge]}; one is allowed")
                first.setdefault(edge, path)


def edges_without_interface(view: View) -> Iterator[Problem]:
    """Every edge of a stateful gateway has an external interface: what it owns has to leave there."""
    for gateway in view.gateways:
        bare = [router.edge.id for router in gateway.routers if not router.interfaces]
        if gateway.stateful and bare:
            yield Problem(
                f"{gateway.path}.locale_service.interfaces",
                f"no external interface on {listing(bare)}; every edge of a stateful gateway needs one",
            )


def group_needed(view: View) -> Iterator[Problem]:
    """A stateful gateway has an interface group."""
    for gateway in view.gateways:
        if gateway.stateful and not gateway.tier0.locale_service.interface_groups:
            yield Problem(
                f"{gateway.path}.locale_service.interface_groups",
                "a stateful gateway needs an interface group with one external interface of every edge",
            )


def interface_in_two_groups(view: View) -> Iterator[Problem]:
    """An interface is in one group, once."""
    for gateway in view.gateways:
        first: dict[str, str] = {}
        for path, member in _members(gateway):
            if member in first:
                yield Problem(path, f"interface {member!r} is in a group already, at {first[member]}; one is allowed")
            first.setdefault(member, path)


def two_interfaces_of_one_router(view: View) -> Iterator[Problem]:
    """A group of a stateful gateway has one interface of a service router: a punted packet names group and slot."""
    for gateway in view.gateways:
        if gateway.stateful:
            for position, members in enumerate(_groups(gateway)):
                yield from _second_interfaces(gateway, position, members)


def unequal_groups(view: View) -> Iterator[Problem]:
    """Every group of a stateful gateway has an interface of every service router that has interfaces.

    Not said of a group with two interfaces of one router: one of them is most likely there by mistake for another.
    """
    for gateway in view.gateways:
        if not gateway.stateful:
            continue
        for position, group in enumerate(gateway.tier0.locale_service.interface_groups):
            lacking = _lacking(gateway, group.members)
            if lacking and not any(_second_interfaces(gateway, position, _groups(gateway)[position])):
                yield Problem(
                    f"{gateway.path}.locale_service.interface_groups[{position}].members",
                    f"no interface of {listing(lacking)}; a group needs one interface of every edge",
                )


def interface_in_no_group(view: View) -> Iterator[Problem]:
    """Every interface of a stateful gateway is in a group.

    Not said of an interface whose router is lacking in a group: it is most likely the one that is missing there.
    """
    for gateway in view.gateways:
        groups = _groups(gateway)
        if not gateway.stateful or not groups:
            continue
        grouped = {member for members in groups for member in members.values()}
        lacking = {edge for members in groups for edge in _lacking(gateway, members.values())}
        for entry in gateway.interfaces:
            if entry.interface.id not in grouped and entry.interface.edge not in lacking:
                yield Problem(
                    entry.path,
                    f"interface {entry.interface.id!r} is in no interface group; a stateful gateway needs it in one",
                )


def equal_zones(view: View) -> Iterator[Problem]:
    """No two service routers share a conntrack zone: in one Open vSwitch they would share their connections."""
    routers = [(gateway, router) for gateway in view.gateways for router in gateway.routers]
    # Defaults differ by construction, so one of two equal zones was set; look at those that were set last.
    owner: dict[int, str] = {}
    for gateway, router in sorted(routers, key=lambda entry: entry[1].zone_path is not None):
        name = f"{router.edge.id} in gateway {gateway.tier0.id!r}"
        if router.zone in owner and router.zone_path:
            yield Problem(
                router.zone_path,
                f"zone {router.zone} is the zone of {owner[router.zone]} already; every service router needs its own",
            )
        owner.setdefault(router.zone, name)


def port_names(view: View) -> Iterator[Problem]:
    """Names of ports fit Linux's 15 characters and are unique with all names of bridges and ports of the file."""
    taken = {name: what for gateway in view.gateways for name, what in _own_names(gateway)}
    for gateway in view.gateways:
        ports = [(view.path, view.port, view.interface, "interface") for view in gateway.interfaces]
        ports += [(view.path, view.port, view.segment, "segment") for view in gateway.segments]
        for path, port, written, what in ports:
            default, remedy = ("", "") if written.port else ("the default name ", "; set port to another name")
            if len(port) > names.MAX_PORT_NAME:
                yield Problem(
                    f"{path}.port",
                    f"{default}{port!r} has {len(port)} characters, {names.MAX_PORT_NAME} are allowed{remedy}",
                )
            elif port in taken:
                yield Problem(f"{path}.port", f"{default}{port!r} is the name of {taken[port]} already{remedy}")
            taken.setdefault(port, f"the port of {what} {written.id!r}")


CHECKS = (
    number_of_edges,
    sub_clusters_of_stateful_gateways,
    edge_in_two_sub_clusters,
    edges_without_interface,
    group_needed,
    interface_in_two_groups,
    two_interfaces_of_one_router,
    unequal_groups,
    interface_in_no_group,
    equal_zones,
    port_names,
)
"""Checks of a document whose references lead somewhere; each is independent of the others."""


def _members(gateway: GatewayView) -> Iterator[tuple[str, str]]:
    for position, group in enumerate(gateway.tier0.locale_service.interface_groups):
        for i, member in enumerate(group.members):
            yield f"{gateway.path}.locale_service.interface_groups[{position}].members[{i}]", member


def _groups(gateway: GatewayView) -> list[dict[int, str]]:
    """Return the members of each group by position, without those that are in a group at an earlier place."""
    seen: set[str] = set()
    groups = []
    for group in gateway.tier0.locale_service.interface_groups:
        members = {}
        for i, member in enumerate(group.members):
            if member not in seen:
                members[i] = member
            seen.add(member)
        groups.append(members)
    return groups


def _second_interfaces(gateway: GatewayView, position: int, members: dict[int, str]) -> Iterator[Problem]:
    edge_of = {entry.interface.id: entry.interface.edge for entry in gateway.interfaces}
    first: dict[str, str] = {}
    for i, member in members.items():
        other = first.setdefault(edge_of[member], member)
        if other != member:
            yield Problem(
                f"{gateway.path}.locale_service.interface_groups[{position}].members[{i}]",
                f"{member!r} and {other!r} are both on {edge_of[member]}; a group takes one interface per edge",
            )


def _lacking(gateway: GatewayView, members: Collection[str]) -> list[str]:
    """Return the edges that have interfaces but none among the members."""
    return [
        router.edge.id
        for router in gateway.routers
        if router.interfaces and not any(entry.interface.id in members for entry in router.interfaces)
    ]


def _own_names(gateway: GatewayView) -> Iterator[tuple[str, str]]:
    prefix = gateway.prefix
    yield names.dr_bridge(prefix), "a bridge"
    yield names.dr_port(prefix), "a port of the distributed router"
    yield names.switch_port_of_dr(prefix), "a port of the backplane switch"
    for switch in (names.BACKPLANE, names.PUNT_NORTH, names.PUNT_SOUTH):
        yield names.switch_bridge(prefix, switch), "a bridge"
        for router in gateway.routers:
            yield names.sr_port(prefix, router.slot, switch), "a port of a service router"
            yield names.switch_port_of_sr(prefix, switch, router.slot), "a port of a logical switch"
    for router in gateway.routers:
        yield names.sr_bridge(prefix, router.slot), "a bridge"
