"""The declarations of the pipeline: consistent in themselves, and exactly what the compiler uses."""

from __future__ import annotations

import itertools

import pytest

from controller.compile import actions as a
from controller.compile.values import Program
from controller.pipeline import addresses, cookies, groups, priorities, tables
from controller.pipeline import fields as f
from tests.unit.gateways import VARIANTS, gateway, programs

REGISTER_BITS = {f"reg{n}": (32 * n, 32) for n in range(16)} | {f"xxreg{n}": (128 * n, 128) for n in range(4)}
"""First bit and width of each register in the 512 bits that Open vSwitch has.

Of an xxreg the lowest bits are in the register with the highest number; whole ones are all that is used.
"""


def bits_of(field: f.RegField) -> set[int]:
    start, width = REGISTER_BITS[field.register]
    assert field.first + field.bits <= width, f"{field.name} does not fit in {field.register}"
    return set(range(start + field.first, start + field.first + field.bits))


def test_register_fields_share_no_bit() -> None:
    for one, other in itertools.combinations(f.REG_FIELDS, 2):
        assert one.name != other.name
        assert not bits_of(one) & bits_of(other), f"{one.name} and {other.name}"


def test_every_register_field_is_declared_and_none_is_named_like_a_packet_field() -> None:
    found = {value.name: value for value in vars(f).values() if isinstance(value, f.RegField)}
    assert found == {field.name: field for field in f.REG_FIELDS}
    assert not found.keys() & f.FIELDS.keys()
    assert all(field.purpose for field in f.REG_FIELDS)


def test_a_mark_fits_in_its_field() -> None:
    assert f.DIRECTION.mask == 0b11 and f.INGRESS.mask == 0xFF000000 and f.NEXT_HOP_4.mask == 0xFFFFFFFF
    assert f.NEXT_HOP_4.whole and f.NEXT_HOP_6.whole and not f.SLOT.whole
    assert f.SLOT.at(0xFFFF).value == 0xFFFF
    for value in (-1, 0x10000):
        with pytest.raises(ValueError, match="SLOT"):
            f.SLOT.at(value)
    assert f.BACKPLANE_INTERFACE == f.INGRESS.at(f.BACKPLANE_INTERFACE).value == f.EGRESS.at(255).value


def test_marks_have_different_names_and_values() -> None:
    assert len(set(f.MARKS.values())) == len(f.MARKS)
    assert {value for value in vars(f).values() if isinstance(value, f.Mark)} == set(f.MARKS.values())


def test_packet_fields_need_fields_that_are_there() -> None:
    for field in f.FIELDS.values():
        for name, value in field.needs:
            assert name in f.FIELDS and 0 <= value < 1 << f.FIELDS[name].bits


def test_tables_of_a_kind_have_names_and_numbers_of_their_own() -> None:
    assert len({table.name for table in tables.TABLES}) == len(tables.TABLES)
    assert {value for value in vars(tables).values() if isinstance(value, tables.Table)} == set(tables.TABLES)
    for kind in tables.Kind:
        numbers = [table.number for table in tables.tables_of(kind)]
        assert numbers == sorted(set(numbers)) and numbers[0] == 0, "table 0 is where packets come in"
        assert all(0 <= number < 254 for number in numbers)


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.name)
def test_a_table_names_only_what_there_is(table: tables.Table) -> None:
    known = set(f.FIELDS) | {field.name for field in f.REG_FIELDS}
    for names in (table.matches, table.sets, table.next):
        assert len(set(names)) == len(names)
    assert set(table.matches) <= known and set(table.sets) <= known
    for name in table.next:
        following = tables.table_named(name)
        assert following.number > table.number, "packets go forward only"
        assert set(following.kinds) & set(table.kinds), f"no bridge has both {table.name} and {name}"
    assert table.purpose and table.miss


def test_an_unknown_table() -> None:
    with pytest.raises(KeyError):
        tables.table_named("NOWHERE")


def reached(kind: tables.Kind) -> set[str]:
    found, todo = set(), [tables.tables_of(kind)[0]]
    while todo:
        table = todo.pop()
        if table.name not in found and kind in table.kinds:
            found.add(table.name)
            todo += [tables.table_named(name) for name in table.next]
    return found


@pytest.mark.parametrize("kind", tables.Kind)
def test_every_table_is_reached(kind: tables.Kind) -> None:
    assert reached(kind) == {table.name for table in tables.tables_of(kind)}


