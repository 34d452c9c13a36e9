"""Static routes: the next hops one service router uses, and the checks of them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface

from controller.model import gateway
from controller.model.check_addresses import special_address
from controller.model.document import NextHop, StaticRoute
from controller.model.problems import Problem, listing
from controller.model.view import GatewayView, InterfaceView, RouterView, View


def next_hops(router: RouterView, route: StaticRoute) -> tuple[gateway.NextHop, ...]:
    """Return the next hops of a route that are on a subnet of a router's interface, in the order of the file."""
    return tuple(
        gateway.NextHop(hop.ip_address, view.index)
        for hop in route.next_hops
        for view in router.interfaces
        if _reaches(view, hop)
    )


def families(view: View) -> Iterator[Problem]:
    """Next hops are of the family of the route's network."""
    for _, path, route in _routes(view):
        for i, hop in enumerate(route.next_hops):
            if hop.ip_address.version != route.network.version:
                yield Problem(
                    f"{path}.next_hops[{i}].ip_address",
                    f"{hop.ip_address} is IPv{hop.ip_address.version}, the network {route.network} is"
                    f" IPv{route.network.version}; both must be of one family",
                )


def duplicate_networks(view: View) -> Iterator[Problem]:
    """A network has one route in a gateway."""
    first: dict[tuple[str, gateway.Network], str] = {}
    for owner, path, route in _routes(view):
        other = first.setdefault((owner.path, route.network), path)
        if other != path:
            yield Problem(
                f"{path}.network", f"{route.network} has a route already, at {other}; put all next hops into one route"
            )


def connected_networks(view: View) -> Iterator[Problem]:
    """No static route replaces a connected one."""
    for owner, path, route in _routes(view):
        connected = {address.network for _, _, address in owner.uplink_addresses()}
        connected |= {address.network for _, _, address in owner.segment_addresses()}
        if route.network in connected | {owner.tier0.internal_transit_subnet}:
            yield Problem(f"{path}.network", f"{route.network} is a subnet of the gateway itself and needs no route")


def duplicate_next_hops(view: View) -> Iterator[Problem]:
    """A route names a next hop once."""
    for _, path, route in _routes(view):
        first: dict[gateway.Address, int] = {}
        for i, hop in enumerate(route.next_hops):
            other = first.setdefault(hop.ip_address, i)
            if other != i:
                yield Problem(
                    f"{path}.next_hops[{i}].ip_address",
                    f"{hop.ip_address} is there already, at {path}.next_hops[{other}]; one entry serves all routers",
                )


def reachable_next_hops(view: View) -> Iterator[Problem]:
    """A next hop is another host on the subnet of an external interface, and of every interface of its scope."""
    for owner, path, route in _routes(view):
        for i, hop in enumerate(route.next_hops):
            if hop.ip_address.version == route.network.version:
                yield from _reachable(owner, f"{path}.next_hops[{i}]", hop)


def routes_on_all_routers(view: View) -> Iterator[Problem]:
    """A route of a stateful gateway has a next hop on every router, because each forwards what it owns."""
    for owner, path, route in _routes(view):
        lacking = [router.edge.id for router in owner.routers if not next_hops(router, route)]
        if owner.stateful and lacking:
            yield Problem(
                f"{path}.next_hops",
                f"no next hop for {listing(lacking)}; in a stateful gateway every edge needs one on its own subnets",
            )


CHECKS = (families, duplicate_networks, connected_networks, duplicate_next_hops, reachable_next_hops)
"""Checks of a document whose subnets are in order; each is independent of the others."""

COVERAGE_CHECKS = (routes_on_all_routers,)
"""Checks of a document whose next hops are all in order."""


def _routes(view: View) -> Iterator[tuple[GatewayView, str, StaticRoute]]:
    for owner in view.gateways:
        for position, route in enumerate(owner.tier0.static_routes):
            yield owner, f"{owner.path}.static_routes[{position}]", route


def _subnet_of(view: InterfaceView, address: gateway.Address) -> gateway.AddressOnLink | None:
    # `in` is False, not an error, for a network of the other family.
    return next((own for own in view.interface.subnets if address in own.network), None)


def _reaches(view: InterfaceView, hop: NextHop) -> bool:
    return (not hop.scope or view.interface.id in hop.scope) and _subnet_of(view, hop.ip_address) is not None


def _reachable(owner: GatewayView, path: str, hop: NextHop) -> Iterator[Problem]:
    address = hop.ip_address
    for position, name in enumerate(hop.scope):
        scope = next(view for view in owner.interfaces if view.interface.id == name)
        if _subnet_of(scope, address) is None:
            yield Problem(f"{path}.scope[{position}]", f"{address} is on no subnet of interface {name!r}")
            return
    on = [(view, subnet) for view in owner.interfaces if (subnet := _subnet_of(view, address))]
    if not on:
        yield Problem(f"{path}.ip_address", f"{address} is on no subnet of an external interface of the gateway")
        return
    for view, own in on:
        if own.ip == address:
            yield Problem(f"{path}.ip_address", f"{address} is the gateway's own address on {view.interface.id!r}")
            return
    subnet = on[0][1]
    special = special_address(ip_interface((address, subnet.network.prefixlen)))
    if special:
        yield Problem(f"{path}.ip_address", f"{address} is the {special} of {subnet.network}; give a router's address")
