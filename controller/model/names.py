"""Names of bridges and ports: the convention by which the controller recognises what a switch port is for.

A bridge is recognised by the name of its local port, a port by its own name.  Linux allows 15 characters.
For gateway prefix ``t0``::

    t0-dr   distributed router      ports t0-dr-bp, and one per segment (default t0-dr-SEGMENT)
    t0-srK  service router, slot K  ports t0-srK-bp, t0-srK-pn, t0-srK-ps, and one per uplink (default t0-INTERFACE)
    t0-bp   backplane switch        ports t0-bp-dr, t0-bp-srK
    t0-pn   north punt switch       ports t0-pn-srK
    t0-ps   south punt switch       ports t0-ps-srK
"""

from __future__ import annotations

MAX_PORT_NAME = 15

BACKPLANE = "bp"
PUNT_NORTH = "pn"
PUNT_SOUTH = "ps"


def dr_bridge(prefix: str) -> str:
    """Name of the distributed router's bridge."""
    return f"{prefix}-dr"


def sr_bridge(prefix: str, slot: int) -> str:
    """Name of the bridge of the service router of a slot."""
    return f"{prefix}-sr{slot}"


def switch_bridge(prefix: str, switch: str) -> str:
    """Name of the bridge of a logical switch (BACKPLANE, PUNT_NORTH or PUNT_SOUTH)."""
    return f"{prefix}-{switch}"


def sr_port(prefix: str, slot: int, switch: str) -> str:
    """Name of a service router's port on a logical switch (for the punt switches: its shadow port)."""
    return f"{prefix}-sr{slot}-{switch}"


def dr_port(prefix: str) -> str:
    """Name of the distributed router's backplane port."""
    return f"{prefix}-dr-{BACKPLANE}"


def switch_port_of_sr(prefix: str, switch: str, slot: int) -> str:
    """Name of the port of a logical switch to which the service router of a slot is attached."""
    return f"{prefix}-{switch}-sr{slot}"


def switch_port_of_dr(prefix: str) -> str:
    """Name of the backplane switch's port to which the distributed router is attached."""
    return f"{prefix}-{BACKPLANE}-dr"


def default_uplink_port(prefix: str, interface: str) -> str:
    """Name of an external interface's port where the gateway file gives none."""
    return f"{prefix}-{interface}"


def default_segment_port(prefix: str, segment: str) -> str:
    """Name of the distributed router's port of a segment where the gateway file gives none."""
    return f"{prefix}-dr-{segment}"
