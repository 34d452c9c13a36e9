"""Program of the distributed router: the segments' gateway, and equal-cost paths to the service routers."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network

from controller.compile import actions as a
from controller.compile import router
from controller.compile.builder import ProgramBuilder, match
from controller.compile.values import Bucket, GroupType, Program
from controller.model import names
from controller.model.gateway import DrEcmp, Gateway
from controller.pipeline import addresses, groups, tables
from controller.pipeline import fields as f
from controller.pipeline.cookies import Category
from controller.pipeline.priorities import Band, longest_prefix


def legs(gateway: Gateway) -> tuple[router.Leg, ...]:
    """Attachments of the distributed router: the backplane, then every segment."""
    backplane = router.Leg(f.BACKPLANE_INTERFACE, names.dr_port(gateway.prefix),
                           addresses.dr_backplane(gateway.number), (gateway.dr_backplane_address,))
    return backplane, *(router.Leg(segment.index, segment.port, addresses.segment(gateway.number, segment.index),
                                   segment.addresses) for segment in gateway.segments)


def program(gateway: Gateway, ports: Mapping[str, int]) -> Program:
    """Return the program of the distributed router's bridge; ``ports`` maps port names to numbers."""
    builder = ProgramBuilder(names.dr_bridge(gateway.prefix), tables.Kind.DISTRIBUTED_ROUTER, ports)
    attached = legs(gateway)
    router.refuse_tagged(builder)
    for leg in attached:
        router.classify(builder, leg)
    router.local(builder, attached, onward=tables.ROUTE)
    _routes(builder, gateway, attached)
    builder.flow(tables.FORWARD, Band.GUARD, match(f.ORIGINATED.at(1)),
                 [a.Resubmit(tables.NEIGHBOUR), a.Goto(tables.OUT)], Category.BASE, note="made by this router")
    for version in (4, 6):
        for expired in (0, 1):
            builder.flow(tables.FORWARD, Band.NORMAL + 1, router.ip_match(version=version, nw_ttl=expired),
                         [a.ToController(a.Reason.TTL_EXPIRED)], Category.BASE)
    router.forward(builder)
    router.out(builder, attached)
    return builder.program()


def _routes(builder: ProgramBuilder, gateway: Gateway, attached: tuple[router.Leg, ...]) -> None:
    for leg in attached[1:]:
        for network in leg.networks:
            builder.flow(tables.ROUTE, longest_prefix(network.prefixlen), router.ip_match(destination=network),
                         [a.SetMark(f.EGRESS.at(leg.index)), a.Goto(tables.FORWARD)], Category.ROUTE,
                         note=f"segment on {leg.port}")
    for sr in gateway.routers:
        builder.flow(tables.ROUTE, longest_prefix(32), router.ip_match(destination=sr.backplane_address.ip),
                     [*_towards(gateway, sr.slot), a.Goto(tables.FORWARD)], Category.ROUTE,
                     note=f"backplane address of slot {sr.slot}")
    if gateway.dr_ecmp is DrEcmp.ALIGNED:
        kind, hash_fields = GroupType.SELECT_HASH, ("ipv4_dst", "ipv6_dst")
    else:
        kind, hash_fields = GroupType.SELECT_DP_HASH, ()
    builder.group(tables.ROUTE, groups.DR_ECMP, kind,
                  (Bucket(sr.slot, (*_towards(gateway, sr.slot), a.Resubmit(tables.FORWARD)))
                   for sr in gateway.routers), hash_fields)
    for default in (IPv4Network("0.0.0.0/0"), IPv6Network("::/0")):
        builder.flow(tables.ROUTE, longest_prefix(0), router.ip_match(version=default.version),
                     [a.ToGroup(groups.DR_ECMP)], Category.ROUTE, note="north, to any service router")


def _towards(gateway: Gateway, slot: int) -> tuple[a.Action, ...]:
    return (a.SetMark(f.EGRESS.at(f.BACKPLANE_INTERFACE)), a.Set("eth_dst", addresses.backplane(gateway.number, slot)),
            a.SetMark(f.RESOLVED.at(1)))
