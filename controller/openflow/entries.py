"""One form for desired and installed flows and groups, so that they can be compared.

The bytes that the switch sends back are compared with the bytes that would be sent to it.  Open vSwitch reports
registers in pairs (OXM packet registers) and may reorder; the forms here iron that out and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.compile.values import Flow, Group, Program
from controller.openflow import encode
from controller.pipeline import cookies

_REGISTERS = 0x0001
"""Class of NXM_NX fields: reg0 to reg15 are its fields 0 to 15, xxreg0 to xxreg3 are 111 to 114."""
_PACKET_REGISTERS = 0x8001
"""Class of OXM packet registers: 64 bits each, two of Open vSwitch's registers."""
_FIRST_XXREG = 111

Condition = tuple[int, int, int, int]
"""Class, field, value, mask of one condition of a match."""


@dataclass(frozen=True)
class FlowKey:
    """What identifies a flow: no two flows of a bridge agree in it (OpenFlow 1.5, section 6.4)."""

    table: int
    priority: int
    match: frozenset[Condition]


@dataclass(frozen=True)
class FlowEntry:
    """A flow as it is on the wire.  ``raw_match`` are the OXM bytes, for deleting exactly this flow."""

    key: FlowKey
    cookie: int
    instructions: bytes
    timeouts: tuple[int, int]
    raw_match: bytes

    def same_as(self, other: FlowEntry) -> bool:
        """True where both do the same, whatever the rounds of their cookies."""
        return (cookies.without_round(self.cookie), self.instructions, self.timeouts) == (
            cookies.without_round(other.cookie), other.instructions, other.timeouts)


@dataclass(frozen=True)
class GroupEntry:
    """A group as it is on the wire: type, buckets by id, properties."""

    group_id: int
    type: int
    buckets: tuple[tuple[int, bytes, bytes], ...]
    properties: bytes


def _tlvs(raw: bytes) -> Iterator[tuple[int, int, bool, bytes]]:
    offset = 0
    while offset + 4 <= len(raw):
        class_, field, length = struct.unpack_from("!HBB", raw, offset)
        yield class_, field >> 1, bool(field & 1), raw[offset + 4:offset + 4 + length]
        offset += 4 + length


def _split_registers(class_: int, field: int, size: int, value: int, mask: int) -> Iterator[Condition]:
    """Yield 32-bit registers for packet registers and xxregs, the condition itself for anything else."""
    if class_ == _PACKET_REGISTERS:
        first = field * 2
    elif class_ == _REGISTERS and _FIRST_XXREG <= field < _FIRST_XXREG + 4:
        first = (field - _FIRST_XXREG) * 4
    else:
        yield class_, field, value, mask
        return
    words = size // 4
    for word in range(words):
        shift = 32 * (words - 1 - word)
        part = mask >> shift & 0xFFFFFFFF
        if part:
            yield _REGISTERS, first + word, value >> shift & 0xFFFFFFFF, part


def conditions(raw: bytes) -> frozenset[Condition]:
    """Return the conditions of a match given as OXM bytes."""
    found = []
    for class_, field, masked, payload in _tlvs(raw):
        size = len(payload) // 2 if masked else len(payload)
        value = int.from_bytes(payload[:size], "big")
        mask = int.from_bytes(payload[size:], "big") if masked else (1 << 8 * size) - 1
        found += _split_registers(class_, field, size, value & mask, mask)
    return frozenset(found)


def _serialized(parts: Iterable) -> bytes:
    buffer = bytearray()
    for part in parts:
        part.serialize(buffer, len(buffer))
    return bytes(buffer)


def desired_flow(flow: Flow) -> FlowEntry:
    """Return the entry that a desired flow is to become (round 0)."""
    raw = encode.match_bytes(flow.packet_terms())
    return FlowEntry(FlowKey(flow.table.number, flow.priority, conditions(raw)), int(flow.cookie),
                     _serialized(encode.encode_instructions(flow.actions)), (0, 0), raw)


def desired_group(group: Group) -> GroupEntry:
    """Return the entry that a desired group is to become."""
    message = encode.group_mod(None, group, encode.ofp.OFPGC_ADD)
    buckets = tuple((bucket.bucket_id, _serialized(bucket.actions), b"".join(bytes(p.serialize()) for p in
                                                                             bucket.properties))
                    for bucket in message.buckets)
    return GroupEntry(group.group_id, message.type, buckets,
                      b"".join(bytes(prop.serialize()) for prop in message.properties))


@dataclass(frozen=True)
class Desired:
    """A program with the entries that its flows and groups are to become."""

    flows: dict[FlowKey, tuple[Flow, FlowEntry]]
    groups: dict[int, tuple[Group, GroupEntry]]


def desired(program: Program) -> Desired:
    """Return the entries of a program.  ValueError if two of its flows are one on the wire."""
    flows: dict[FlowKey, tuple[Flow, FlowEntry]] = {}
    for flow in program.flows:
        entry = desired_flow(flow)
        if entry.key in flows:
            raise ValueError(f"{program.bridge}: one match twice: {flow} and {flows[entry.key][0]}")
        flows[entry.key] = flow, entry
    return Desired(flows, {group.group_id: (group, desired_group(group)) for group in program.groups})


def installed_flow(stats) -> FlowEntry:
    """Return the entry of one flow of a flow description reply (with the raw bytes that ``compat`` keeps)."""
    return FlowEntry(FlowKey(stats.table_id, stats.priority, conditions(stats.raw_match)), stats.cookie,
                     stats.raw_instructions, (stats.idle_timeout, stats.hard_timeout), stats.raw_match)


def installed_group(stats) -> GroupEntry:
    """Return the entry of one group of a group description reply (with the raw bytes that ``compat`` keeps)."""
    return GroupEntry(stats.group_id, stats.type, tuple(stats.raw_buckets), stats.raw_properties)
