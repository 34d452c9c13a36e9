"""A switch as a value: what Open vSwitch does with the messages that carry a change, without Open vSwitch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from controller.compile import actions as a
from controller.compile.values import Flow
from controller.openflow.entries import Desired, FlowEntry, FlowKey, GroupEntry, desired_flow, desired_group
from controller.pipeline.cookies import Cookie
from controller.reconcile.diff import Change


class Refused(Exception):
    """The switch does not take a message."""


@dataclass
class Switch:
    """Flows and groups; ``uses`` are the groups that a flow refers to."""

    flows: dict[FlowKey, FlowEntry] = field(default_factory=dict)
    groups: dict[int, GroupEntry] = field(default_factory=dict)
    uses: dict[FlowKey, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def holding(cls, wanted: Desired) -> Switch:
        """A switch that has just been programmed."""
        switch = cls()
        switch.groups = {id_: entry for id_, (_, entry) in wanted.groups.items()}
        for flow, _ in wanted.flows.values():
            switch.put(flow, 1)
        return switch

    def put(self, flow: Flow, round_: int) -> None:
        """Add a flow, or replace the one with its match; refused where a group is missing."""
        used = frozenset(_groups(flow.actions))
        if not used <= self.groups.keys():
            raise Refused(f"{flow} needs groups {used}")
        entry = desired_flow(replace(flow, cookie=Cookie(flow.cookie.category, flow.cookie.object, round_)))
        self.flows[entry.key], self.uses[entry.key] = entry, used

    def delete_group(self, group_id: int) -> None:
        """Delete a group, and with it every flow that refers to it (OpenFlow 1.5, section 6.7)."""
        del self.groups[group_id]
        for key in [key for key, used in self.uses.items() if group_id in used]:
            self.delete_flow(key)

    def delete_flow(self, key: FlowKey) -> None:
        """Delete one flow."""
        del self.flows[key]
        self.uses.pop(key, None)

    def apply(self, change: Change, round_: int) -> None:
        """Carry a change out, in the order in which it is sent."""
        for group in change.groups_added:
            if group.group_id in self.groups:
                raise Refused(f"group {group.group_id} is there already")
            self.groups[group.group_id] = desired_group(group)
        for group in change.groups_modified:
            if group.group_id not in self.groups:
                raise Refused(f"group {group.group_id} is not there")
            self.groups[group.group_id] = desired_group(group)
        for entry in change.flows_deleted:
            self.delete_flow(entry.key)
        for flow in change.flows_put:
            self.put(flow, round_)
        for group_id in change.groups_deleted:
            self.delete_group(group_id)


def _groups(actions: tuple[a.Action, ...]) -> Iterator[int]:
    for action in actions:
        if isinstance(action, a.ToGroup):
            yield action.group_id
