"""Frames that pretend to come from a service router go nowhere; the same frames on the right port are taken.

Every frame carries a TCP SYN with a source port of its own, so what was taken can be told at A's interface, in the
connection trackers, and at the physical router.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from controller.pipeline import addresses, tables
from tests.e2e.helpers import SLOTS, Target, ask, echo_server
from tests.e2e.helpers_rules import OUT, PUBLIC, captured, gateway, inject, remotes, service
from tests.e2e.helpers_traffic import push_counters, table_packets
from topologies.expect import run_and_expect
from topologies.lab import Lab

A, A6 = "10.0.0.2", "2001:db8:a::2"
REMOTE, REMOTE6 = remotes(1)[0], remotes(1, 6)[0]
PORT = 8080
GATEWAY = gateway([
    {"id": "web", "action": "DNAT", "destination_network": PUBLIC, "service": service("TCP", 80),
     "translated_network": A, "translated_port": PORT, "sequence_number": 10}, OUT])
PUNT = addresses.FrameKind.PUNT
LEARNING_HOST = "02:00:00:00:55:01"


def frame(gateway_number: int, kind: int, slot: int, group: int) -> str:
    """Return an address of a frame between service routers, also one that no declaration has."""
    return addresses.text(addresses.FRAME_PREFIX << 32 | gateway_number << 24 | kind << 16 | slot << 8 | group)


def punt_frames(sender: int, owner: int, group: int, gateway_number: int = 1, kind: int = PUNT) -> tuple[str, str]:
    """Return source and destination of a frame between two slots."""
    return frame(gateway_number, kind, sender, group), frame(gateway_number, kind, owner, group)


def backplane(slot: int) -> str:
    return addresses.text(addresses.backplane(1, slot))


DR, SEGMENT = addresses.text(addresses.dr_backplane(1)), addresses.text(addresses.segment(1, 1))


def uplink(slot: int) -> str:
    return addresses.text(addresses.uplink(1, slot, 1))


@dataclass(frozen=True)
class Spoof:
    """A frame and where it is put in: ``place`` is a bridge, or a host; ``port`` its port or interface."""

    what: str
    place: str
    port: str
    source: str
    target: str
    north: bool = False
    vlan: int = 0
    version: int = 4

    def bytes(self, mark: int) -> bytes:
        """Return the frame; ``mark`` is its TCP source port."""
        if self.version == 6:
            ip = IPv6(src=A6, dst=REMOTE6) if self.north else IPv6(src=REMOTE6, dst=A6)
            port = 80 if self.north else PORT
        else:
            ip = IP(src=A, dst=REMOTE) if self.north else IP(src=REMOTE, dst=PUBLIC)
            port = 80
        ethernet = Ether(src=self.source, dst=self.target)
        if self.vlan:
            ethernet /= Dot1Q(vlan=self.vlan)
        return bytes(ethernet / ip / TCP(sport=mark, dport=port, flags="S", seq=mark))


GOOD = [
    Spoof("punted south, on the switch", "t0-pn", "t0-pn-sr1", *punt_frames(1, 2, 1)),
    Spoof("punted south, at the router", "t0-sr2", "t0-sr2-pn", *punt_frames(1, 2, 1)),
    Spoof("punted south, IPv6", "t0-sr2", "t0-sr2-pn", *punt_frames(4, 2, 1), version=6),
    Spoof("punted north, on the switch", "t0-ps", "t0-ps-sr3", *punt_frames(3, 2, 0), north=True),
    Spoof("punted north, at the router", "t0-sr2", "t0-sr2-ps", *punt_frames(3, 2, 0), north=True),
    Spoof("from the distributed router", "t0-sr2", "t0-sr2-bp", DR, backplane(2), north=True),
    Spoof("from outside", "R", "R-up2", LEARNING_HOST, uplink(2)),
    Spoof("from a host", "A", "A-eth0", LEARNING_HOST, SEGMENT, north=True),
]
_SOUTH, _NORTH = ("t0-sr2", "t0-sr2-pn"), ("t0-sr2", "t0-sr2-ps")
BAD = [
    # a shadow port of slot 2: another kind, gateway, slot, group, direction, sender
    Spoof("kind 2", *_SOUTH, *punt_frames(1, 2, 1, kind=2)),
    Spoof("kind 0", *_SOUTH, *punt_frames(1, 2, 1, kind=0)),
    Spoof("kind of the sender", *_SOUTH, frame(1, 2, 1, 1), frame(1, PUNT, 2, 1)),
    Spoof("gateway 2", *_SOUTH, *punt_frames(1, 2, 1, gateway_number=2)),
    Spoof("gateway of the sender", *_SOUTH, frame(2, PUNT, 1, 1), frame(1, PUNT, 2, 1)),
    Spoof("slot 3", *_SOUTH, *punt_frames(1, 3, 1)),
    Spoof("slot 0", *_SOUTH, *punt_frames(1, 0, 1)),
    Spoof("group 2", *_SOUTH, *punt_frames(1, 2, 2)),
    Spoof("group 0 on the north port", *_SOUTH, *punt_frames(1, 2, 0)),
    Spoof("group of the sender", *_SOUTH, frame(1, PUNT, 1, 2), frame(1, PUNT, 2, 1)),
    Spoof("group 1 on the south port", *_NORTH, *punt_frames(1, 2, 1), north=True),
    Spoof("kind on the south port", *_NORTH, *punt_frames(1, 2, 0, kind=3), north=True),
    Spoof("a host's address as the sender", *_SOUTH, LEARNING_HOST, frame(1, PUNT, 2, 1)),
    Spoof("to the uplink by the shadow port", *_SOUTH, LEARNING_HOST, uplink(2)),
    Spoof("to the backplane by the shadow port", *_NORTH, DR, backplane(2), north=True),
    Spoof("broadcast by the shadow port", *_SOUTH, frame(1, PUNT, 1, 1), "ff:ff:ff:ff:ff:ff"),
    Spoof("tagged by the shadow port", *_SOUTH, *punt_frames(1, 2, 1), vlan=5),
    # the logical switches: somebody else's name, a stranger's, to oneself, to everybody
    Spoof("in the name of slot 3", "t0-pn", "t0-pn-sr1", *punt_frames(3, 2, 1)),
    Spoof("south, in the name of slot 3", "t0-ps", "t0-ps-sr1", *punt_frames(3, 2, 0), north=True),
    Spoof("another gateway on the switch", "t0-pn", "t0-pn-sr1", *punt_frames(1, 2, 1, gateway_number=2)),
    Spoof("another kind on the switch", "t0-pn", "t0-pn-sr1", *punt_frames(1, 2, 1, kind=2)),
    Spoof("a stranger on the switch", "t0-pn", "t0-pn-sr1", LEARNING_HOST, frame(1, PUNT, 2, 1)),
    Spoof("to everybody on the switch", "t0-pn", "t0-pn-sr1", frame(1, PUNT, 1, 1), "ff:ff:ff:ff:ff:ff"),
    Spoof("in the name of the distributed router", "t0-bp", "t0-bp-sr1", DR, backplane(2), north=True),
    Spoof("from router to router", "t0-bp", "t0-bp-sr1", backplane(1), backplane(2), north=True),
    Spoof("a punted frame on the backplane", "t0-bp", "t0-bp-dr", *punt_frames(1, 2, 0), north=True),
    # the backplane port
    Spoof("not from the distributed router", "t0-sr2", "t0-sr2-bp", backplane(1), backplane(2), north=True),
    Spoof("punted by the backplane port", "t0-sr2", "t0-sr2-bp", *punt_frames(1, 2, 0), north=True),
    # hosts outside and inside
    *(Spoof(f"punted from outside, slot {slot}, group {group}", "R", f"R-up{slot}",
            *punt_frames(slot % 4 + 1, slot, group), north=group == 0) for slot in SLOTS for group in (0, 1)),
    Spoof("a router's name from outside", "R", "R-up2", frame(1, PUNT, 1, 1), uplink(2)),
    Spoof("tagged from outside", "R", "R-up2", LEARNING_HOST, uplink(2), vlan=5),
    Spoof("to the backplane from outside", "R", "R-up2", DR, backplane(2), north=True),
    Spoof("to another uplink from outside", "R", "R-up2", LEARNING_HOST, uplink(3)),
    Spoof("to everybody from outside", "R", "R-up2", LEARNING_HOST, "ff:ff:ff:ff:ff:ff"),
    *(Spoof(f"punted to slot {slot} by a host", "A", "A-eth0", *punt_frames(slot % 4 + 1, slot, 0), north=True)
      for slot in SLOTS),
    Spoof("a router's name by a host", "A", "A-eth0", frame(1, PUNT, 1, 0), SEGMENT, north=True),
    Spoof("to a backplane port by a host", "A", "A-eth0", DR, backplane(2), north=True),
    Spoof("to the distributed router's backplane port by a host", "A", "A-eth0", backplane(2), DR, north=True),
    Spoof("tagged by a host", "A", "A-eth0", LEARNING_HOST, SEGMENT, north=True, vlan=5),
]
FIRST_MARK = 20000


@pytest.fixture(scope="module", autouse=True)
def neighbours_known(lab: Lab) -> Iterator[None]:
    """All neighbours are known, so that a frame which is taken passes at once."""
    with echo_server(lab.host("B"), 80), echo_server(lab.host("A"), PORT):
        answers = ask(lab.host("A"), *(Target(remote, 80) for remote in remotes(16) + remotes(16, 6)))
        answers += ask(lab.host("B"), Target(PUBLIC, 80), Target(A6, PORT))
        assert all(answer.ok for answer in answers)
        yield


@dataclass(frozen=True)
class Seen:
    """Marks that were seen at the hosts and in the trackers, and how many packets the routers have not refused."""

    delivered: set[int]
    tracked: set[int]
    passed_on: int


def put_in(lab: Lab, spoofs: list[Spoof]) -> Seen:
    """Put frames in, one mark each; return what was seen when those behind them had been answered."""
    lab.appctl(lab.bridges[0], "dpctl/flush-conntrack")
    before = passed_on(lab)
    opening = "(tcp[tcpflags] = tcp-syn or ip6[53] = tcp-syn)"
    with (
        captured(lab, "A", ["A-eth0"], f"(dst host {A} or dst host {A6}) and {opening}") as at_a,
        captured(lab, "R", ["R-B"], f"(dst host {REMOTE} or dst host {REMOTE6}) and {opening}") as at_b,
    ):
        for mark, spoof in enumerate(spoofs, FIRST_MARK):
            if spoof.place in ("A", "R"):
                inject(lab.host(spoof.place), spoof.port, [spoof.bytes(mark)])
            else:
                arrive(lab, spoof.place, spoof.port, spoof.bytes(mark))
        lab.host("R").run(f"for slot in {' '.join(map(str, SLOTS))}; do ping -n -q -c 1 -W 1 172.16.$slot.2; done")
        lab.host("A").run("ping -n -q -c 1 -W 1 2001:db8:a::1")
        counted = passed_on(lab) - before - 1
        assert all(answer.ok for answer in ask(lab.host("B"), Target(PUBLIC, 80, source_port=FIRST_MARK - 1)))
    delivered = {int(mark) for line in at_a + at_b for mark in re.findall(r"\.(2\d{4}) > ", line)}
    tracked = {found["orig"]["sport"] for found in lab.conntrack() if found["proto"] == "tcp"} - {FIRST_MARK - 1}
    return Seen(delivered, tracked, counted)


def arrive(lab: Lab, bridge: str, port: str, data: bytes) -> None:
    """Have a frame come in by a port of a bridge: the bridge at the other end of the patch cable sends it."""
    options = lab.vsctl(bridge, "get", "interface", port, "options")
    sender, actions = bridge, "resubmit(,0)"
    if "peer=" in options:
        peer = re.search(r"peer=\"?([^\",}]+)", options)[1]
        sender, actions, port = lab.vsctl(bridge, "port-to-br", peer).strip(), f"output:{peer}", "LOCAL"
    lab.ofctl(sender, "packet-out", f"in_port={port}, packet={data.hex()}, actions={actions}")


def passed_on(lab: Lab) -> int:
    """Return how many packets the tables behind LOCAL have taken: OWNER, TRACK, and the distributed router's ROUTE."""
    push_counters(lab)
    behind = [("t0-dr", tables.ROUTE), *((f"t0-sr{slot}", table) for slot in SLOTS
                                         for table in (tables.OWNER, tables.TRACK))]
    return sum(table_packets(lab, bridge, str(table.number)) for bridge, table in behind)


