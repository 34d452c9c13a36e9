"""100 MB through the worst case of figure 4: in at one edge, owned by a second, back over a third; both ways."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.e2e.helpers import SLOTS
from tests.e2e.helpers_rules import gateway, owner, remotes, running
from tests.e2e.helpers_traffic import push_counters
from topologies.lab import Lab

SIZE = 100_000_000
PORT = 9000
PUBLIC = "198.51.100.80"
GATEWAY = gateway([
    {"id": "web", "action": "DNAT", "destination_network": PUBLIC, "translated_network": "10.0.0.2",
     "sequence_number": 10},
    {"id": "out", "action": "SNAT", "source_network": "10.0.0.0/24", "translated_network": "198.51.100.1",
     "sequence_number": 20}])


@dataclass(frozen=True)
class Ways:
    """Bytes that went by the routers' ports, by slot: from the distributed router, punted, to and from outside."""

    entered_north: dict[int, int]
    punted_north: dict[int, int]
    left_north: dict[int, int]
    entered_south: dict[int, int]
    punted_south: dict[int, int]

    def __sub__(self, other: Ways) -> Ways:
        return Ways(*({slot: mine[slot] - theirs[slot] for slot in SLOTS}
                      for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


def ways(lab: Lab) -> Ways:
    """Read the counters of all service routers."""
    push_counters(lab)
    ports = {slot: lab.counters(f"t0-sr{slot}") for slot in SLOTS}

    def of(port: str, counter: str) -> dict[int, int]:
        return {slot: getattr(found[port.format(slot)], counter) for slot, found in ports.items()}

    return Ways(of("t0-sr{}-bp", "rx_bytes"), of("t0-sr{}-ps", "rx_bytes"), of("t0-up{}", "tx_bytes"),
                of("t0-up{}", "rx_bytes"), of("t0-sr{}-pn", "rx_bytes"))


def busiest(counted: dict[int, int]) -> int:
    """Return the slot that most bytes went by."""
    return max(counted, key=counted.__getitem__)


def transferred(lab: Lab, client: subprocess.Popen, what: str, size: int) -> Ways:
    """Have a client transfer bytes, compare the checksums of both ends, and return what went where."""
    before = ways(lab)
    client.stdin.write(f"{what} {size}\n")
    client.stdin.flush()
    here, there = client.stdout.readline().split()
    assert here == there
    return ways(lab) - before


@pytest.mark.parametrize("what", ["get", "put"])
@pytest.mark.parametrize("opened", ["from inside", "from outside"])
def test_100_megabytes_through_three_routers(lab: Lab, opened: str, what: str) -> None:
    inside = opened == "from inside"
    client, server = (lab.host("A"), lab.host("B")) if inside else (lab.host("B"), lab.host("A"))
    first = 20000 + 10000 * inside + 5000 * (what == "get")
    with running(server, "transfer", "serve", PORT), ExitStack() as stack:
        for number, remote in enumerate(remotes(40)):
            address, source = (remote, "10.0.0.2") if inside else (PUBLIC, remote)
            slot, port = owner(remote), first + number
            connection = stack.enter_context(running(client, "transfer", "connect", address, PORT, source, port))
            small = transferred(lab, connection, what, 20000)
            if len({busiest(small.entered_north), slot, busiest(small.entered_south)}) == 3:
                break
        else:
            pytest.fail("40 connections, and none took three routers")
        went = transferred(lab, connection, what, SIZE)
        tracked = [found["zone"] for found in lab.conntrack() if found["orig"].get("sport") == port]
    entry, back = busiest(went.entered_north), busiest(went.entered_south)
    assert len({entry, slot, back}) == 3
    assert tracked == [lab.config.gateways[0].router(slot).zone]
    if inside == (what == "put"):
        assert min(went.entered_north[entry], went.punted_north[slot], went.left_north[slot]) > SIZE
    else:
        assert min(went.entered_south[back], went.punted_south[slot]) > SIZE
