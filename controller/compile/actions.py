"""Actions of desired flows, as plain values; ``openflow/encode.py`` makes messages of them, ``text.py`` text."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address

from controller.pipeline.fields import Mark, RegField
from controller.pipeline.tables import Table


class Reason(enum.IntEnum):
    """Why a packet is handed to the controller; carried as the object of the flow's cookie."""

    TTL_EXPIRED = 1
    NO_ROUTE = 2
    REJECTED = 3
    RESOLVE = 4
    NEIGHBOUR_SEEN = 5
    PORT_CLOSED = 6


@dataclass(frozen=True)
class Set:
    """Set a packet field.  With a mask only those bits."""

    field: str
    value: int
    mask: int | None = None


@dataclass(frozen=True)
class SetMark:
    """Set a register field to a mark."""

    mark: Mark


@dataclass(frozen=True)
class Copy:
    """Copy a whole packet field to another one of the same width."""

    source: str
    target: str


@dataclass(frozen=True)
class Output:
    """Send the packet out of a port (OpenFlow port number)."""

    port: int


@dataclass(frozen=True)
class OutputInPort:
    """Send the packet back where it came from."""


@dataclass(frozen=True)
class ToGroup:
    """Hand the packet to a group."""

    group_id: int


@dataclass(frozen=True)
class Resubmit:
    """Look the packet up in a table and come back."""

    table: Table


@dataclass(frozen=True)
class Goto:
    """Go on in a table.  Always the last action of a flow."""

    table: Table


@dataclass(frozen=True)
class DecTtl:
    """Lower TTL or hop limit by one."""


@dataclass(frozen=True)
class ToController:
    """Hand the packet to the controller with a reason."""

    reason: Reason


class NatKind(enum.Enum):
    """Which address a translation changes, from the view of the packet that opens the connection."""

    SOURCE = "src"
    DESTINATION = "dst"


@dataclass(frozen=True)
class Nat:
    """Translation of a new connection: an inclusive range of addresses, and a port (None keeps it where it can)."""

    kind: NatKind
    first: IPv4Address
    last: IPv4Address
    port: int | None = None


@dataclass(frozen=True)
class Ct:
    """Pass the connection tracker in a zone and come back in a table.

    Without ``commit`` the translation of a known connection is applied; with it the connection is entered, with
    ``nat`` where given.
    """

    zone: int
    table: Table
    commit: bool = False
    nat: Nat | None = None


@dataclass(frozen=True)
class LearnMatch:
    """One condition of a learned flow: a field or register field equals a value, or a field of this packet."""

    target: str | RegField
    value: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class LearnSet:
    """One action of a learned flow: a field or register field is set to a value, or to a field of this packet."""

    target: str | RegField
    value: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class Learn:
    """Write a flow into a table of this bridge.  ``idle_timeout`` in seconds."""

    table: Table
    priority: int
    idle_timeout: int
    matches: tuple[LearnMatch, ...]
    sets: tuple[LearnSet, ...]


@dataclass(frozen=True)
class Multipath:
    """Rendezvous hash over both addresses, the same for both directions; ``links`` values from 0 go to a field."""

    links: int
    target: RegField


Action = (Set | SetMark | Copy | Output | OutputInPort | ToGroup | Resubmit | Goto | DecTtl | ToController | Ct
          | Learn | Multipath)
