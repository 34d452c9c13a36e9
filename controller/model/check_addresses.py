"""Checks of subnets and addresses within a gateway: uplinks, segments and the internal transit subnet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.model.gateway import AddressOnLink, Network
from controller.model.problems import Problem
from controller.model.view import GatewayView, View


@dataclass(frozen=True)
class _Subnet:
    """Subnet with the path where it is written; ``slot`` and ``address`` for external interfaces only."""

    path: str
    network: Network
    what: str
    slot: int | None = None
    address: AddressOnLink | None = None


def host_addresses(view: View) -> Iterator[Problem]:
    """The address of an interface is one of a host: not the network's own and not the IPv4 broadcast address.

    IPv4: not with /31 and /32 (RFC 3021).  IPv6: the first one is the subnet-router anycast address (RFC 4291 2.6.1),
    not with /127 and /128 (RFC 6164).
    """
    for gateway in view.gateways:
        addresses = [(path, address) for path, _, address in gateway.uplink_addresses()]
        addresses += [(path, address) for path, _, address in gateway.segment_addresses()]
        for path, address in addresses:
            special = special_address(address)
            if special:
                yield Problem(path, f"{address.ip} is the {special} of {address.network}; give an address of a host")


def transit_size(view: View) -> Iterator[Problem]:
    """The internal transit subnet has an address for the distributed router and one for every slot."""
    for gateway in view.gateways:
        transit = gateway.tier0.internal_transit_subnet
        available = max(transit.num_addresses - 2, 0)
        last_slot = max(router.slot for router in gateway.routers)
        if available < last_slot + 1:
            yield Problem(
                f"{gateway.path}.internal_transit_subnet",
                f"{transit} has {available} host addresses; {last_slot + 1} are needed, one for the distributed router"
                f" and one for each slot up to {last_slot}",
            )


def overlaps(view: View) -> Iterator[Problem]:
    """Subnets of a gateway do not overlap, except for uplinks of different routers that share one whole subnet.

    Only the first overlap of a subnet is reported, at the subnet that comes later: uplinks, segments, transit.
    """
    for gateway in view.gateways:
        earlier: list[_Subnet] = []
        for subnet in _subnets(gateway):
            problems = (_conflict(subnet, other) for other in earlier)
            problem = next((found for found in problems if found), None)
            if problem:
                yield Problem(subnet.path, problem)
            earlier.append(subnet)


def shared_between_gateways(view: View) -> Iterator[Problem]:
    """Interfaces of different gateways on one and the same uplink subnet have different addresses."""
    first: dict[AddressOnLink, tuple[GatewayView, str]] = {}
    for gateway in view.gateways:
        for path, _, address in gateway.uplink_addresses():
            other, other_path = first.setdefault(address, (gateway, path))
            if other is not gateway:
                yield Problem(path, f"{address} is the address at {other_path} as well; addresses on a link differ")


CHECKS = (host_addresses, transit_size, overlaps, shared_between_gateways)
"""Checks of a document whose references lead somewhere; each is independent of the others."""


def special_address(address: AddressOnLink) -> str | None:
    """Return why an address cannot be a host's in its subnet, or None if it can."""
    network = address.network
    if network.num_addresses <= 2:
        return None
    if address.ip == network.network_address:
        return "network address" if address.version == 4 else "subnet-router anycast address"
    if address.version == 4 and address.ip == network.broadcast_address:
        return "broadcast address"
    return None


def _subnets(gateway: GatewayView) -> Iterator[_Subnet]:
    for path, interface, address in gateway.uplink_addresses():
        what = f"{address.network} of interface {interface.interface.id!r}"
        yield _Subnet(path, address.network, what, interface.slot, address)
    for path, segment, address in gateway.segment_addresses():
        yield _Subnet(path, address.network, f"{address.network} of segment {segment.segment.id!r}")
    transit = gateway.tier0.internal_transit_subnet
    yield _Subnet(f"{gateway.path}.internal_transit_subnet", transit, f"the internal transit subnet {transit}")


def _conflict(subnet: _Subnet, other: _Subnet) -> str | None:
    if subnet.network.version != other.network.version or not subnet.network.overlaps(other.network):
        return None
    shared_link = subnet.slot != other.slot and subnet.network == other.network and subnet.address and other.address
    if not shared_link:
        return f"{subnet.network} overlaps {other.what}; the subnets of a gateway must not overlap"
    if subnet.address == other.address:
        return f"{subnet.address.ip} is the address at {other.path} as well; addresses on a link differ"
    return None
