"""Dumps of flows as values: what is installed, since which round, for how long."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from controller.pipeline import cookies
from topologies.lab import Lab


@dataclass(frozen=True)
class Dumped:
    """A flow of a dump: where it is and what it does (``text``), its cookie, and its age in seconds."""

    text: str
    cookie: int
    duration: float

    @property
    def learned(self) -> bool:
        """Whether the switch wrote the flow itself."""
        return cookies.is_learned(self.cookie)

    @property
    def round(self) -> int:
        """The change that installed the flow."""
        return cookies.round_of(self.cookie)


_LINE = re.compile(r"cookie=(0x[0-9a-f]+), duration=([\d.]+)s, (?:table=([^,]+), )?n_packets=\d+, n_bytes=\d+, (.*)")
_AGES = re.compile(r"(idle|hard)_age=\d+, ?")


def flows(lab: Lab, bridge: str) -> list[Dumped]:
    """Return the flows of a bridge, with numbers for ports and tables (tables may be given names at any time)."""
    found = []
    for line in lab.ofctl(bridge, "dump-flows", "--no-names").splitlines():
        if "actions=" in line:
            cookie, duration, table, rest = _LINE.fullmatch(line.strip()).groups()
            text = f"table={table or 0} {_AGES.sub('', rest)}"
            found.append(Dumped(text, int(cookie, 16), float(duration)))
    return found


def programmed(found: Iterable[Dumped]) -> dict[str, int]:
    """Return the cookies of the flows that the controller wrote, by their text."""
    return {flow.text: flow.cookie for flow in found if not flow.learned}


def learned(found: Iterable[Dumped]) -> dict[str, int]:
    """Return the cookies of the flows that the switch wrote, by their text."""
    return {flow.text: flow.cookie for flow in found if flow.learned}


def all_flows(lab: Lab) -> dict[str, list[Dumped]]:
    """Return the flows of every bridge that the controller programs."""
    return {bridge: flows(lab, bridge) for bridge in lab.bridges}


def groups(lab: Lab, bridge: str) -> list[str]:
    """Return the groups of a bridge, as ``ovs-ofctl`` prints and takes them."""
    lines = lab.ofctl(bridge, "dump-groups", "--no-names").splitlines()
    return sorted(line.strip() for line in lines if "group_id=" in line)


def changed_since(lab: Lab, before: dict[str, list[Dumped]]) -> dict[str, list[str]]:
    """Return, by bridge, the flows of the controller that came, went, were written again or changed their cookie.

    An untouched flow keeps its cookie with the round in it, and its age goes on.  A learned flow may come, not go.
    """
    found: dict[str, list[str]] = {}
    for bridge, old in before.items():
        new = flows(lab, bridge)
        ages = {flow.text: flow.duration for flow in new}
        differing = set(programmed(old).items()) ^ set(programmed(new).items()) | (
            set(learned(old).items()) - set(learned(new).items()))
        younger = {flow.text for flow in old if not flow.learned and ages.get(flow.text, 0) < flow.duration}
        if differing or younger:
            found[bridge] = sorted({text for text, _ in differing} | younger)
    return found
