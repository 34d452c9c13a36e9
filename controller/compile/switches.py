"""Programs of the logical switches: backplane and the two punt switches.

The switches know every address beforehand, so nothing is learned or flooded, and a frame whose source address does
not belong to the port it came by is dropped: a router can neither speak for another nor be spoken to by a stranger.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.compile import actions as a
from controller.compile.builder import ProgramBuilder, match
from controller.compile.values import Program
from controller.model import names
from controller.model.gateway import Gateway
from controller.pipeline import addresses, tables
from controller.pipeline.cookies import Category
from controller.pipeline.priorities import Band

ANY_GROUP = addresses.WITHOUT_INDEX
"""Mask of a frame address that leaves the interface group open."""


def backplane(gateway: Gateway, ports: Mapping[str, int]) -> Program:
    """Return the program of the backplane switch: frames between the distributed router and service routers."""
    bridge = names.switch_bridge(gateway.prefix, names.BACKPLANE)
    builder = ProgramBuilder(bridge, tables.Kind.BACKPLANE_SWITCH, ports)
    dr_port, dr_mac = builder.port(names.switch_port_of_dr(gateway.prefix)), addresses.dr_backplane(gateway.number)
    for router in gateway.routers:
        port = builder.port(names.switch_port_of_sr(gateway.prefix, names.BACKPLANE, router.slot))
        if port is None or dr_port is None:
            continue
        mac = addresses.backplane(gateway.number, router.slot)
        builder.flow(tables.FRAMES, Band.NORMAL, match(in_port=dr_port, eth_src=dr_mac, eth_dst=mac),
                     [a.Output(port)], Category.FRAME, note=f"to slot {router.slot}")
        builder.flow(tables.FRAMES, Band.NORMAL, match(in_port=port, eth_src=mac, eth_dst=dr_mac),
                     [a.Output(dr_port)], Category.FRAME, note=f"from slot {router.slot}")
    return builder.program()


def punt_switch(gateway: Gateway, switch: str, ports: Mapping[str, int]) -> Program:
    """Return the program of a punt switch (names.PUNT_NORTH or names.PUNT_SOUTH)."""
    builder = ProgramBuilder(names.switch_bridge(gateway.prefix, switch), tables.Kind.PUNT_SWITCH, ports)
    shadow = {router.slot: builder.port(names.switch_port_of_sr(gateway.prefix, switch, router.slot))
              for router in gateway.routers}
    for sender, in_port in shadow.items():
        for owner, out_port in shadow.items():
            if sender == owner or in_port is None or out_port is None:
                continue
            source = addresses.frame(gateway.number, addresses.FrameKind.PUNT, sender)
            target = addresses.frame(gateway.number, addresses.FrameKind.PUNT, owner)
            builder.flow(tables.FRAMES, Band.NORMAL,
                         match(in_port=in_port, eth_src=(source, ANY_GROUP), eth_dst=(target, ANY_GROUP)),
                         [a.Output(out_port)], Category.FRAME, note=f"slot {sender} punts to slot {owner}")
    return builder.program()
