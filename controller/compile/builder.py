"""The only way to make flows: refuses matches, sets and next tables that the pipeline does not declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from controller.compile import actions as a
from controller.compile.values import Bucket, Flow, Group, GroupType, Match, Program, Term
from controller.pipeline.cookies import Category, Cookie
from controller.pipeline.fields import FIELDS, CtState, Mark, RegField
from controller.pipeline.tables import Kind, Table


class PipelineError(Exception):
    """A flow that the pipeline's declarations do not allow: a mistake in the compiler, never in a user's input."""


MatchValue = int | tuple[int, int] | IPv4Address | IPv6Address | IPv4Network | IPv6Network | CtState


def _term(name: str, value: MatchValue) -> Term | None:
    """Return the canonical term, or None where it matches everything."""
    if name not in FIELDS:
        raise PipelineError(f"match on undeclared field {name}")
    full = (1 << FIELDS[name].bits) - 1
    if isinstance(value, CtState):
        number, mask = value.value, value.mask
    elif isinstance(value, IPv4Network | IPv6Network):
        number, mask = int(value.network_address), int(value.netmask)
    elif isinstance(value, tuple):
        number, mask = value
    else:
        number, mask = int(value), full
    if number & ~mask or mask & ~full:
        raise PipelineError(f"{name}: value {number:#x} has bits outside its mask {mask:#x}")
    if mask == 0:
        return None
    return Term(name, number, None if mask == full else mask)


def match(*marks: Mark, **fields: MatchValue | None) -> Match:
    """Build a match from marks and packet fields.

    A field takes an integer, a (value, mask) pair, an address or network, or a ``CtState``; None and a mask of zero
    match everything.  Raises PipelineError for what is not declared, or given twice.
    """
    terms = [Term(mark.field.name, mark.value) for mark in marks]
    terms += [term for name, value in fields.items() if value is not None and (term := _term(name, value))]
    if len({term.name for term in terms}) < len(terms):
        raise PipelineError(f"one field matched twice: {terms}")
    return tuple(sorted(terms, key=lambda term: term.name))


class ProgramBuilder:
    """Collects the flows and groups of one bridge and checks each against the declarations.

    ``ports`` maps the names of the bridge's ports to OpenFlow port numbers.
    """

    def __init__(self, bridge: str, kind: Kind, ports: Mapping[str, int]):
        self.bridge = bridge
        self.kind = kind
        self._ports = ports
        self._flows: dict[tuple[str, int, Match], Flow] = {}
        self._groups: dict[int, Group] = {}
        self._missing: dict[str, None] = {}

    def port(self, name: str) -> int | None:
        """Return the number of a port, or None and note it as missing where the bridge has not got it."""
        if name not in self._ports:
            self._missing[name] = None
            return None
        return self._ports[name]

    def flow(self, table: Table, priority: int, conditions: Match, actions: Iterable[a.Action], category: Category,
             obj: int = 0, note: str = "") -> None:
        """Add a flow; one that hands packets to the controller carries the reason in its cookie.

        PipelineError if it breaks the contract of its table or repeats another one's match.
        """
        actions = tuple(actions)
        for action in actions:
            if isinstance(action, a.ToController):
                category, obj = Category.TO_CONTROLLER, int(action.reason)
        flow = Flow(table, priority, conditions, actions, Cookie(category, obj), note)
        self._check_match(flow)
        self._check_actions(table, flow.actions, flow)
        key = (table.name, priority, conditions)
        if key in self._flows:
            raise PipelineError(f"{self.bridge}: two flows with one match: {flow} and {self._flows[key]}")
        self._flows[key] = flow

    def group(self, table: Table, group_id: int, type_: GroupType, buckets: Iterable[Bucket],
              hash_fields: tuple[str, ...] = ()) -> None:
        """Add a group that flows of ``table`` use; its buckets are held to that table's contract."""
        group = Group(group_id, type_, tuple(buckets), hash_fields)
        for bucket in group.buckets:
            self._check_actions(table, bucket.actions, bucket)
        if group_id in self._groups:
            raise PipelineError(f"{self.bridge}: group {group_id} twice")
        self._groups[group_id] = group

    def program(self) -> Program:
        """Return what was collected, in a fixed order."""
        flows = sorted(self._flows.values(), key=lambda flow: (flow.table.number, -flow.priority, flow.match))
        groups = sorted(self._groups.values(), key=lambda group: group.group_id)
        return Program(self.bridge, tuple(flows), tuple(groups), tuple(self._missing))

    def _check_match(self, flow: Flow) -> None:
        table = flow.table
        if self.kind not in table.kinds:
            raise PipelineError(f"{self.bridge}: a {self.kind.value} has no table {table.name}")
        fixed = {(term.name, term.value) for term in flow.match if term.mask is None}
        for term in flow.match:
            if term.name not in table.matches:
                raise PipelineError(f"{table.name} does not declare a match on {term.name}: {flow}")
            needs = FIELDS[term.name].needs if term.name in FIELDS else ()
            if needs and not fixed.intersection(needs):
                raise PipelineError(f"{table.name}: a match on {term.name} needs one of {needs}: {flow}")

    def _check_actions(self, table: Table, actions: tuple[a.Action, ...], where: object) -> None:
        for position, action in enumerate(actions):
            match action:
                case a.Set(field=name) | a.Copy(target=name):
                    self._check_set(table, name, where)
                case a.SetMark(mark=mark):
                    self._check_set(table, mark.field.name, where)
                case a.Multipath(target=target):
                    self._check_set(table, target.name, where)
                case a.Goto(table=target):
                    if position != len(actions) - 1:
                        raise PipelineError(f"{table.name}: goto is not the last action: {where}")
                    self._check_next(table, target, where)
                    if target.number <= table.number:
                        raise PipelineError(f"{table.name}: goto backwards to {target.name}: {where}")
                case a.Resubmit(table=target):
                    self._check_next(table, target, where)
                case a.Ct(table=target):
                    self._check_next(table, target, where)
                case a.Learn():
                    self._check_learn(action, where)
                case a.ToGroup(group_id=group_id):
                    if group_id not in self._groups:
                        raise PipelineError(f"{table.name}: group {group_id} is not there: {where}")

    @staticmethod
    def _check_set(table: Table, name: str, where: object) -> None:
        if name not in table.sets:
            raise PipelineError(f"{table.name} does not declare setting {name}: {where}")

    def _check_next(self, table: Table, target: Table, where: object) -> None:
        if target.name not in table.next:
            raise PipelineError(f"{table.name} does not declare {target.name} as a next table: {where}")
        if self.kind not in target.kinds:
            raise PipelineError(f"{self.bridge}: a {self.kind.value} has no table {target.name}: {where}")

    def _check_learn(self, learn: a.Learn, where: object) -> None:
        for part in learn.matches:
            name = part.target.name if isinstance(part.target, RegField) else part.target
            if name not in learn.table.matches:
                raise PipelineError(f"learned match on {name} is not declared in {learn.table.name}: {where}")
        for part in learn.sets:
            name = part.target.name if isinstance(part.target, RegField) else part.target
            self._check_set(learn.table, name, where)
