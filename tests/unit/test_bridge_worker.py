"""The worker of one bridge, with a switch that is a list of flows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from controller.compile.builder import ProgramBuilder
from controller.compile.values import Program
from controller.openflow.channel import Rejected, Rejection
from controller.openflow.entries import FlowEntry, desired_flow
from controller.pipeline import tables
from controller.pipeline.cookies import Category, Cookie
from controller.reconcile.bridge import BridgeWorker, Counters, Outcome
from controller.reconcile.diff import Change


class Done(Exception):
    """Enough has been seen."""


class Switch:
    """Holds what it is given, as the channel to a real one would show it."""

    def __init__(self) -> None:
        self.held: dict = {}
        self.refuses: tuple[Rejection, ...] = ()

    def ports(self) -> dict[str, int]:
        return {}

    def flows(self) -> list[FlowEntry]:
        return list(self.held.values())

    def groups(self) -> list:
        return []

    def apply(self, change: Change, round_: int) -> None:
        if self.refuses:
            raise Rejected(self.refuses)
        for flow in change.flows_put:
            entry = desired_flow(flow)
            cookie = int(Cookie(flow.cookie.category, flow.cookie.object, round_))
            self.held[entry.key] = FlowEntry(entry.key, cookie, entry.instructions, entry.timeouts, entry.raw_match)
        for entry in change.flows_deleted:
            del self.held[entry.key]


def program(*priorities: int) -> Program:
    builder = ProgramBuilder("t0-bp", tables.Kind.BACKPLANE_SWITCH, {})
    for priority in priorities:
        builder.flow(tables.FRAMES, priority, (), (), Category.FRAME)
    return builder.program()


def outcomes(switch: Switch, compile_program: Callable[[], Program], count: int) -> tuple[BridgeWorker, list[Outcome]]:
    """Let a worker do ``count`` passes, and return it with their outcomes."""
    found: list[Outcome] = []
    worker = BridgeWorker("t0-bp", switch, {}, lambda *_: compile_program(), lambda _, outcome: report(outcome), 60,
                          Counters())

    def report(outcome: Outcome) -> None:
        found.append(outcome)
        if len(found) < count:
            worker.wake()
        else:
            raise Done

    with contextlib.suppress(Done):
        worker.run()
    return worker, found


def test_a_mistake_in_the_compiler_ends_a_pass_and_not_the_worker() -> None:
    answers = iter([ZeroDivisionError("oh"), program(1)])

    def compile_program() -> Program:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    switch = Switch()
    worker, (first, second) = outcomes(switch, compile_program, 2)
    assert (first.settled, first.error) == (False, "ZeroDivisionError: oh")
    assert second.settled and worker.round == 1 and len(switch.held) == 1


def test_the_round_is_the_one_that_the_bridge_has() -> None:
    switch = Switch()
    assert outcomes(switch, lambda: program(1, 2), 1)[0].round == 1
    assert outcomes(switch, lambda: program(1, 2, 3), 1)[0].round == 2
    assert outcomes(switch, lambda: program(1, 2, 3), 1)[0].round == 2
    switch.refuses = (Rejection("flow", "full"),)
    worker, (refused,) = outcomes(switch, lambda: program(1, 2, 3, 4), 1)
    assert (worker.round, refused.settled, refused.rejected) == (2, False, ("flow: full",))


@pytest.mark.parametrize("present", [(), (1,), (1, 2), (3,)])
def test_only_an_unchanged_program_is_audited(present: tuple[int, ...]) -> None:
    switch = Switch()
    outcomes(switch, lambda: program(*present), 1)
    worker, _ = outcomes(switch, lambda: program(1, 2), 1)
    assert (worker.counters.audits, worker.counters.repaired_missing, worker.counters.repaired_alien) == (0, 0, 0)
    worker, _ = outcomes(switch, lambda: program(1, 2), 3)
    assert (worker.counters.audits, worker.counters.repaired_missing) == (2, 0)
