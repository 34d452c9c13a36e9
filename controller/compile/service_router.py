"""Program of a service router: classify, answer for itself, find the owner, punt or serve, route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.compile import actions as a
from controller.compile import firewall, nat, router
from controller.compile.builder import ProgramBuilder, match
from controller.compile.values import Bucket, GroupType, Match, Program
from controller.model import names
from controller.model.gateway import Gateway, RedirectionPolicy, Route, ServiceRouter
from controller.pipeline import addresses, groups, tables
from controller.pipeline import fields as f
from controller.pipeline.cookies import Category
from controller.pipeline.priorities import Band, longest_prefix

HASH_NORTH = ("ipv4_dst", "ipv6_dst")
HASH_SOUTH = ("ipv4_src", "ipv6_src")
"""Remote address of each direction (white paper, figures 3 and 4)."""


def legs(gateway: Gateway, sr: ServiceRouter) -> tuple[router.Leg, ...]:
    """Attachments of a service router: the backplane, then every external interface."""
    external = nat.external_networks(gateway)
    backplane = router.Leg(f.BACKPLANE_INTERFACE, names.sr_port(gateway.prefix, sr.slot, names.BACKPLANE),
                           addresses.backplane(gateway.number, sr.slot), (sr.backplane_address,))
    uplinks = []
    for interface in sr.interfaces:
        subnets = [own.network for own in interface.addresses if own.version == 4]
        mine = [subnet for subnet in subnets if _answers_for(gateway, sr, subnet)]
        answers = tuple(address for network in external for subnet in mine if network.subnet_of(subnet)
                        for address in network)
        uplinks.append(router.Leg(interface.index, interface.port,
                                  addresses.uplink(gateway.number, sr.slot, interface.index), interface.addresses,
                                  interface.group, answers, gateways=True))
    return backplane, *uplinks


def _answers_for(gateway: Gateway, sr: ServiceRouter, subnet) -> bool:
    """True where this router answers ARP for translations in a subnet: of those attached, the lowest slot does."""
    attached = [other.slot for other in gateway.routers for interface in other.interfaces
                for own in interface.addresses if own.network == subnet]
    return sr.slot == min(attached)


def redirects(gateway: Gateway) -> bool:
    """True where the gateway finds an owner for every packet, instead of serving it wherever it arrives."""
    return gateway.stateful and gateway.redirection_policy is not RedirectionPolicy.NONE


def program(gateway: Gateway, sr: ServiceRouter, ports: Mapping[str, int]) -> Program:
    """Return the program of a service router's bridge; ``ports`` maps port names to numbers."""
    builder = ProgramBuilder(sr.bridge, tables.Kind.SERVICE_ROUTER, ports)
    backplane, *uplinks = legs(gateway, sr)
    router.refuse_tagged(builder)
    router.classify(builder, backplane, f.NORTH, source=addresses.dr_backplane(gateway.number))
    for uplink in uplinks:
        router.classify(builder, uplink, f.SOUTH, f.INGRESS_GROUP.at(uplink.group))
    _shadow_ports(builder, gateway, sr, uplinks)
    router.local(builder, (backplane, *uplinks), onward=tables.OWNER)
    _owner(builder, gateway)
    _errors_from_anywhere(builder, gateway, sr)
    _punt(builder, gateway, sr)
    _track(builder, gateway, sr)
    _routes(builder, gateway, sr, uplinks)
    firewall.fill(builder, gateway, keeps_state=redirects(gateway))
    nat.fill(builder, gateway, sr)
    _fail_closed(builder)
    router.forward(builder)
    router.out(builder, (backplane, *uplinks))
    return builder.program()


