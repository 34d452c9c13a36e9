"""Cookies: signature(8) | category(8) | round(16) | object(32), so that a dump tells whose a flow is and since when.

The round counts the changes of a bridge: a flow carries the round of the bundle that installed it, and keeps it as
long as it does not change.  Categories tell what the controller may touch: flows that the switch learned by itself
are never desired and never deleted by the reconciler.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

SIGNATURE = 0x5A
SIGNATURE_MASK = 0xFF << 56
ROUND_MASK = 0xFFFF << 32


class Category(enum.IntEnum):
    """What a flow is for."""

    BASE = 1
    FRAME = 2
    LOCAL = 3
    OWNER = 4
    ROUTE = 5
    FIREWALL = 6
    NAT = 7
    TO_CONTROLLER = 8
    LEARNED = 0x80


@dataclass(frozen=True)
class Cookie:
    """Parts of a cookie.  ``object`` numbers the rule or route within its category (0: none).

    In TO_CONTROLLER it is the reason: a packet-in message carries the cookie of the flow that sent it.
    """

    category: Category
    object: int = 0
    round: int = 0

    def __int__(self) -> int:
        return SIGNATURE << 56 | self.category << 48 | self.round << 32 | self.object


def is_ours(cookie: int) -> bool:
    """True where a cookie carries the signature of this controller."""
    return cookie & SIGNATURE_MASK == SIGNATURE << 56


def is_learned(cookie: int) -> bool:
    """True where a flow was written by the switch itself with learn()."""
    return is_ours(cookie) and category_of(cookie) == Category.LEARNED


def round_of(cookie: int) -> int:
    """Round in which the flow of this cookie was installed."""
    return cookie >> 32 & 0xFFFF


def without_round(cookie: int) -> int:
    """The cookie with the round taken out, for comparing desired with installed."""
    return cookie & ~ROUND_MASK


def category_of(cookie: int) -> int:
    """Category in a cookie of ours, as a number."""
    return cookie >> 48 & 0xFF


def object_of(cookie: int) -> int:
    """Object number in a cookie of ours."""
    return cookie & 0xFFFFFFFF
