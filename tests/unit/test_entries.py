"""The one form of desired and installed flows and groups."""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace

import pytest

from controller import compat
from controller.compile import actions as a
from controller.compile.builder import match
from controller.compile.values import Bucket, Flow, Group, GroupType, Program
from controller.openflow.entries import (
    conditions,
    desired,
    desired_flow,
    desired_group,
    installed_flow,
    installed_group,
)
from controller.pipeline import fields as f
from controller.pipeline import groups, tables
from controller.pipeline.cookies import Category, Cookie
from tests.unit.gateways import VARIANTS, gateway, programs

NICIRA, OPENFLOW, PACKET_REGISTERS = 0x0001, 0x8000, 0x8001
XXREG2 = 113


@pytest.fixture(autouse=True, scope="module")
def fields() -> None:
    compat.register_fields()


def oxm(class_: int, field: int, value: bytes, mask: bytes = b"") -> bytes:
    return struct.pack("!HBB", class_, field << 1 | bool(mask), len(value + mask)) + value + mask


def test_a_packet_register_is_two_registers() -> None:
    """Open vSwitch reports reg0 and reg1 as packet register 0: reg0 are its upper bits."""
    raw = oxm(PACKET_REGISTERS, 0, bytes.fromhex("0000000100020000"), bytes.fromhex("0000000700ff0000"))
    assert conditions(raw) == {(NICIRA, 0, 0x1, 0x7), (NICIRA, 1, 0x20000, 0xFF0000)}
    assert conditions(oxm(PACKET_REGISTERS, 1, bytes(8))) == {(NICIRA, 2, 0, 0xFFFFFFFF), (NICIRA, 3, 0, 0xFFFFFFFF)}


def test_a_half_that_is_not_looked_at_is_no_condition() -> None:
    raw = oxm(PACKET_REGISTERS, 2, bytes.fromhex("0000000000000009"), bytes.fromhex("00000000ffffffff"))
    assert conditions(raw) == {(NICIRA, 5, 9, 0xFFFFFFFF)}


def test_a_double_packet_register_is_four_registers() -> None:
    raw = oxm(NICIRA, XXREG2, bytes(range(16)))
    assert conditions(raw) == {(NICIRA, 8 + n, int.from_bytes(bytes(range(4 * n, 4 * n + 4)), "big"), 0xFFFFFFFF)
                               for n in range(4)}
    masked = oxm(NICIRA, XXREG2, bytes(15) + b"\x05", bytes(12) + bytes.fromhex("0000000f"))
    assert conditions(masked) == {(NICIRA, 11, 5, 0xF)}


def test_a_register_by_itself_and_in_a_pair_are_one_condition() -> None:
    alone = oxm(NICIRA, 3, bytes.fromhex("ac100301"))
    pair = oxm(PACKET_REGISTERS, 1, bytes.fromhex("00000000ac100301"), bytes.fromhex("00000000ffffffff"))
    assert conditions(alone) == conditions(pair)


def test_other_fields_are_left_as_they_are() -> None:
    eth_type, nw_dst = oxm(OPENFLOW, 5, b"\x08\x00"), oxm(OPENFLOW, 12, b"\x0a\x00\x00\x00", b"\xff\x00\x00\x00")
    assert conditions(eth_type + nw_dst) == conditions(nw_dst + eth_type) == {
        (OPENFLOW, 5, 0x0800, 0xFFFF), (OPENFLOW, 12, 0x0A000000, 0xFF000000)}
    assert conditions(b"") == frozenset()


def test_bits_outside_the_mask_do_not_count() -> None:
    assert conditions(oxm(OPENFLOW, 12, b"\x0a\x01\x02\x03", b"\xff\x00\x00\x00")) == {
        (OPENFLOW, 12, 0x0A000000, 0xFF000000)}


FLOW = Flow(tables.OWNER, 100, match(f.NORTH, f.PUNTED.at(0), eth_type=0x0800),
            (a.SetMark(f.SLOT.at(1)), a.Goto(tables.PUNT)), Cookie(Category.OWNER, 5))


def test_what_makes_two_flows_the_same() -> None:
    one = desired_flow(FLOW)
    assert one.same_as(desired_flow(replace(FLOW, note="other words")))
    assert one.same_as(replace(one, cookie=int(Cookie(Category.OWNER, 5, round=77)))), "the round does not count"
    for other in (replace(FLOW, actions=(a.Goto(tables.PUNT),)), replace(FLOW, cookie=Cookie(Category.OWNER, 6)),
                  replace(FLOW, cookie=Cookie(Category.BASE, 5))):
        assert one.key == desired_flow(other).key
        assert not one.same_as(desired_flow(other))
    assert not one.same_as(replace(one, timeouts=(60, 0)))
    for other in (replace(FLOW, priority=101), replace(FLOW, table=tables.PUNT), replace(FLOW, match=())):
        assert one.key != desired_flow(other).key


def test_an_installed_flow() -> None:
    wanted = desired_flow(FLOW)
    stats = SimpleNamespace(table_id=20, priority=100, cookie=int(Cookie(Category.OWNER, 5, 9)), idle_timeout=0,
                            hard_timeout=0, raw_instructions=wanted.instructions, raw_match=wanted.raw_match)
    found = installed_flow(stats)
    assert found.key == wanted.key and found.same_as(wanted) and wanted.same_as(found)


def test_two_flows_that_are_one_on_the_wire() -> None:
    twin = replace(FLOW, match=match(f.NORTH, f.PUNTED.at(0), eth_type=0x0800)[::-1])
    assert twin.match != FLOW.match
    with pytest.raises(ValueError, match="t0-sr1: one match twice"):
        desired(Program("t0-sr1", (FLOW, twin), ()))


@pytest.mark.parametrize("name", VARIANTS)
def test_flows_of_compiled_programs_are_all_different_on_the_wire(name: str) -> None:
    for program in programs(gateway(VARIANTS[name]())).values():
        wanted = desired(program)
        assert len(wanted.flows) == len(program.flows)
        assert wanted.groups.keys() == {group.group_id for group in program.groups}


def test_groups() -> None:
    def group(*slots: int, fields: tuple[str, ...] = ("ipv4_dst", "ipv6_dst")) -> Group:
        return Group(groups.OWNER_NORTH, GroupType.SELECT_HASH, tuple(
            Bucket(slot, (a.SetMark(f.SLOT.at(slot)), a.Resubmit(tables.PUNT))) for slot in slots), fields)

    wanted = desired_group(group(1, 2))
    assert wanted == desired_group(group(1, 2))
    assert [id_ for id_, _, _ in wanted.buckets] == [1, 2]
    for other in (group(1, 3), group(1, 2, 3), group(1, 2, fields=("ipv4_src", "ipv6_src")),
                  replace(group(1, 2), type=GroupType.SELECT_DP_HASH)):
        assert desired_group(other) != wanted
    stats = SimpleNamespace(group_id=1, type=wanted.type, raw_buckets=list(wanted.buckets),
                            raw_properties=wanted.properties)
    assert installed_group(stats) == wanted