def _shadow_ports(builder: ProgramBuilder, gateway: Gateway, sr: ServiceRouter, uplinks: list[router.Leg]) -> None:
    """Take punted frames of this gateway and slot, as if received on the uplink of their group or the backplane."""
    def take(port_name: str, group: int, *marks: f.Mark) -> None:
        port = builder.port(port_name)
        if port is None:
            return
        own = addresses.frame(gateway.number, addresses.FrameKind.PUNT, sr.slot, group)
        any_sender = addresses.frame(gateway.number, addresses.FrameKind.PUNT, 0, group)
        builder.flow(tables.CLASSIFY, Band.NORMAL,
                     match(in_port=port, eth_dst=own, eth_src=(any_sender, addresses.WITHOUT_SLOT)),
                     [a.SetMark(mark) for mark in (*marks, f.PUNTED.at(1))] + [a.Goto(tables.LOCAL)],
                     Category.FRAME, note=f"punted to slot {sr.slot}")

    take(names.sr_port(gateway.prefix, sr.slot, names.PUNT_SOUTH), 0, f.NORTH, f.INGRESS.at(f.BACKPLANE_INTERFACE))
    for uplink in uplinks:
        take(names.sr_port(gateway.prefix, sr.slot, names.PUNT_NORTH), uplink.group, f.SOUTH,
             f.INGRESS.at(uplink.index), f.INGRESS_GROUP.at(uplink.group))


def _owner(builder: ProgramBuilder, gateway: Gateway) -> None:
    for version in (4, 6):
        builder.flow(tables.OWNER, Band.MISS, router.ip_match(version=version), [a.Goto(tables.TRACK)],
                     Category.BASE, note="punted, or not to be redirected")
    if not redirects(gateway):
        return
    if gateway.redirection_policy is RedirectionPolicy.SRC_DST_IP_HASH:
        for version in (4, 6):
            builder.flow(tables.OWNER, Band.NORMAL, router.ip_match(f.PUNTED.at(0), version=version),
                         [a.Multipath(len(gateway.routers), f.LINK), a.Goto(tables.PUNT)], Category.OWNER,
                         note="owner by both addresses")
        return
    for direction, group_id, hash_fields in ((f.NORTH, groups.OWNER_NORTH, HASH_NORTH),
                                             (f.SOUTH, groups.OWNER_SOUTH, HASH_SOUTH)):
        builder.group(tables.OWNER, group_id, GroupType.SELECT_HASH,
                      (Bucket(sr.slot, (a.SetMark(f.SLOT.at(sr.slot)), a.Resubmit(tables.PUNT)))
                       for sr in gateway.routers), hash_fields)
        for version in (4, 6):
            builder.flow(tables.OWNER, Band.NORMAL,
                         router.ip_match(direction, f.PUNTED.at(0), version=version),
                         [a.ToGroup(group_id)], Category.OWNER, note="owner by the remote address")


def _icmp_errors(*marks: f.Mark, **more) -> Iterator[Match]:
    """Match every ICMP error of both families."""
    for kind in f.ICMP_ERRORS:
        yield router.ip_match(*marks, version=4, ip_proto=f.PROTO_ICMP, icmpv4_type=kind, **more)
    for kind in f.ICMPV6_ERRORS:
        yield router.ip_match(*marks, version=6, ip_proto=f.PROTO_ICMPV6, icmpv6_type=kind, **more)


def _errors_from_anywhere(builder: ProgramBuilder, gateway: Gateway, sr: ServiceRouter) -> None:
    """Give every router a copy of an ICMP error whose sender need not be an end of the connection it is about.

    From outside it is any router on the way.  With both addresses hashed that goes for inside senders, too.
    """
    if not redirects(gateway):
        return
    ways = [(f.SOUTH, names.PUNT_NORTH, group.index, (f.INGRESS_GROUP.at(group.index),)) for group in gateway.groups]
    if gateway.redirection_policy is RedirectionPolicy.SRC_DST_IP_HASH:
        ways.append((f.NORTH, names.PUNT_SOUTH, 0, ()))
    for direction, switch, group_index, marks in ways:
        port = builder.port(names.sr_port(gateway.prefix, sr.slot, switch))
        if port is None:
            continue
        copies = [action for other in gateway.routers if other.slot != sr.slot
                  for action in _send(gateway, sr, other, group_index, port)]
        for conditions in _icmp_errors(direction, f.PUNTED.at(0), *marks):
            builder.flow(tables.OWNER, Band.NORMAL + 1, conditions, [*copies, a.Goto(tables.TRACK)], Category.OWNER,
                         note="only the router that knows the connection lets it through")


