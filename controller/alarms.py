"""Alarms: what is wrong, why, and what to do about it; raised and cleared by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Alarm:
    """One alarm.  ``id`` is the kind, ``entity`` what it is about; ``since`` is in seconds since the epoch."""

    id: str
    gateway: str
    entity: str
    severity: str
    cause: str
    remedy: str
    since: float

    def as_dict(self) -> dict:
        """Return the alarm as JSON values."""
        return asdict(self)


class Alarms:
    """The open alarms.  ``clock`` returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time):
        self._clock = clock
        self._open: dict[tuple[str, str, str], Alarm] = {}

    def raise_alarm(self, id_: str, gateway: str, entity: str, severity: str, cause: str, remedy: str) -> bool:
        """Open an alarm or bring its cause up to date; True where it is new."""
        key = (id_, gateway, entity)
        old = self._open.get(key)
        self._open[key] = Alarm(id_, gateway, entity, severity, cause, remedy, old.since if old else self._clock())
        return old is None

    def clear(self, id_: str, gateway: str, entity: str) -> bool:
        """Close an alarm; True where it was open."""
        return self._open.pop((id_, gateway, entity), None) is not None

    def replace(self, ids: Iterable[str], alarms: Iterable[tuple[str, str, str, str, str, str]]) -> None:
        """Make ``alarms`` (arguments of raise_alarm) the only open ones of the kinds ``ids``."""
        kinds, wanted = set(ids), {alarm[:3]: alarm for alarm in alarms}
        for key in [key for key in self._open if key[0] in kinds and key not in wanted]:
            del self._open[key]
        for alarm in wanted.values():
            self.raise_alarm(*alarm)

    def open(self) -> list[Alarm]:
        """Return the open alarms, oldest first."""
        return sorted(self._open.values(), key=lambda alarm: (alarm.since, alarm.id, alarm.entity))
