"""The difference between a program and what a bridge holds: a plain value, computed without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.compile.values import Flow, Group
from controller.openflow.entries import Desired, FlowEntry, GroupEntry
from controller.pipeline import cookies
from controller.pipeline.fields import ETH_LLDP

_ETH_TYPE_IS_LLDP = (0x8000, 5, ETH_LLDP, 0xFFFF)


@dataclass(frozen=True)
class Change:
    """What is to be done to a bridge, in the order in which it must be done.

    ``missing`` and ``altered`` count flows and groups of ours that were gone or different; ``alien`` counts those
    that were there and should not be.
    """

    groups_added: tuple[Group, ...] = ()
    groups_modified: tuple[Group, ...] = ()
    flows_deleted: tuple[FlowEntry, ...] = ()
    flows_put: tuple[Flow, ...] = ()
    groups_deleted: tuple[int, ...] = ()
    missing: int = 0
    altered: int = 0
    alien: int = 0

    def __bool__(self) -> bool:
        return bool(self.groups_added or self.groups_modified or self.flows_deleted or self.flows_put
                    or self.groups_deleted)

    @property
    def size(self) -> int:
        """Number of messages that carry the change."""
        return sum(map(len, (self.groups_added, self.groups_modified, self.flows_deleted, self.flows_put,
                             self.groups_deleted)))


def _is_left_alone(entry: FlowEntry) -> bool:
    """True for flows that are there by right: learned ones, and those of Ryu's topology discovery."""
    return cookies.is_learned(entry.cookie) or _ETH_TYPE_IS_LLDP in entry.key.match


def diff(desired: Desired, flows: Iterable[FlowEntry], groups: Iterable[GroupEntry]) -> Change:
    """Return what turns the installed flows and groups into the desired ones."""
    installed = {entry.key: entry for entry in flows}
    present = {entry.group_id: entry for entry in groups}
    put: list[Flow] = []
    missing = altered = 0
    for key, (flow, entry) in desired.flows.items():
        found = installed.get(key)
        if found is None:
            missing += 1
        elif not entry.same_as(found):
            altered += 1
        else:
            continue
        put.append(flow)
    deleted = tuple(entry for key, entry in installed.items()
                    if key not in desired.flows and not _is_left_alone(entry))
    added = tuple(group for id_, (group, _) in desired.groups.items() if id_ not in present)
    modified = tuple(group for id_, (group, entry) in desired.groups.items()
                     if id_ in present and present[id_] != entry)
    stale = tuple(id_ for id_ in present if id_ not in desired.groups)
    return Change(added, modified, deleted, tuple(put), stale, missing + len(added), altered + len(modified),
                  len(deleted) + len(stale))


def current_round(flows: Iterable[FlowEntry]) -> int:
    """Return the highest round that the bridge's flows carry, 0 if it has none of ours."""
    return max((cookies.round_of(entry.cookie) for entry in flows if cookies.is_ours(entry.cookie)), default=0)


def next_round(flows: Iterable[FlowEntry]) -> int:
    """Return the round of the next change: one more than the present one, 1 after 65535."""
    return current_round(flows) % 0xFFFF + 1