def _send(gateway: Gateway, sr: ServiceRouter, owner: ServiceRouter, group_index: int, port: int) -> list[a.Action]:
    """Send a packet to another router's shadow port."""
    return [a.Set("eth_src", addresses.frame(gateway.number, addresses.FrameKind.PUNT, sr.slot, group_index)),
            a.Set("eth_dst", addresses.frame(gateway.number, addresses.FrameKind.PUNT, owner.slot, group_index)),
            a.Output(port)]


def _punt(builder: ProgramBuilder, gateway: Gateway, sr: ServiceRouter) -> None:
    if not redirects(gateway):
        return
    by_link = gateway.redirection_policy is RedirectionPolicy.SRC_DST_IP_HASH
    south_port = builder.port(names.sr_port(gateway.prefix, sr.slot, names.PUNT_SOUTH))
    north_port = builder.port(names.sr_port(gateway.prefix, sr.slot, names.PUNT_NORTH))
    for link, owner in enumerate(gateway.routers):
        chosen = f.LINK.at(link) if by_link else f.SLOT.at(owner.slot)
        if owner.slot == sr.slot:
            builder.flow(tables.PUNT, Band.NORMAL, match(chosen), [a.Goto(tables.TRACK)], Category.OWNER,
                         note="held here")
            continue
        ways = [(south_port, 0, (f.NORTH,))]
        ways += [(north_port, group.index, (f.SOUTH, f.INGRESS_GROUP.at(group.index))) for group in gateway.groups]
        for port, group_index, marks in ways:
            if port is None:
                continue
            builder.flow(tables.PUNT, Band.NORMAL, match(chosen, *marks),
                         _send(gateway, sr, owner, group_index, port), Category.OWNER,
                         note=f"punt to slot {owner.slot}")


def _track(builder: ProgramBuilder, gateway: Gateway, sr: ServiceRouter) -> None:
    for version in (4, 6):
        for expired in (0, 1):
            builder.flow(tables.TRACK, Band.GUARD, router.ip_match(version=version, nw_ttl=expired),
                         [a.ToController(a.Reason.TTL_EXPIRED)], Category.BASE)
        builder.flow(tables.TRACK, Band.NORMAL, router.ip_match(version=version),
                     [a.Ct(sr.zone, tables.STATE)], Category.BASE, note=f"zone {sr.zone}")
    invalid = f.CtState(("trk", "inv"))
    if firewall.lets_through_without_state(gateway, keeps_state=redirects(gateway)):
        for conditions in _icmp_errors(f.PUNTED.at(1), ct_state=invalid):
            builder.flow(tables.STATE, Band.GUARD + 1, conditions, (), Category.BASE,
                         note="the copy of an ICMP error about nothing known here")
        builder.flow(tables.STATE, Band.GUARD, match(ct_state=invalid), [a.Goto(tables.ROUTE)], Category.BASE,
                     note="begins no connection, but a stateless rule may let it through")
    else:
        builder.flow(tables.STATE, Band.GUARD, match(ct_state=invalid), (), Category.BASE, note="invalid")
    builder.flow(tables.STATE, Band.NORMAL + 1, match(f.SOUTH, ct_state=f.CtState(("trk", "new"))),
                 [a.Goto(tables.DNAT)], Category.BASE, note="new from outside")
    builder.flow(tables.STATE, Band.NORMAL, match(ct_state=f.CtState(("trk",))), [a.Goto(tables.ROUTE)],
                 Category.BASE)


