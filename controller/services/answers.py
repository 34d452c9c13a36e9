"""What a router does with the packets its flows hand over: ICMP errors, resets, asking for neighbours.

Returns what is to be sent as (bridge, frame, actions) values; sending is the application's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from controller.compile import actions as a
from controller.compile import distributed_router, service_router
from controller.compile.actions import Reason
from controller.compile.router import Leg
from controller.model import names
from controller.model.gateway import Address, Config, Gateway
from controller.openflow.packet_in import PacketIn
from controller.pipeline import fields as f
from controller.pipeline import tables
from controller.services import packets
from controller.services.rate import TokenBucket
from controller.services.resolution import Resolution, Target

ROUTED = (a.SetMark(f.ORIGINATED.at(1)), a.Resubmit(tables.ROUTE))
"""Send a packet of the router's own: it finds its way by ROUTE, and is neither filtered nor translated."""

ERRORS_PER_SECOND = 200
ERRORS_AT_ONCE = 400
"""Bounds of the ICMP errors and resets that one router sends (RFC 4443, section 2.4 (f); RFC 1812, section 4.3.2.8)."""

_TRANSLATED_BY_NOW = frozenset((Reason.NO_ROUTE, Reason.RESOLVE))
"""Reasons that a service router finds behind its connection tracker."""

_KINDS = {
    Reason.TTL_EXPIRED: (packets.TIME_EXCEEDED, packets.V6_TIME_EXCEEDED),
    Reason.NO_ROUTE: (packets.NET_UNREACHABLE, packets.V6_NO_ROUTE),
    Reason.RESOLVE: (packets.HOST_UNREACHABLE, packets.V6_ADDRESS_UNREACHABLE),
    Reason.REJECTED: (packets.ADMIN_PROHIBITED, packets.V6_ADMIN_PROHIBITED),
    Reason.PORT_CLOSED: (packets.PORT_UNREACHABLE, packets.V6_PORT_UNREACHABLE),
}


@dataclass(frozen=True)
class Send:
    """A frame to be sent by a bridge through actions."""

    bridge: str
    data: bytes
    actions: tuple[a.Action, ...]


@dataclass(frozen=True)
class RouterView:
    """A router as the packet services see it: its bridge, its legs by index, its conntrack zone (None: it has none)."""

    bridge: str
    legs: dict[int, Leg]
    zone: int | None = None

    def own_address(self, ingress: int, version: int) -> Address | None:
        """The router's address to speak from: of the leg the packet came by, else the first of the right family."""
        preferred = self.legs.get(ingress)
        for leg in ([preferred] if preferred else []) + list(self.legs.values()):
            for address in leg.addresses:
                if address.version == version:
                    return address.ip
        return None


def routers(config: Config) -> dict[str, RouterView]:
    """Return the routers of a configuration by the names of their bridges."""
    views = {}
    for gateway in config.gateways:
        distributed = names.dr_bridge(gateway.prefix)
        views[distributed] = RouterView(distributed, _by_index(distributed_router.legs(gateway)))
        for sr in gateway.routers:
            views[sr.bridge] = RouterView(sr.bridge, _by_index(service_router.legs(gateway, sr)), sr.zone)
    return views


def _by_index(legs: tuple[Leg, ...]) -> dict[int, Leg]:
    return {leg.index: leg for leg in legs}


def configured_next_hops(gateway: Gateway) -> list[Target]:
    """Return the next hops of static routes, which are kept known."""
    return [Target(sr.bridge, next_hop.interface, next_hop.address) for sr in gateway.routers
            for route in sr.routes for next_hop in route.next_hops]


