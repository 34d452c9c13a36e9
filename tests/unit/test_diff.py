"""The difference between a program and what a bridge holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import compat
from controller.compile import actions as a
from controller.compile.builder import match
from controller.compile.values import Flow
from controller.openflow.entries import Desired, desired, desired_flow
from controller.pipeline import fields as f
from controller.pipeline import tables
from controller.pipeline.cookies import Category, Cookie, round_of
from controller.reconcile.diff import Change, diff, next_round
from tests.unit.gateways import VARIANTS, example, gateway, programs
from tests.unit.switch_model import Refused, Switch

LLDP_MAC = 0x0180C200000E


@pytest.fixture(autouse=True, scope="module")
def fields() -> None:
    compat.register_fields()


@pytest.fixture
def wanted() -> Desired:
    return desired(programs(gateway())["t0-sr1"])


@pytest.fixture
def switch(wanted: Desired) -> Switch:
    return Switch.holding(wanted)


def compared(wanted: Desired, switch: Switch) -> Change:
    return diff(wanted, switch.flows.values(), switch.groups.values())


def stranger(cookie: int = 0, **conditions: int) -> Flow:
    return Flow(tables.CLASSIFY, 77, match(**conditions), (), Cookie(Category.BASE, cookie))


def test_what_is_as_desired_is_left_alone(wanted: Desired, switch: Switch) -> None:
    change = compared(wanted, switch)
    assert not change and change.size == 0 and change == Change()


def test_an_empty_switch_gets_everything(wanted: Desired) -> None:
    change = diff(wanted, (), ())
    assert len(change.flows_put) == len(wanted.flows) and len(change.groups_added) == len(wanted.groups) == 2
    assert (change.missing, change.altered, change.alien) == (len(wanted.flows) + 2, 0, 0)
    assert change.size == change.missing and change


def test_a_missing_an_altered_and_a_foreign_flow(wanted: Desired, switch: Switch) -> None:
    missing, altered, retimed, recounted, *_ = switch.flows
    foreign = desired_flow(stranger(eth_type=0x0800))
    switch.delete_flow(missing)
    switch.flows[altered] = replace(switch.flows[altered], instructions=b"other")
    switch.flows[retimed] = replace(switch.flows[retimed], timeouts=(0, 30))
    switch.flows[recounted] = replace(switch.flows[recounted], cookie=0)
    switch.flows[foreign.key] = foreign

    change = compared(wanted, switch)

    assert {desired_flow(flow).key for flow in change.flows_put} == {missing, altered, retimed, recounted}
    assert change.flows_deleted == (foreign,)
    assert (change.missing, change.altered, change.alien, change.size) == (1, 3, 1, 5)


def test_groups_that_are_missing_altered_and_foreign(wanted: Desired, switch: Switch) -> None:
    north, south = sorted(switch.groups)
    switch.groups[77] = replace(switch.groups[south], group_id=77)
    switch.groups[south] = replace(switch.groups[south], buckets=switch.groups[south].buckets[:3])
    switch.delete_group(north)

    change = compared(wanted, switch)

    assert [group.group_id for group in change.groups_added] == [north]
    assert [group.group_id for group in change.groups_modified] == [south]
    assert change.groups_deleted == (77,)
    assert len(change.flows_put) == 2, "the flows that went with the group"
    assert (change.missing, change.altered, change.alien) == (3, 1, 1)
    switch.apply(change, 2)
    assert not compared(wanted, switch)


def test_learned_flows_and_those_of_topology_discovery_are_left_alone(wanted: Desired, switch: Switch) -> None:
    learned = desired_flow(replace(stranger(eth_type=0x0800), cookie=Cookie(Category.LEARNED)))
    discovery = replace(desired_flow(stranger(eth_type=f.ETH_LLDP, eth_dst=LLDP_MAC)), cookie=0)
    for entry in (learned, discovery):
        switch.flows[entry.key] = entry
    assert not compared(wanted, switch)
    assert not compared(Desired({}, {}), Switch({entry.key: entry for entry in (learned, discovery)}))


def test_a_bridge_that_no_gateway_has_any_more_is_emptied(switch: Switch) -> None:
    change = compared(Desired({}, {}), switch)
    assert len(change.flows_deleted) == len(switch.flows) and len(change.groups_deleted) == 2
    switch.apply(change, 2)
    assert not switch.flows and not switch.groups


@pytest.mark.parametrize("name", VARIANTS)
def test_one_change_is_enough_from_any_program_to_any_other(wanted: Desired, name: str) -> None:
    other = desired(programs(gateway(VARIANTS[name]()))["t0-sr1"])
    for start, end in ((wanted, other), (other, wanted)):
        switch = Switch.holding(start)
        switch.apply(compared(end, switch), 2)
        assert not compared(end, switch)
        assert switch.flows.keys() == end.flows.keys() and switch.groups.keys() == end.groups.keys()


def test_only_what_differs_gets_a_new_round(wanted: Desired, switch: Switch) -> None:
    document = example()
    document["tier0s"][0]["gateway_firewall"]["rules"][0]["action"] = "DROP"
    changed = desired(programs(gateway(document))["t0-sr1"])
    change = compared(changed, switch)
    assert 0 < change.size <= 4 and change.altered == change.size
    switch.apply(change, 2)
    assert sum(round_of(entry.cookie) == 2 for entry in switch.flows.values()) == change.size


def test_a_change_in_the_wrong_order_would_be_noticed(wanted: Desired, switch: Switch) -> None:
    """The model of the switch that these tests stand on refuses what Open vSwitch refuses."""
    everything = diff(wanted, (), ())
    with pytest.raises(Refused, match="needs groups"):
        Switch().apply(replace(everything, groups_added=()), 1)
    with pytest.raises(Refused, match="there already"):
        switch.apply(everything, 1)
    with pytest.raises(Refused, match="not there"):
        Switch().apply(replace(everything, groups_modified=everything.groups_added, groups_added=()), 1)


def test_rounds() -> None:
    def entry(round_: int) -> object:
        return replace(desired_flow(stranger()), cookie=int(Cookie(Category.BASE, 1, round_)))

    assert next_round(()) == 1
    assert next_round([entry(1), entry(7), entry(3)]) == 8
    assert next_round([entry(65534)]) == 65535
    assert next_round([entry(65535)]) == 1, "0 is the round of what is desired, never of what is installed"
    foreign = replace(desired_flow(stranger()), cookie=0x1234FFFF << 32)
    assert next_round([foreign]) == 1


def test_flows_with_a_group_action_are_counted_by_the_model(wanted: Desired, switch: Switch) -> None:
    with_groups = [flow for flow, _ in wanted.flows.values()
                   if any(isinstance(action, a.ToGroup) for action in flow.actions)]
    assert sum(bool(used) for used in switch.uses.values()) == len(with_groups) == 4
