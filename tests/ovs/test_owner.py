"""Every packet gets to the owner of its remote address in one punt at most, whatever router it enters by."""

from __future__ import annotations

import itertools
import random
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from controller.explain.oracle import owner
from tests.ovs.fabric import Fabric, Trace
from tests.ovs.packets import A, flow, north, punt_mac, segment_mac, south, uplink_mac
from tests.unit.gateways import aligned, example, policy, stateless, two_groups

SLOTS = (1, 2, 3, 4)


def remote_of(slot: int, version: int) -> str:
    """An address that a slot owns."""
    form = "192.0.2.{}" if version == 4 else "2001:db8:77::{:x}"
    return next(form.format(n) for n in range(1, 200) if owner(ip_address(form.format(n)), SLOTS) == slot)


def inside(version: int) -> str:
    return A.ipv4 if version == 4 else A.ipv6


def routers(trace: Trace) -> list[str]:
    return [bridge for bridge in trace.bridges() if bridge.startswith("t0-sr")]


def serving(trace: Trace) -> list[str]:
    """Bridges that passed the packet to their connection tracker."""
    return list(dict.fromkeys(hit.bridge for hit in trace.hits if hit.table == "TRACK"))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("entry", "slot"), list(itertools.product(SLOTS, SLOTS)))
def test_both_directions_meet_at_the_owner(fabric: Fabric, entry: int, slot: int, version: int) -> None:
    remote = remote_of(slot, version)
    for way, ends, switch, group in ((north, (inside(version), remote), "t0-ps", 0),
                                     (south, (remote, inside(version)), "t0-pn", 1)):
        trace = fabric.trace(*way(entry, *ends))
        assert serving(trace) == [f"t0-sr{slot}"]
        assert trace.chosen() == [slot], "hashed once, by the router it entered by"
        if entry == slot:
            assert routers(trace) == [f"t0-sr{entry}"]
            assert switch not in trace.bridges()
            continue
        assert routers(trace) == [f"t0-sr{entry}", f"t0-sr{slot}"]
        on_switch = trace.hit(switch, "FRAMES")
        assert f"dl_src={punt_mac(entry)}/ff:ff:ff:ff:ff:00,dl_dst={punt_mac(slot)}/ff:ff:ff:ff:ff:00" in on_switch
        assert f"dl_dst={punt_mac(slot, group)}" in trace.hit(f"t0-sr{slot}", "CLASSIFY")
        assert f"set_field:{punt_mac(entry, group)}->eth_src" in trace.text


@pytest.mark.parametrize("entry", SLOTS)
def test_the_interface_group_travels_with_the_packet(built_fabric: Fabric, entry: int) -> None:
    built_fabric.load(two_groups())
    remote = remote_of(2, 4)
    for group, port in ((1, "up"), (2, "dmz")):
        packet = flow("02:00:00:00:00:77", uplink_mac(entry, group), remote, "10.0.0.2")
        trace = built_fabric.trace(f"t0-sr{entry}", f"t0-{port}{entry}", packet)
        assert serving(trace) == ["t0-sr2"]
        if entry != 2:
            assert f"dl_dst={punt_mac(2, group)}" in trace.hit("t0-sr2", "CLASSIFY")
        firewall = trace.hit("t0-sr2", "FIREWALL")
        assert ("priority 4096" in firewall) == (group == 1), "the rule is for the second group only"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("way", "port"), [(north, "ps"), (south, "pn")])
def test_what_was_punted_is_never_hashed_again(fabric: Fabric, version: int, way, port: str) -> None:
    remote = remote_of(3, version)
    ends = (inside(version), remote) if way is north else (remote, inside(version))
    group = 1 if port == "pn" else 0
    for receiver in (1, 2, 4):
        packet = flow(punt_mac(3, group), punt_mac(receiver, group), *ends)
        trace = fabric.trace(f"t0-sr{receiver}", f"t0-sr{receiver}-{port}", packet)
        assert serving(trace) == [f"t0-sr{receiver}"], "it is served where it was sent to"
        assert trace.chosen() == []
        assert "PUNT" not in trace.tables(f"t0-sr{receiver}")


@pytest.mark.parametrize("document", [policy("NONE"), stateless()], ids=["NONE", "stateless"])
def test_without_redirection_every_router_serves_what_it_gets(built_fabric: Fabric, document: dict) -> None:
    built_fabric.load(document)
    for entry, version in itertools.product(SLOTS, (4, 6)):
        remote = remote_of(1 + entry % 4, version)
        for way, ends in ((north, (inside(version), remote)), (south, (remote, inside(version)))):
            trace = built_fabric.trace(*way(entry, *ends))
            assert routers(trace) == [f"t0-sr{entry}"]
            assert serving(trace) == [f"t0-sr{entry}"] and trace.chosen() == []


def test_with_both_addresses_hashed_both_directions_meet(built_fabric: Fabric) -> None:
    built_fabric.load(policy("SRC_DST_IP_HASH"))
    served: dict[str, set[str]] = {}
    for number in range(1, 25):
        for remote, here in ((f"192.0.2.{number}", A.ipv4), (f"2001:db8:77::{number:x}", A.ipv6)):
            for entry in SLOTS:
                served.setdefault(remote, set()).update(serving(built_fabric.trace(*north(entry, here, remote))))
                served[remote].update(serving(built_fabric.trace(*south(entry, remote, here))))
    assert {len(where) for where in served.values()} == {1}
    assert len(set().union(*served.values())) == 4


def test_an_aligned_distributed_router_picks_the_owner_itself(built_fabric: Fabric) -> None:
    built_fabric.load(aligned())
    choose = random.Random(8)
    for number in range(60):
        remote = (IPv6Address(0x2 << 124 | choose.getrandbits(124)) if number % 2
                  else IPv4Address(choose.randrange(0x0B000000, 0xDF000000)))
        packet = flow(A.mac, segment_mac(), inside(remote.version), remote)
        trace = built_fabric.trace("t0-dr", A.port, packet)
        assert routers(trace) == [f"t0-sr{owner(remote, SLOTS)}"], remote
        assert "t0-ps" not in trace.bridges()


def test_a_gateway_whose_directions_hash_different_fields_would_be_noticed(fabric: Fabric) -> None:
    """The negative control of this file: with the wrong field hashed in one direction, the directions part."""
    dumped = fabric.ovs.ofctl("dump-groups", "t0-sr1").splitlines()
    group = next(line.strip() for line in dumped if "group_id=2," in line)
    fabric.ovs.ofctl("mod-group", "t0-sr1", group.replace("ip_src", "ip_dst").replace("ipv6_src", "ipv6_dst"))
    try:
        parted = [slot for slot in SLOTS
                  if serving(fabric.trace(*south(1, remote_of(slot, 4), A.ipv4))) != [f"t0-sr{slot}"]]
        assert len(parted) == 3, "all but the one that the inside address hashes to"
    finally:
        fabric.ovs.ofctl("mod-group", "t0-sr1", group)
    fabric.load(example())