class Answers:
    """The packet services of all routers of a configuration."""

    def __init__(self, config: Config):
        self.routers = routers(config)
        self.resolution: Resolution[PacketIn] = Resolution()
        self._rates = {bridge: TokenBucket(ERRORS_PER_SECOND, ERRORS_AT_ONCE) for bridge in self.routers}
        self._next_hops = [target for gateway in config.gateways for target in configured_next_hops(gateway)]

    def handle(self, bridge: str, packet: PacketIn, now: float) -> list[Send]:
        """Return what is to be sent because of a packet that a bridge handed over."""
        router = self.routers.get(bridge)
        if router is None:
            return []
        if packet.reason is Reason.RESOLVE:
            return self._resolve(router, packet, now)
        if packet.reason is Reason.NEIGHBOUR_SEEN:
            return self._seen(router, packet)
        return self._error(router, packet, now)

    def tick(self, now: float) -> list[Send]:
        """Return repeated questions, and errors for packets whose next hop does not answer."""
        again, given_up = self.resolution.due(now)
        sends = [send for target in again for send in self._ask(target)]
        for target, waiting in given_up:
            for packet in waiting:
                sends += self._error(self.routers[target.bridge], packet, now)
        return sends

    def refresh(self, bridge: str) -> list[Send]:
        """Return questions for every configured next hop of a bridge, so that no packet ever has to wait for one."""
        return [send for target in self._next_hops if target.bridge == bridge for send in self._ask(target)]

    def _error(self, router: RouterView, packet: PacketIn, now: float) -> list[Send]:
        """A packet cannot be delivered: tell its sender, unless that is this router itself.

        An error about a packet that was translated already passes the tracker, which translates it back.
        """
        if packet.value(f.ORIGINATED) or not self._rates[router.bridge].take(now):
            return []
        how = ROUTED
        may_reset = packet.reason in (Reason.REJECTED, Reason.PORT_CLOSED)
        if may_reset and packets.is_tcp(packet.data):
            answer = packets.reset(packet.data)
        else:
            ingress = packet.value(f.INGRESS)
            source4, source6 = router.own_address(ingress, 4), router.own_address(ingress, 6)
            if packet.reason is Reason.PORT_CLOSED:
                asked = packets.destination(packet.data)
                source4 = asked if isinstance(asked, IPv4Address) else source4
                source6 = asked if isinstance(asked, IPv6Address) else source6
            answer = packets.icmp_error(packet.data, source4, source6, *_KINDS[packet.reason])
            if router.zone is not None and packet.reason in _TRANSLATED_BY_NOW:
                how = (a.SetMark(f.ORIGINATED.at(1)), a.Ct(router.zone, tables.ROUTE))
        return [Send(router.bridge, answer, how)] if answer else []

    def _resolve(self, router: RouterView, packet: PacketIn, now: float) -> list[Send]:
        next_hop = packet.value(f.NEXT_HOP_4) or packet.value(f.NEXT_HOP_6)
        address = packets.destination(packet.data)
        if address is None:
            return []
        if next_hop:
            address = type(address)(next_hop)
        target = Target(router.bridge, packet.value(f.EGRESS), address)
        return self._ask(target) if self.resolution.wanted(target, packet, now) else []

    def _ask(self, target: Target) -> list[Send]:
        router = self.routers.get(target.bridge)
        leg = router.legs.get(target.leg) if router else None
        own = [address.ip for address in leg.addresses if target.address in address.network] if leg else []
        if not own:
            return []
        frame = packets.solicitation(target.address, own[0], leg.mac)
        return [Send(target.bridge, frame, (a.SetMark(f.EGRESS.at(leg.index)), a.SetMark(f.RESOLVED.at(1)),
                                            a.Resubmit(tables.OUT)))]

    def _seen(self, router: RouterView, packet: PacketIn) -> list[Send]:
        address = packets.told_neighbour(packet.data)
        if address is None:
            return []
        waiting = self.resolution.seen(Target(router.bridge, packet.value(f.INGRESS), address))
        sends = []
        for held in waiting:
            marks = [a.SetMark(field.at(held.value(field))) for field in (f.EGRESS, f.NEXT_HOP_4, f.NEXT_HOP_6)]
            sends.append(Send(router.bridge, packets.with_checksum(held.data),
                              (*marks, a.Resubmit(tables.NEIGHBOUR), a.Resubmit(tables.OUT))))
        return sends
