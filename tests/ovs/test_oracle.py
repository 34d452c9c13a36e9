"""The Python oracle of the owner against Open vSwitch itself: the compiled owner table, asked with ofproto/trace."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest

from controller.explain.oracle import bucket_scores, owner, owner_of_pair
from controller.model.gateway import Address
from tests.ovs.fabric import Fabric, Trace
from tests.ovs.packets import A, north, south
from tests.unit.gateways import policy, with_edges

FOUR, SIX = (1, 2, 3, 4), (1, 2, 3, 4, 5, 6)


def remote_addresses(count: int, seed: int) -> list[Address]:
    """Random unicast addresses of both families, and IPv6 addresses with words that are all zeros or all ones."""
    choose = random.Random(seed)
    found: list[Address] = [IPv6Address("2001::"), IPv6Address("2001:db8::ffff:ffff"), IPv6Address("2a00::1:0:0")]
    while len(found) < count:
        found.append(IPv4Address(choose.randrange(0x0B000000, 0xDF000000)))
        found.append(IPv6Address(0x2 << 124 | choose.getrandbits(124)))
    return found


def inside(remote: Address) -> str:
    return A.ipv4 if remote.version == 4 else A.ipv6


def asked(fabric: Fabric, way, slot: int, remote: Address) -> Trace:
    ends = (inside(remote), remote) if way is north else (remote, inside(remote))
    return fabric.trace(*way(slot, *ends))


def test_a_thousand_remote_addresses(fabric: Fabric) -> None:
    found: Counter[int] = Counter()
    for number, remote in enumerate(remote_addresses(1000, seed=3)):
        going, coming = asked(fabric, north, 1 + number % 4, remote), asked(fabric, south, 4 - number % 3, remote)
        assert going.scores() == coming.scores() == bucket_scores(remote, FOUR), remote
        assert going.chosen() == coming.chosen() == [owner(remote, FOUR)], remote
        found.update(going.chosen())
    assert min(found.values()) > 200, found


@pytest.mark.parametrize("remote", ["11.0.8.31", "11.0.249.218", "11.1.79.122"])
def test_of_equal_scores_the_last_wins(fabric: Fabric, remote: str) -> None:
    scores = bucket_scores(IPv4Address(remote), FOUR)
    best = [slot for slot in FOUR if scores[slot] == max(scores.values())]
    assert len(best) == 2
    assert asked(fabric, north, 1, IPv4Address(remote)).chosen() == [owner(IPv4Address(remote), FOUR)] == best[1:]


def test_two_more_slots_take_keys_and_move_none(built_fabric: Fabric) -> None:
    built_fabric.load(with_edges(6))
    moved = Counter()
    remotes = remote_addresses(400, seed=4)
    for remote in remotes:
        going = asked(built_fabric, north, 5, remote)
        assert going.scores() == bucket_scores(remote, SIX)
        (now,), before = going.chosen(), owner(remote, FOUR)
        assert now == before or now in (5, 6), remote
        moved.update([now] if now != before else [])
    assert set(moved) == {5, 6}
    assert 0.25 < moved.total() / len(remotes) < 0.42, "about a third of the keys"


def test_owner_by_both_addresses(built_fabric: Fabric) -> None:
    built_fabric.load(policy("SRC_DST_IP_HASH"))
    found: Counter[int] = Counter()
    for number, remote in enumerate(remote_addresses(200, seed=5)):
        expected = owner_of_pair(remote, type(remote)(inside(remote)), 4)
        for way in (north, south):
            visited = asked(built_fabric, way, 1 + number % 4, remote).bridges()
            assert [name for name in visited if name.startswith("t0-sr")][-1] == f"t0-sr{expected}", remote
        found[expected] += 1
    assert set(found) == set(FOUR)


@pytest.mark.parametrize("basis", [1, 0xDEADBEEF00000007])
def test_the_basis_of_the_selection_method_counts(fabric: Fabric, basis: int) -> None:
    buckets = ",".join(f"bucket=bucket_id={slot},actions=drop" for slot in FOUR)
    fabric.ovs.run("ovs-vsctl", "--timeout=10", "add-br", "basis", "--", "set", "bridge", "basis",
                   "datapath_type=dummy", "protocols=OpenFlow15", "fail_mode=secure")
    fabric.ovs.ofctl("add-group", "basis", "group_id=1,type=select,selection_method=hash,"
                     f"selection_method_param={basis},fields(ip_dst),{buckets}")
    fabric.ovs.ofctl("add-flow", "basis", "priority=1,actions=group:1")
    try:
        for remote in remote_addresses(40, seed=6)[3::2]:
            trace = fabric.trace("basis", "LOCAL", f"ip,nw_dst={remote}")
            assert trace.scores() == bucket_scores(remote, FOUR, basis) != bucket_scores(remote, FOUR)
    finally:
        fabric.ovs.run("ovs-vsctl", "--timeout=10", "del-br", "basis")


def test_what_cannot_be_answered_is_refused() -> None:
    remote = IPv4Address("192.0.2.1")
    with pytest.raises(ValueError, match="no slots"):
        owner(remote, ())
    with pytest.raises(ValueError, match="two families"):
        owner_of_pair(remote, IPv6Address("2001:db8::1"), 4)
    for links in (0, 65):
        with pytest.raises(ValueError, match="1 to 64"):
            owner_of_pair(remote, remote, links)