def used(program: Program) -> dict[str, tuple[set[str], set[str], set[str]]]:
    """What the flows of a program match, set, and go to next, by table; learned flows count in their table."""
    found: dict[str, tuple[set[str], set[str], set[str]]] = {}
    buckets = {group.group_id: group.buckets for group in program.groups}

    def name(target: str | f.RegField) -> str:
        return target if isinstance(target, str) else target.name

    def note(table: tables.Table, actions: tuple[a.Action, ...]) -> None:
        _, sets, following = found.setdefault(table.name, (set(), set(), set()))
        for action in actions:
            match action:
                case a.Set(field=field) | a.Copy(target=field):
                    sets.add(field)
                case a.SetMark(mark=mark):
                    sets.add(mark.field.name)
                case a.Multipath(target=target):
                    sets.add(target.name)
                case a.Goto(table=target) | a.Resubmit(table=target) | a.Ct(table=target):
                    following.add(target.name)
                case a.ToGroup(group_id=group_id):
                    for bucket in buckets[group_id]:
                        note(table, bucket.actions)
                case a.Learn(table=target, matches=matches, sets=learned):
                    into = found.setdefault(target.name, (set(), set(), set()))
                    into[0].update(name(part.target) for part in matches)
                    into[1].update(name(part.target) for part in learned)

    for flow in program.flows:
        found.setdefault(flow.table.name, (set(), set(), set()))[0].update(term.name for term in flow.match)
        note(flow.table, flow.actions)
    return found


def test_declared_is_what_is_used() -> None:
    """The builder refuses what is not declared; this is the other half: nothing is declared that no flow uses."""
    total: dict[str, tuple[set[str], set[str], set[str]]] = {}
    for document in VARIANTS.values():
        for program in programs(gateway(document())).values():
            for table, parts in used(program).items():
                for whole, part in zip(total.setdefault(table, (set(), set(), set())), parts, strict=True):
                    whole |= part
    stale = [f"{table.name} {what}: {name}" for table in tables.TABLES
             for what, declared, found in zip(("matches", "sets", "next"), (table.matches, table.sets, table.next),
                                              total[table.name], strict=True)
             for name in declared if name not in found]
    assert "\n".join(stale) == ""


def test_cookies() -> None:
    cookie = int(cookies.Cookie(cookies.Category.FIREWALL, 0x12345678, 0xABCD))
    assert cookie == 0x5A06ABCD12345678
    assert cookies.is_ours(cookie) and not cookies.is_learned(cookie)
    assert (cookies.category_of(cookie), cookies.round_of(cookie), cookies.object_of(cookie)) == (6, 0xABCD, 0x12345678)
    assert cookies.without_round(cookie) == 0x5A06000012345678
    learned = int(cookies.Cookie(cookies.Category.LEARNED))
    assert cookies.is_learned(learned)
    assert not cookies.is_ours(0) and not cookies.is_learned(0x00800000 << 32)


def test_addresses() -> None:
    assert addresses.text(addresses.frame(1, addresses.FrameKind.PUNT, 3, 2)) == "02:5a:01:01:03:02"
    assert addresses.text(addresses.uplink(1, 3, 2)) == "02:5b:01:02:03:02"
    assert addresses.text(addresses.BROADCAST) == "ff:ff:ff:ff:ff:ff"
    for wrong in ((256, 1, 1), (1, 256, 1), (1, 1, 256), (-1, 1, 1)):
        with pytest.raises(ValueError, match="does not fit"):
            addresses.uplink(*wrong)


def test_priority_bands() -> None:
    bands = sorted(priorities.Band)
    assert bands == [priorities.Band.MISS, priorities.Band.NORMAL, priorities.Band.LONGEST_PREFIX,
                     priorities.Band.RULES, priorities.Band.GUARD]
    assert priorities.longest_prefix(0) == priorities.Band.LONGEST_PREFIX
    assert priorities.longest_prefix(128) < priorities.Band.RULES
    assert priorities.rule(0) == priorities.Band.GUARD - 1 > priorities.rule(1)
    assert priorities.rule(priorities.RULES_IN_BAND - 1) == priorities.Band.RULES
    for wrong in (-1, priorities.RULES_IN_BAND):
        with pytest.raises(ValueError, match="rules"):
            priorities.rule(wrong)


def test_groups_have_names() -> None:
    assert groups.name_of(groups.OWNER_NORTH) == "OWNER_NORTH"
    assert groups.name_of(groups.route_group(4)) == "ROUTE_4"
    assert groups.route_group(0) > max(groups.NAMES)
