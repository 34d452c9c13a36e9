"""Neighbours that are asked for: packets that wait for an answer, questions repeated, and giving up.

A state machine without I/O: calls return what is to be sent.  Times are seconds of a monotonic clock, given by the
caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from controller.model.gateway import Address

RETRY_INTERVAL = 1.0
"""Seconds between questions (RFC 4861, section 10: RETRANS_TIMER; RFC 1122, section 2.3.2.1: at most one a second)."""
TRIES = 3
WAITING_PER_NEIGHBOUR = 64
NEIGHBOURS = 1024
"""Bounds of what a flood of packets to silent addresses can make the controller remember."""

Waiting = TypeVar("Waiting")


@dataclass(frozen=True)
class Target:
    """Whom to ask for: a router's bridge, the index of its leg, the address."""

    bridge: str
    leg: int
    address: Address


@dataclass
class _Entry(Generic[Waiting]):
    tries: int
    due: float
    waiting: list[Waiting] = field(default_factory=list)


class Resolution(Generic[Waiting]):
    """Neighbours being asked for, each with the packets that wait for it."""

    def __init__(self) -> None:
        self._entries: dict[Target, _Entry[Waiting]] = {}

    def wanted(self, target: Target, packet: Waiting, now: float) -> bool:
        """A packet needs a neighbour: keep it; return True where the neighbour is to be asked for at once."""
        entry = self._entries.get(target)
        if entry is not None:
            if len(entry.waiting) < WAITING_PER_NEIGHBOUR:
                entry.waiting.append(packet)
            return False
        if len(self._entries) >= NEIGHBOURS:
            return False
        self._entries[target] = _Entry(1, now + RETRY_INTERVAL, [packet])
        return True

    def seen(self, target: Target) -> list[Waiting]:
        """A neighbour answered: return the packets that waited for it."""
        entry = self._entries.pop(target, None)
        return entry.waiting if entry else []

    def due(self, now: float) -> tuple[list[Target], list[tuple[Target, list[Waiting]]]]:
        """Return the neighbours to be asked for again, and those given up with the packets that waited for them."""
        again, given_up = [], []
        for target, entry in list(self._entries.items()):
            if entry.due > now:
                continue
            if entry.tries >= TRIES:
                del self._entries[target]
                given_up.append((target, entry.waiting))
            else:
                entry.tries += 1
                entry.due = now + RETRY_INTERVAL
                again.append(target)
        return again, given_up

    def forget(self, bridge: str) -> None:
        """Drop everything of a bridge that is gone."""
        for target in [target for target in self._entries if target.bridge == bridge]:
            del self._entries[target]
