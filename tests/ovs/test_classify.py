"""What gets into a router, by port, kind, gateway and slot; and what the logical switches let through."""

from __future__ import annotations

import pytest

from controller.pipeline import addresses
from controller.pipeline import fields as f
from tests.ovs.fabric import Fabric
from tests.ovs.packets import STRANGER, A, flow, north, punt_mac, segment_mac, south, uplink_mac, upstream
from tests.unit.gateways import two_groups

REMOTE = "192.0.2.2"
BACKPLANE_3 = addresses.text(addresses.backplane(1, 3))
DR_BACKPLANE = addresses.text(addresses.dr_backplane(1))


def reg0(*marks: f.Mark) -> int:
    return sum(mark.value << mark.field.first for mark in marks)


def marks_after_classification(fabric: Fabric, bridge: str, port: str, eth_src: str, eth_dst: str) -> int:
    """reg0 of a packet that no later table touches: one to a multicast address, which LOCAL drops."""
    trace = fabric.trace(bridge, port, flow(eth_src, eth_dst, "192.0.2.9", "224.0.0.9", "udp"))
    assert trace.tables(bridge) == ["CLASSIFY", "LOCAL"]
    return trace.registers()["reg0"]


def test_direction_interface_and_group_by_port(built_fabric: Fabric) -> None:
    built_fabric.load(two_groups())

    def marks(*way: str) -> int:
        return marks_after_classification(built_fabric, "t0-sr3", *way)

    bp = f.INGRESS.at(f.BACKPLANE_INTERFACE)
    north_punt, south_punt = "t0-sr3-pn", "t0-sr3-ps"
    assert marks("t0-sr3-bp", DR_BACKPLANE, BACKPLANE_3) == reg0(f.NORTH, bp)
    assert marks("t0-up3", STRANGER, uplink_mac(3)) == reg0(f.SOUTH, f.INGRESS.at(1), f.INGRESS_GROUP.at(1))
    assert marks("t0-dmz3", STRANGER, uplink_mac(3, 2)) == reg0(f.SOUTH, f.INGRESS.at(2), f.INGRESS_GROUP.at(2))
    assert marks(south_punt, punt_mac(1), punt_mac(3)) == reg0(f.NORTH, f.PUNTED.at(1), bp)
    for group in (1, 2):
        assert marks(north_punt, punt_mac(4, group), punt_mac(3, group)) == reg0(
            f.SOUTH, f.PUNTED.at(1), f.INGRESS.at(group), f.INGRESS_GROUP.at(group)), "as if by the uplink of its group"
    dr = marks_after_classification(built_fabric, "t0-dr", "t0-dr-db", STRANGER, segment_mac(2))
    assert dr == reg0(f.INGRESS.at(2))


PUNTED_NORTH = ("t0-sr3-ps", punt_mac(1), punt_mac(3))
PUNTED_SOUTH = ("t0-sr3-pn", punt_mac(1, 1), punt_mac(3, 1))


@pytest.mark.parametrize(
    ("port", "eth_src", "eth_dst"),
    [
        pytest.param("t0-sr3-bp", DR_BACKPLANE, STRANGER, id="backplane, somebody else's address"),
        pytest.param("t0-sr3-bp", DR_BACKPLANE, uplink_mac(3), id="backplane, the uplink's address"),
        pytest.param("t0-sr3-bp", STRANGER, BACKPLANE_3, id="backplane, not from the distributed router"),
        pytest.param("t0-sr3-bp", *PUNTED_NORTH[1:], id="backplane, a punted frame"),
        pytest.param("t0-sr3-bp", DR_BACKPLANE, punt_mac(3), id="backplane, to a punt address"),
        pytest.param("t0-sr3-bp", punt_mac(1), BACKPLANE_3, id="backplane, from a punt address"),
        pytest.param("t0-up3", STRANGER, "02:00:00:00:00:98", id="uplink, somebody else's address"),
        pytest.param("t0-up3", STRANGER, uplink_mac(2), id="uplink, another router's address"),
        pytest.param("t0-up3", *PUNTED_SOUTH[1:], id="uplink, a punted frame"),
        pytest.param("t0-up3", STRANGER, punt_mac(3, 1), id="uplink, to a punt address"),
        pytest.param("t0-up3", punt_mac(1, 1), uplink_mac(3), id="uplink, from a punt address"),
        pytest.param("t0-up3", punt_mac(1, kind=9), uplink_mac(3), id="uplink, from a frame address of no kind"),
        pytest.param("t0-sr3-ps", punt_mac(1, 1), punt_mac(3, 1), id="south punt switch, a frame of the north one"),
        pytest.param("t0-sr3-ps", punt_mac(1), punt_mac(2), id="south punt switch, another slot"),
        pytest.param("t0-sr3-ps", punt_mac(1), punt_mac(3, gateway=2), id="south punt switch, another gateway"),
        pytest.param("t0-sr3-ps", punt_mac(1, gateway=2), punt_mac(3), id="south punt switch, from another gateway"),
        pytest.param("t0-sr3-ps", punt_mac(1), punt_mac(3, kind=2), id="south punt switch, another kind"),
        pytest.param("t0-sr3-ps", punt_mac(1, kind=2), punt_mac(3), id="south punt switch, from another kind"),
        pytest.param("t0-sr3-ps", STRANGER, punt_mac(3), id="south punt switch, from a stranger"),
        pytest.param("t0-sr3-ps", DR_BACKPLANE, BACKPLANE_3, id="south punt switch, a frame of the backplane"),
        pytest.param("t0-sr3-pn", punt_mac(1), punt_mac(3), id="north punt switch, a frame of the south one"),
        pytest.param("t0-sr3-pn", punt_mac(1, 1), punt_mac(3, 2), id="north punt switch, a group that is not there"),
        pytest.param("t0-sr3-pn", punt_mac(1, 2), punt_mac(3, 1), id="north punt switch, from another group"),
        pytest.param("t0-sr3-pn", punt_mac(1, 1), punt_mac(4, 1), id="north punt switch, another slot"),
        pytest.param("t0-sr3-pn", STRANGER, uplink_mac(3), id="north punt switch, a frame of the uplink"),
        pytest.param("t0-sr3-pn", STRANGER, "ff:ff:ff:ff:ff:ff", id="north punt switch, a broadcast"),
    ],
)
def test_a_frame_that_does_not_belong_to_its_port_goes_nowhere(fabric: Fabric, port: str, eth_src: str,
                                                               eth_dst: str) -> None:
    trace = fabric.trace("t0-sr3", port, flow(eth_src, eth_dst, A.ipv4, REMOTE))
    assert trace.tables("t0-sr3") == ["CLASSIFY"]
    assert trace.dropped


