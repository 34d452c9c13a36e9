"""Reading the output of ``ovs-appctl ofproto/trace``: pure text to values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BRIDGE = re.compile(r'^\s*bridge\("(?P<name>[^"]+)"\)$')
_STEP = re.compile(r"^\s*(?P<table>\d+)\. (?:(?P<match>.*), )?priority \d+(?:, cookie (?P<cookie>0x[0-9a-f]+))?$")
_NO_MATCH = re.compile(r"^\s*(?P<table>\d+)\. No match\.$")
_SCORE = re.compile(r"^\s*-> bucket (?P<bucket>\d+): score (?P<score>\d+)$")
_USING = re.compile(r"^\s*-> using bucket (?P<bucket>\d+)$")
_RESUME = re.compile(r"^recirc\(0x[0-9a-f]+\) - resume conntrack")
_FINAL = re.compile(r"^(?:Final flow|Megaflow|Datapath actions|Flow): ?(?P<text>.*)$")


@dataclass(frozen=True)
class Step:
    """One flow that the packet hit: bridge, table, match, cookie, and what its actions did.

    ``scores`` and ``bucket`` are those of the select group that the flow went to; empty and None if there was none.
    """

    bridge: str
    table: int
    match: str
    cookie: int
    actions: tuple[str, ...] = ()
    scores: dict[int, int] = field(default_factory=dict)
    bucket: int | None = None


@dataclass(frozen=True)
class Trace:
    """A packet's way through one Open vSwitch instance: the flows it hit, and the datapath's last actions."""

    steps: tuple[Step, ...]
    datapath_actions: tuple[str, ...]
    text: str


@dataclass
class _Open:
    """A step while its lines are being read."""

    bridge: str
    table: int
    match: str
    cookie: int
    actions: list[str] = field(default_factory=list)
    scores: dict[int, int] = field(default_factory=dict)
    bucket: int | None = None

    def closed(self) -> Step:
        return Step(self.bridge, self.table, self.match, self.cookie, tuple(self.actions), self.scores, self.bucket)


def parse(text: str) -> Trace:
    """Return the steps of a trace.  After a resumption Open vSwitch names the first bridge again; here it is the
    bridge that sent the packet to the connection tracker, where it really comes back to."""
    bridge = tracker = ""
    resumed = False
    steps: list[_Open] = []
    datapath: list[str] = []
    for line in text.splitlines():
        if found := _BRIDGE.match(line):
            bridge = tracker if resumed else found["name"]
            resumed = False
        elif _RESUME.match(line):
            resumed = True
        elif found := _STEP.match(line):
            steps.append(_Open(bridge, int(found["table"]), found["match"] or "", int(found["cookie"] or "0", 16)))
        elif found := _NO_MATCH.match(line):
            steps.append(_Open(bridge, int(found["table"]), "no match", 0))
        elif line.startswith("Datapath actions: "):
            datapath.append(line.removeprefix("Datapath actions: "))
        elif not steps or _FINAL.match(line) or not line.startswith(" "):
            continue
        elif found := _SCORE.match(line):
            steps[-1].scores[int(found["bucket"])] = int(found["score"])
        elif found := _USING.match(line):
            steps[-1].bucket = int(found["bucket"])
        else:
            action = line.strip()
            if action and not action.startswith(("->", "-", "bucket ", "thaw", "Resuming from")):
                steps[-1].actions.append(action)
                if action.startswith("ct("):
                    tracker = steps[-1].bridge
    return Trace(tuple(step.closed() for step in steps), tuple(datapath), text)
