"""Priority bands.  A flow's priority is a band plus an offset within it; Open vSwitch takes 0 to 65535."""

from __future__ import annotations

import enum


class Band(enum.IntEnum):
    """Lowest priority of each band."""

    MISS = 0
    NORMAL = 0x1000
    LONGEST_PREFIX = 0x2000
    RULES = 0x3000
    GUARD = 0xF000


RULES_IN_BAND = Band.GUARD - Band.RULES


def longest_prefix(length: int) -> int:
    """Priority of a route: longer prefixes win.  ``length`` in bits."""
    return Band.LONGEST_PREFIX + length


def rule(rank: int) -> int:
    """Priority of the rule of a rank (0 is evaluated first).  ValueError beyond the size of the band."""
    if not 0 <= rank < RULES_IN_BAND:
        raise ValueError(f"rule {rank}: one table takes at most {RULES_IN_BAND} rules")
    return Band.GUARD - 1 - rank
