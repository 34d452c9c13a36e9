"""One bridge kept as desired: read it, compare, change what differs, confirm, audit.

A worker runs in a green thread of its own per connection and sleeps until it is woken (new configuration, a port that
came or went, the audit interval).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from eventlet.queue import Empty, Queue

from controller.compile.text import flow_text
from controller.compile.values import Program
from controller.openflow.channel import Channel, ChannelError, Rejected
from controller.openflow.entries import desired
from controller.reconcile.diff import Change, current_round, diff, next_round

LOG = logging.getLogger(__name__)

RETRY_INTERVAL = 3.0
"""Seconds until a bridge that could not be brought to its program is tried again."""


@dataclass
class Counters:
    """What happened to a bridge since the controller started."""

    changes: int = 0
    messages: int = 0
    audits: int = 0
    repaired_missing: int = 0
    repaired_altered: int = 0
    repaired_alien: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one pass over a bridge came to: settled, or why not."""

    settled: bool
    missing_ports: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    error: str = ""


class BridgeWorker:
    """Keeps one connected bridge as the compiler says.

    ``compile_program`` takes the bridge's ports and returns its program, ``report`` is told every outcome,
    before ``settled`` follows it.
    ``audit_interval`` is in seconds.
    """

    def __init__(self, name: str, channel: Channel, ports: dict[str, int],
                 compile_program: Callable[[str, dict[str, int]], Program],
                 report: Callable[[str, Outcome], None], audit_interval: float, counters: Counters):
        self.name = name
        self.channel = channel
        self.ports = ports
        self.settled = False
        self.round = 0
        self.counters = counters
        self._compile = compile_program
        self._report = report
        self._audit_interval = audit_interval
        self._wakeups: Queue = Queue()
        self._seen_program: Program | None = None

    def wake(self) -> None:
        """Have the bridge looked at now: its program or its ports may have changed."""
        self.settled = False
        self._wakeups.put(None)

    def audit(self) -> None:
        """Have the bridge audited now."""
        self._wakeups.put(None)

    def run(self) -> None:
        """Work until the connection is gone; to be spawned."""
        while True:
            outcome = self._guarded_pass()
            self._report(self.name, outcome)
            self.settled = outcome.settled and self._wakeups.empty()
            self._sleep(self._audit_interval if outcome.settled else min(RETRY_INTERVAL, self._audit_interval))

    def _guarded_pass(self) -> Outcome:
        """Do one pass; whatever goes wrong in it ends the pass, not the worker."""
        try:
            return self._pass()
        except ChannelError as error:
            return Outcome(False, error=str(error))
        except Rejected as refused:
            return Outcome(False, rejected=tuple(
                f"{rejection.what}: {rejection.error}" for rejection in refused.rejections))
        except Exception as error:
            LOG.exception("bridge %s", self.name)
            return Outcome(False, error=f"{type(error).__name__}: {error}")

    def _sleep(self, longest: float) -> None:
        try:
            self._wakeups.get(timeout=longest)
        except Empty:
            return
        while not self._wakeups.empty():
            self._wakeups.get_nowait()

    def _pass(self) -> Outcome:
        self.ports = self.channel.ports()
        program = self._compile(self.name, self.ports)
        wanted = desired(program)
        flows = self.channel.flows()
        change = diff(wanted, flows, self.channel.groups())
        self.round = current_round(flows)
        is_audit = program == self._seen_program
        if is_audit:
            self.counters.audits += 1
        if change:
            if is_audit:
                self._count_repairs(change)
            self.channel.apply(change, next_round(flows))
            self.counters.changes += 1
            self.counters.messages += change.size
            LOG.info("bridge %s: round %d, %d messages (%d missing, %d altered, %d alien)", self.name,
                     next_round(flows), change.size, change.missing, change.altered, change.alien)
            flows = self.channel.flows()
            self.round = current_round(flows)
            left = diff(wanted, flows, self.channel.groups())
            if left:
                first = "; ".join(flow_text(flow) for flow in left.flows_put[:3])
                return Outcome(False, program.missing, error=f"{left.size} entries differ after they were set: {first}")
        self._seen_program = program
        return Outcome(True, program.missing)

    def _count_repairs(self, change: Change) -> None:
        self.counters.repaired_missing += change.missing
        self.counters.repaired_altered += change.altered
        self.counters.repaired_alien += change.alien
        LOG.warning("bridge %s: audit repairs %d missing, %d altered, %d alien flows and groups", self.name,
                    change.missing, change.altered, change.alien)
