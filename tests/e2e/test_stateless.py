"""Figure 1 of the white paper: without redirection, an answer that returns over another router is lost."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.helpers import SLOTS, Answer, Target, connections, echo_server, edited
from tests.e2e.helpers_traffic import Held, held_by, holders, push_counters, random_remotes, seeded
from topologies.hosts import PhysicalRouter
from topologies.lab import Lab

PORT = 7
ALARM = "stateful_firewall_without_redirection"
STATELESS = re.sub(
    r"    nat_rules:\n.*?(?=    gateway_firewall:)", "",
    edited(("stateful_services: {enabled: true, redirection_policy: IP_HASH}", "stateful_services: {enabled: false}")),
    flags=re.DOTALL,
)
STATEFUL = edited(("stateful_services: {enabled: false}", "stateful_services: {enabled: true}"), text=STATELESS)
GATEWAY = STATELESS

FIVE_TUPLE = 0x37
"""Addresses, protocol and ports (kernel documentation, ip-sysctl, fib_multipath_hash_fields).

The kernel's ready-made policy for flows would take the sender's own hash where sender and router are one machine, and
that changes with every retransmission.
"""
OTHER_FRAMES = 20
"""How many frames of ARP, neighbour discovery and the like may come to a port meanwhile."""

_WATCH = f"""
table inet watch {{
  set north {{ type inet_service . ifname; flags dynamic; size 65535; }}
  set south {{ type inet_service . ifname; flags dynamic; size 65535; }}
  chain watch {{
    type filter hook forward priority 0;
    tcp dport {PORT} tcp flags & (syn | ack) == syn update @north {{ tcp sport . iifname counter }}
    tcp sport {PORT} tcp flags & (syn | ack) == (syn | ack) update @south {{ tcp dport . oifname counter }}
  }}
}}
"""
"""Counts first packets and first answers at R, by A's port and the uplink."""


@dataclass
class Way:
    """How often a connection's first packet left, and its first answer came, by each uplink (slot)."""

    north: Counter[int] = field(default_factory=Counter)
    south: Counter[int] = field(default_factory=Counter)

    def ends(self) -> tuple[int, int]:
        """Return the one router by which it left and the one by which the answer came."""
        (north,), (south,) = self.north, self.south
        return north, south


@dataclass
class Attempt:
    """What became of one connection: the answer, the way it was seen to take, the routers that know it."""

    answer: Answer
    way: Way
    held: list[Held]


@contextlib.contextmanager
def watched_uplinks(lab: Lab) -> Iterator[dict[int, Way]]:
    """Count at R during the block; after it, the ways are there by A's port."""
    router = lab.host("R")
    ways: dict[int, Way] = defaultdict(Way)
    router.run(["nft", "-f", "-"], stdin=_WATCH)
    try:
        yield ways
        for direction in ("north", "south"):
            listed = json.loads(router.run(["nft", "-j", "list", "set", "inet", "watch", direction]).stdout)["nftables"]
            for item in next(entry["set"]["elem"] for entry in listed if "set" in entry):
                port, interface = item["elem"]["val"]["concat"]
                slot = int(interface.removeprefix("R-up"))
                getattr(ways[port], direction)[slot] += item["elem"]["counter"]["packets"]
    finally:
        router.run("nft delete table inet watch")


def swallowed(lab: Lab) -> dict[int, int]:
    """Return by slot how many packets have come in by the uplink and not gone on to the backplane."""
    push_counters(lab)
    counters = {slot: lab.counters(f"t0-sr{slot}") for slot in SLOTS}
    return {slot: found[f"t0-up{slot}"].rx_packets - found[f"t0-sr{slot}-bp"].tx_packets
            for slot, found in counters.items()}


def attempts(lab: Lab, targets: list[Target]) -> list[Attempt]:
    """Make all connections."""
    lab.appctl(lab.bridges[0], "dpctl/flush-conntrack")
    with watched_uplinks(lab) as ways, echo_server(lab.host("B"), PORT):
        with connections(lab.host("A"), targets, timeout=2.5, parallel=len(targets)) as answers:
            held = holders(lab)
    return [Attempt(answer, ways[answer.target.source_port], held_by(answer, held)) for answer in answers]


@pytest.fixture(scope="module")
def targets(lab: Lab) -> list[Target]:
    """The connections that both tests make: 250, with the same ports."""
    lab.host("R").set_hash_policy(PhysicalRouter.HASH_CUSTOM, FIVE_TUPLE)
    return [Target(remote, PORT, source="::" if ":" in remote else "0.0.0.0", source_port=20000 + position)
            for position, remote in enumerate(random_remotes(seeded(), 200, 50))]


def alarms(lab: Lab) -> list[dict]:
    return [alarm for alarm in lab.controller.request("GET", "/saga/v1/alarms")[1] if alarm["id"] == ALARM]


def test_without_stateful_services_only_answers_over_the_same_router_arrive(lab: Lab, targets: list[Target]) -> None:
    before = swallowed(lab)
    found = attempts(lab, targets)
    after = swallowed(lab)
    same = {one.answer.target for one in found if len(set(one.way.ends())) == 1}
    assert {one.answer.target for one in found if one.answer.ok} == same
    assert len(targets) / 8 < len(same) < len(targets) / 2
    assert all(one.answer.error == "timeout" for one in found if not one.answer.ok)
    for one in found:
        if one.answer.ok:
            assert [(held.slot, held.state) for held in one.held] == [(one.way.ends()[0], "ESTABLISHED")]
    for slot in SLOTS:
        lost = sum(one.way.south[slot] for one in found if not one.answer.ok)
        assert lost > 0
        assert lost <= after[slot] - before[slot] <= lost + OTHER_FRAMES, f"slot {slot}"
    (alarm,) = alarms(lab)
    assert (alarm["gateway"], alarm["severity"]) == ("t0", "HIGH")
    assert "outbound" in alarm["cause"] and "answers that return over another router are dropped" in alarm["cause"]
    assert "IP_HASH" in alarm["remedy"]


def test_with_stateful_services_all_of_them_arrive(lab: Lab, targets: list[Target]) -> None:
    lab.set_config(STATEFUL)
    lab.wait_settled()
    assert alarms(lab) == []
    found = attempts(lab, targets)
    assert [one.answer for one in found if not one.answer.ok] == []
    for one in found:
        assert [(held.slot, held.state) for held in one.held] == [(one.way.ends()[0], "ESTABLISHED")]
    assert sum(len(set(one.way.ends())) == 2 for one in found) > len(found) / 2
