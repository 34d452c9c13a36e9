"""Compile a gateway: the desired program of every bridge it is made of."""

from __future__ import annotations

from collections.abc import Mapping

from controller.compile import distributed_router, service_router, switches
from controller.compile.values import Program
from controller.model import names
from controller.model.gateway import Gateway
from controller.pipeline.tables import Kind

Inventory = Mapping[str, Mapping[str, int]]
"""Connected bridges: name to (port name to OpenFlow port number)."""


def bridges(gateway: Gateway) -> dict[str, Kind]:
    """Names of the bridges that make up a gateway, each with its kind."""
    return {
        names.dr_bridge(gateway.prefix): Kind.DISTRIBUTED_ROUTER,
        **{router.bridge: Kind.SERVICE_ROUTER for router in gateway.routers},
        names.switch_bridge(gateway.prefix, names.BACKPLANE): Kind.BACKPLANE_SWITCH,
        **{names.switch_bridge(gateway.prefix, switch): Kind.PUNT_SWITCH
           for switch in (names.PUNT_NORTH, names.PUNT_SOUTH)},
    }


def compile_bridge(gateway: Gateway, bridge: str, ports: Mapping[str, int]) -> Program:
    """Return the desired program of one bridge of a gateway.  KeyError if it has no such bridge."""
    if bridge == names.dr_bridge(gateway.prefix):
        return distributed_router.program(gateway, ports)
    if bridge == names.switch_bridge(gateway.prefix, names.BACKPLANE):
        return switches.backplane(gateway, ports)
    for switch in (names.PUNT_NORTH, names.PUNT_SOUTH):
        if bridge == names.switch_bridge(gateway.prefix, switch):
            return switches.punt_switch(gateway, switch, ports)
    for router in gateway.routers:
        if bridge == router.bridge:
            return service_router.program(gateway, router, ports)
    raise KeyError(bridge)


def compile_gateway(gateway: Gateway, inventory: Inventory) -> dict[str, Program]:
    """Return the desired programs of the connected bridges of a gateway."""
    return {bridge: compile_bridge(gateway, bridge, inventory[bridge])
            for bridge in bridges(gateway) if bridge in inventory}
