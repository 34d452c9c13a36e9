"""IPv6, which is never translated: both directions over all owners, large packets, fragments."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.helpers import SLOTS, Target, ask, connections, echo_server, tool
from tests.e2e.helpers_rules import OUT, errors, gateway, punted, remotes, running, slots_of
from topologies.lab import Lab

A, C = "2001:db8:a::2", "2001:db8:a::3"
REMOTES = remotes(40, 6)
PORT = 7000
GATEWAY = gateway([OUT], [{"id": "inside", "action": "ALLOW", "direction": "IN", "destinations": ["2001:db8:a::/64"]},
                          {"id": "out", "action": "ALLOW", "direction": "OUT"}], "DROP")


@pytest.fixture(scope="module", autouse=True)
def servers(lab: Lab) -> Iterator[None]:
    with echo_server(lab.host("B"), PORT), echo_server(lab.host("A"), PORT), echo_server(lab.host("C"), PORT):
        yield


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_both_directions_with_the_same_addresses_at_both_ends(lab: Lab, proto: str) -> None:
    lab.appctl(lab.bridges[0], "dpctl/flush-conntrack")
    before = punted(lab)
    outbound = [Target(remote, PORT, proto, A) for remote in REMOTES]
    inbound = [Target(inside, PORT, proto, remote) for remote in REMOTES for inside in (A, C)]
    with connections(lab.host("A"), outbound) as going, connections(lab.host("B"), inbound) as coming:
        for answer in going + coming:
            assert (answer.error, answer.peer, answer.local) == (
                "", answer.near, (answer.target.address, answer.target.port))
        tracked = [found for found in lab.conntrack() if found["proto"] == proto]
    assert len(tracked) == len(going) + len(coming) and slots_of(lab, tracked) == set(SLOTS)
    assert all(after > old for after, old in zip(punted(lab), before, strict=True))


@pytest.mark.parametrize(("listed", "payload"), [(remotes(8), 1472), (remotes(8, 6), 1452)])
def test_packets_of_1500_bytes_pass(lab: Lab, listed: list[str], payload: int) -> None:
    """A punted frame is no longer than any other, so the path takes what the links take, and no more."""
    for size, received in ((payload, 1), (payload + 1, 0)):
        said = lab.host("A").run(
            f"for to in {' '.join(listed)}; do ping -n -c 1 -W 1 -M do -s {size} $to & done; wait").stdout
        assert said.count(f"{received} received") == len(listed)


def test_fragments_pass_in_both_directions(lab: Lab) -> None:
    with running(lab.host("B"), "datagrams", "serve", 9000), running(lab.host("A"), "datagrams", "serve", 9000):
        for name, targets in (("A", [f"{remote},9000" for remote in REMOTES]),
                              ("B", [f"{A},9000,{remote}" for remote in REMOTES])):
            said = lab.host(name).run(tool("datagrams", "ask", 4000, 5, *targets)).stdout
            assert json.loads(said) == [True] * len(REMOTES)


def test_translations_do_not_touch_it(lab: Lab) -> None:
    four = ask(lab.host("A"), Target("192.0.2.2", PORT))
    six = ask(lab.host("A"), Target(REMOTES[0], PORT))
    assert errors(four + six) == []
    assert four[0].peer[0] == OUT["translated_network"] and six[0].peer == six[0].near
