"""Whatever a bridge holds, one change makes it as desired, and then there is nothing left to change."""

from __future__ import annotations

import functools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller import compat
from controller.compile.builder import match
from controller.compile.values import Flow
from controller.openflow.entries import Desired, desired, desired_flow
from controller.pipeline import tables
from controller.pipeline.cookies import Category, Cookie, is_learned, round_of
from controller.reconcile.diff import diff, next_round
from tests.unit.gateways import VARIANTS, gateway, programs
from tests.unit.switch_model import Switch

BRIDGES = ("t0-dr", "t0-sr1")


@functools.cache
def wanted(name: str, bridge: str) -> Desired:
    """What a bridge of a variant is to hold."""
    compat.register_fields()
    return desired(programs(gateway(VARIANTS[name]()))[bridge])


def damage(switch: Switch, data: st.DataObject) -> None:
    """Do to a switch what people do by hand."""
    keys = list(switch.flows)
    for key in data.draw(st.lists(st.sampled_from(keys), unique=True, max_size=6), "deleted flows"):
        switch.delete_flow(key)
    for key in data.draw(st.lists(st.sampled_from(list(switch.flows)), unique=True, max_size=6), "altered flows"):
        switch.flows[key] = replace(switch.flows[key], **data.draw(st.sampled_from(
            [{"instructions": b"other"}, {"timeouts": (9, 0)}, {"cookie": 0}])))
    for port in data.draw(st.sets(st.integers(1, 50), max_size=4), "foreign flows"):
        flow = Flow(tables.CLASSIFY, 7, match(in_port=port), (), Cookie(Category.BASE))
        entry = desired_flow(flow)
        learned = data.draw(st.booleans())
        switch.flows[entry.key] = replace(entry, cookie=int(Cookie(Category.LEARNED)) if learned else 0)
    for group_id in data.draw(st.sets(st.sampled_from(sorted(switch.groups) or [0])), "deleted groups"):
        if group_id in switch.groups:
            switch.delete_group(group_id)
    for group_id in data.draw(st.sets(st.sampled_from(sorted(switch.groups) or [0])), "altered groups"):
        if group_id in switch.groups:
            switch.groups[group_id] = replace(switch.groups[group_id], properties=b"other")


@settings(max_examples=80, deadline=None)
@given(start=st.sampled_from(sorted(VARIANTS)), end=st.sampled_from(sorted(VARIANTS)),
       bridge=st.sampled_from(BRIDGES), data=st.data())
def test_one_change_is_enough(start: str, end: str, bridge: str, data: st.DataObject) -> None:
    switch, target = Switch.holding(wanted(start, bridge)), wanted(end, bridge)
    damage(switch, data)
    before, learned = dict(switch.flows), {key for key, entry in switch.flows.items() if is_learned(entry.cookie)}

    round_ = next_round(before.values())
    change = diff(target, switch.flows.values(), switch.groups.values())
    switch.apply(change, round_)

    assert not diff(target, switch.flows.values(), switch.groups.values())
    assert switch.flows.keys() == target.flows.keys() | learned
    assert switch.groups.keys() == target.groups.keys()
    assert all(switch.flows[key] == before[key] for key in learned)
    fresh = {key for key, entry in switch.flows.items() if round_of(entry.cookie) == round_}
    assert fresh == {desired_flow(flow).key for flow in change.flows_put}, "what need not change keeps its round"
    assert change.missing + change.altered == len(change.flows_put) + len(change.groups_added) + len(
        change.groups_modified)