def _fail_closed(builder: ProgramBuilder) -> None:
    """Drop what should have been committed or translated and was not, whatever the reason (a full table, no port)."""
    for mark, flag in ((f.SOURCE_TRANSLATED, "snat"), (f.DESTINATION_TRANSLATED, "dnat")):
        builder.flow(tables.FORWARD, Band.GUARD, match(mark, ct_state=f.CtState(("trk",), (flag,))), (), Category.BASE,
                     note="no translation could be made")
    builder.flow(tables.FORWARD, Band.GUARD, match(f.ALLOW, ct_state=f.CtState(("trk", "inv"))), (), Category.BASE,
                 note="no connection could be entered")


def _routes(builder: ProgramBuilder, gateway: Gateway, sr: ServiceRouter, uplinks: list[router.Leg]) -> None:
    south = (a.SetMark(f.EGRESS.at(f.BACKPLANE_INTERFACE)), a.Set("eth_dst", addresses.dr_backplane(gateway.number)),
             a.SetMark(f.RESOLVED.at(1)), a.Goto(tables.FIREWALL))
    inside = [(own.network, f"segment {segment.id}") for segment in gateway.segments for own in segment.addresses]
    for network, what in (*inside, (gateway.transit, "backplane")):
        builder.flow(tables.ROUTE, longest_prefix(network.prefixlen), router.ip_match(destination=network), south,
                     Category.ROUTE, note=what)
    for network in nat.external_networks(gateway):
        builder.flow(tables.ROUTE, Band.RULES + network.prefixlen,
                     router.ip_match(f.ORIGINATED.at(0), destination=network), (), Category.NAT,
                     note="an external address that no translation claimed: fail closed")
    for uplink in uplinks:
        for network in uplink.networks:
            builder.flow(tables.ROUTE, longest_prefix(network.prefixlen), router.ip_match(destination=network),
                         [*_leave_by(uplink), a.Goto(tables.FIREWALL)], Category.ROUTE,
                         note=f"on the link of {uplink.port}")
    for index, route in enumerate(sr.routes):
        _static_route(builder, route, index, {uplink.index: uplink for uplink in uplinks})
    for version in (4, 6):
        builder.flow(tables.ROUTE, Band.MISS + 1, router.ip_match(f.ORIGINATED.at(1), version=version), (),
                     Category.ROUTE, note="no error about an error")
        builder.flow(tables.ROUTE, Band.MISS, router.ip_match(version=version),
                     [a.ToController(a.Reason.NO_ROUTE)], Category.ROUTE, note="no route")


def _leave_by(uplink: router.Leg) -> list[a.Action]:
    """Mark a packet to leave by an uplink."""
    return [a.SetMark(f.EGRESS.at(uplink.index)), a.SetMark(f.EGRESS_GROUP.at(uplink.group))]


def _static_route(builder: ProgramBuilder, route: Route, index: int, uplinks: Mapping[int, router.Leg]) -> None:
    def via(next_hop) -> list[a.Action]:
        uplink = uplinks[next_hop.interface]
        field = f.NEXT_HOP_4 if next_hop.address.version == 4 else f.NEXT_HOP_6
        return [*_leave_by(uplink), a.SetMark(field.at(int(next_hop.address)))]

    if len(route.next_hops) == 1:
        actions = [*via(route.next_hops[0]), a.Goto(tables.FIREWALL)]
    else:
        builder.group(tables.ROUTE, groups.route_group(index), GroupType.SELECT_DP_HASH,
                      (Bucket(number, (*via(next_hop), a.Resubmit(tables.FIREWALL)))
                       for number, next_hop in enumerate(route.next_hops, start=1)))
        actions = [a.ToGroup(groups.route_group(index))]
    if route.next_hops:
        builder.flow(tables.ROUTE, longest_prefix(route.network.prefixlen),
                     router.ip_match(destination=route.network, version=route.network.version), actions,
                     Category.ROUTE, index + 1, note=f"static route {route.id}")