@pytest.mark.parametrize(("port", "eth_src", "eth_dst"), [PUNTED_NORTH, PUNTED_SOUTH])
def test_the_same_frames_are_taken_where_they_belong(fabric: Fabric, port: str, eth_src: str, eth_dst: str) -> None:
    ends = (A.ipv4, REMOTE) if port.endswith("ps") else (REMOTE, A.ipv4)
    assert "TRACK" in fabric.trace("t0-sr3", port, flow(eth_src, eth_dst, *ends)).tables("t0-sr3")


@pytest.mark.parametrize("switch", ["pn", "ps"])
def test_a_punt_switch_forwards_only_for_the_owner_of_the_port(fabric: Fabric, switch: str) -> None:
    def visited(sender: int, eth_src: str, eth_dst: str) -> list[str]:
        packet = flow(eth_src, eth_dst, A.ipv4, REMOTE)
        return fabric.trace(f"t0-{switch}", f"t0-{switch}-sr{sender}", packet).bridges()

    group = 1 if switch == "pn" else 0
    this, other = f"t0-{switch}", "t0-sr3"
    assert visited(1, punt_mac(1, group), punt_mac(3, group)) == [this, other]
    assert visited(1, punt_mac(2, group), punt_mac(3, group)) == [this], "speaks for another router"
    assert visited(1, punt_mac(1, group), punt_mac(1, group)) == [this], "speaks to itself"
    assert visited(1, punt_mac(1, group), punt_mac(5, group)) == [this], "a slot that is not there"
    assert visited(1, punt_mac(1, group, gateway=2), punt_mac(3, group, gateway=2)) == [this], "another gateway"
    assert visited(1, STRANGER, punt_mac(3, group)) == [this]
    assert visited(1, punt_mac(1, group), "ff:ff:ff:ff:ff:ff") == [this]


def test_the_backplane_switch_forwards_between_the_distributed_router_and_service_routers(fabric: Fabric) -> None:
    def visited(port: str, eth_src: str, eth_dst: str) -> list[str]:
        return fabric.trace("t0-bp", port, flow(eth_src, eth_dst, A.ipv4, REMOTE)).bridges()

    backplane_1 = addresses.text(addresses.backplane(1, 1))
    assert visited("t0-bp-dr", DR_BACKPLANE, BACKPLANE_3)[:2] == ["t0-bp", "t0-sr3"]
    assert visited("t0-bp-sr3", BACKPLANE_3, DR_BACKPLANE)[:2] == ["t0-bp", "t0-dr"]
    assert visited("t0-bp-sr1", BACKPLANE_3, DR_BACKPLANE) == ["t0-bp"], "speaks for another router"
    assert visited("t0-bp-sr1", backplane_1, BACKPLANE_3) == ["t0-bp"], "service routers do not speak to each other"
    assert visited("t0-bp-dr", STRANGER, BACKPLANE_3) == ["t0-bp"]


def test_an_untagged_router_takes_no_vlan(fabric: Fabric) -> None:
    bridge, port, packet = south(3, REMOTE, A.ipv4)
    assert fabric.trace(bridge, port, packet).tables(bridge)[:2] == ["CLASSIFY", "LOCAL"]
    tagged = fabric.trace(bridge, port, f"{packet},dl_vlan=7")
    assert not {"TRACK", "OWNER"} & set(tagged.tables(bridge))


def test_packets_of_strangers_on_a_segment(fabric: Fabric) -> None:
    north_bound = flow(A.mac, segment_mac(), A.ipv4, REMOTE)
    assert fabric.trace("t0-dr", A.port, north_bound).tables("t0-dr") == ["CLASSIFY", "LOCAL", "ROUTE"]
    for eth_src, eth_dst in ((A.mac, STRANGER), (punt_mac(1), segment_mac()), (punt_mac(1), punt_mac(2)),
                             (A.mac, uplink_mac(1)), (A.mac, BACKPLANE_3)):
        assert fabric.trace("t0-dr", A.port, flow(eth_src, eth_dst, A.ipv4, REMOTE)).tables("t0-dr") == ["CLASSIFY"]


def test_the_stations_of_these_tests_are_strangers_to_the_gateway() -> None:
    prefixes = (addresses.FRAME_PREFIX, addresses.INTERFACE_PREFIX)
    for mac in (A.mac, upstream(1).mac, STRANGER):
        assert int(mac.replace(":", ""), 16) >> 32 not in prefixes
    assert north(3, A.ipv4, REMOTE)[1] == "t0-sr3-bp"
