"""Desired state of a bridge as a plain value: flows, groups, and the program that holds them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from controller.compile.actions import Action
from controller.pipeline.cookies import Cookie
from controller.pipeline.fields import FIELDS, REG_FIELDS, RegField
from controller.pipeline.tables import Table

_REG_FIELDS = {reg.name: reg for reg in REG_FIELDS}


@dataclass(frozen=True, order=True)
class Term:
    """One condition of a match: a packet field or register field, its value, and a mask (None: every bit)."""

    name: str
    value: int
    mask: int | None = None

    @property
    def reg_field(self) -> RegField | None:
        """The register field this term is about, or None for a packet field."""
        return _REG_FIELDS.get(self.name)


Match = tuple[Term, ...]


@dataclass(frozen=True)
class Flow:
    """One desired flow.  ``note`` says in words what it is for; it is not sent to the switch."""

    table: Table
    priority: int
    match: Match
    actions: tuple[Action, ...]
    cookie: Cookie
    note: str = field(default="", compare=False)

    def packet_terms(self) -> tuple[Term, ...]:
        """Match on real fields: the register fields of one register merged into one masked term."""
        merged: dict[str, tuple[int, int]] = {}
        for term in self.match:
            reg = term.reg_field
            if reg is None:
                name, value, mask = term.name, term.value, term.mask
            else:
                name, value, mask = reg.register, term.value << reg.first, reg.mask
            full = (1 << FIELDS[name].bits) - 1
            old_value, old_mask = merged.get(name, (0, 0))
            merged[name] = old_value | value, old_mask | (full if mask is None else mask)
        return tuple(Term(name, value, None if mask == (1 << FIELDS[name].bits) - 1 else mask)
                     for name, (value, mask) in merged.items())


class GroupType(enum.Enum):
    """How a group picks its bucket."""

    SELECT_HASH = "select by a hash of chosen fields"
    SELECT_DP_HASH = "select by the datapath's own five-tuple hash"


@dataclass(frozen=True)
class Bucket:
    """One bucket.  In owner tables ``bucket_id`` is the slot."""

    bucket_id: int
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Group:
    """One desired group.  ``hash_fields`` are the fields of SELECT_HASH."""

    group_id: int
    type: GroupType
    buckets: tuple[Bucket, ...]
    hash_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """Everything a bridge is to hold.  ``missing`` are ports that the program needs and the bridge has not got."""

    bridge: str
    flows: tuple[Flow, ...]
    groups: tuple[Group, ...]
    missing: tuple[str, ...] = ()
