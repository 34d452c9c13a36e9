"""Group ids, by name.  An id is stable for the life of the bridge: changing a group never moves it."""

from __future__ import annotations

OWNER_NORTH = 0x1
OWNER_SOUTH = 0x2
DR_ECMP = 0x3
FIRST_ROUTE = 0x100

NAMES = {OWNER_NORTH: "OWNER_NORTH", OWNER_SOUTH: "OWNER_SOUTH", DR_ECMP: "DR_ECMP"}


def route_group(index: int) -> int:
    """Group id of the equal-cost next hops of the route with an index (from 0)."""
    return FIRST_ROUTE + index


def name_of(group_id: int) -> str:
    """Name of a group id for people."""
    return NAMES.get(group_id, f"ROUTE_{group_id - FIRST_ROUTE}")
