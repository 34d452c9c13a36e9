"""Ethernet addresses: of interfaces, and of the frames between service routers.

Frames between service routers are ``02:5a:GG:KK:SS:II`` = gateway, kind, slot, interface group; the source address
names the sender.  Interfaces are ``02:5b:GG:KK:SS:II`` = gateway, kind of interface, slot, index.  Addresses are
plain integers here, as everywhere in the core.
"""

from __future__ import annotations

import enum

FRAME_PREFIX = 0x025A
INTERFACE_PREFIX = 0x025B
BROADCAST = 0xFFFFFFFFFFFF
PREFIX_MASK = 0xFFFF << 32
WITHOUT_INDEX = BROADCAST & ~0xFF
WITHOUT_SLOT = BROADCAST & ~0xFF00
MULTICAST_BIT = 0x010000000000
IPV6_MULTICAST = 0x333300000000
IPV6_MULTICAST_MASK = 0xFFFF << 32


class FrameKind(enum.IntEnum):
    """What a frame between service routers is."""

    PUNT = 0x01


class InterfaceKind(enum.IntEnum):
    """What an interface address belongs to."""

    BACKPLANE = 0x01
    UPLINK = 0x02
    DR_BACKPLANE = 0x03
    SEGMENT = 0x04


def _compose(prefix: int, gateway: int, kind: int, slot: int, index: int) -> int:
    for name, value in (("gateway", gateway), ("kind", kind), ("slot", slot), ("index", index)):
        if not 0 <= value <= 0xFF:
            raise ValueError(f"{name} {value} does not fit in an Ethernet address")
    return prefix << 32 | gateway << 24 | kind << 16 | slot << 8 | index


def frame(gateway: int, kind: FrameKind, slot: int, group: int = 0) -> int:
    """Address of a slot's shadow port (destination), or of the sender (source), in a frame of a kind."""
    return _compose(FRAME_PREFIX, gateway, kind, slot, group)


def backplane(gateway: int, slot: int) -> int:
    """Address of a service router's backplane port; it belongs to the slot, not to the edge."""
    return _compose(INTERFACE_PREFIX, gateway, InterfaceKind.BACKPLANE, slot, 0)


def uplink(gateway: int, slot: int, interface: int) -> int:
    """Address of an external interface of the service router of a slot."""
    return _compose(INTERFACE_PREFIX, gateway, InterfaceKind.UPLINK, slot, interface)


def dr_backplane(gateway: int) -> int:
    """Address of the distributed router's backplane port."""
    return _compose(INTERFACE_PREFIX, gateway, InterfaceKind.DR_BACKPLANE, 0, 0)


def segment(gateway: int, index: int) -> int:
    """Address of the distributed router on a segment."""
    return _compose(INTERFACE_PREFIX, gateway, InterfaceKind.SEGMENT, 0, index)


def text(address: int) -> str:
    """Colon notation of an address."""
    return ":".join(f"{address >> shift & 0xFF:02x}" for shift in range(40, -8, -8))