def test_spoofed_frames_go_nowhere(lab: Lab) -> None:
    seen = put_in(lab, BAD)
    assert [BAD[mark - FIRST_MARK].what for mark in seen.delivered] == []
    assert [BAD[mark - FIRST_MARK].what for mark in seen.tracked] == []
    assert seen.passed_on == 0


def test_a_frame_of_a_stranger_on_a_port_without_a_role_goes_nowhere(lab: Lab) -> None:
    """A port that somebody adds to a punt switch is not one that frames pass by."""
    lab.vsctl("t0-pn", "add-port", "t0-pn", "stranger", "--", "set", "interface", "stranger", "type=internal")
    try:
        run_and_expect(lambda: "stranger" in lab.counters("t0-pn"), what="the port is there")
        lab.wait_settled()
        spoofs = [Spoof("by a new port", "t0-pn", "stranger", *punt_frames(1, 2, 1))]
        seen = put_in(lab, spoofs)
        assert seen == Seen(set(), set(), 0)
        assert lab.counters("t0-pn")["stranger"].tx_packets == 0
    finally:
        lab.vsctl("t0-pn", "del-port", "t0-pn", "stranger")


def test_the_right_frame_on_the_right_port_is_taken(lab: Lab) -> None:
    seen = put_in(lab, GOOD)
    expected = set(range(FIRST_MARK, FIRST_MARK + len(GOOD)))
    assert {GOOD[mark - FIRST_MARK].what for mark in expected - seen.delivered} == set()
    assert {GOOD[mark - FIRST_MARK].what for mark in expected - seen.tracked} == set()
    assert seen.passed_on > len(GOOD)
