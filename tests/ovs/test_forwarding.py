"""Routing, firewall and NAT: real connections through the whole gateway, and single decisions with ofproto/trace."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from controller.explain.oracle import owner
from tests.ovs.fabric import Fabric
from tests.ovs.packets import A, Station, flow, north, punt_mac, segment_mac, south, uplink_mac, upstream
from tests.process.waiting import wait_until
from tests.unit.gateways import every_nat, example, with_nat, with_rules

SLOTS = (1, 2, 3, 4)
B = "192.0.2.2"
B6 = "2001:db8:77::2"
POOL = "198.51.100.1"
C = Station(A.port, "02:00:00:00:0a:02", "10.0.0.3", "2001:db8:a::3")


@pytest.fixture(scope="module", autouse=True)
def neighbours(built_fabric: Fabric) -> None:
    """Everybody around the gateway is known."""
    built_fabric.load(example())
    for station in (A, C, *map(upstream, SLOTS)):
        station.announce(built_fabric)
    for bridge, known in (("t0-dr", 4), *((f"t0-sr{slot}", 4) for slot in SLOTS)):
        wait_until(lambda: len(learned(built_fabric, bridge)) >= known, f"{bridge} to know its neighbours")  # noqa: B023


def learned(fabric: Fabric, bridge: str) -> list[str]:
    return fabric.ovs.ofctl("dump-flows", bridge, "table=110").splitlines()[1:]


def owner_of(remote: str) -> int:
    return owner(ip_address(remote), SLOTS)


def elsewhere(remote: str) -> int:
    """A slot that does not own an address."""
    return 1 + owner_of(remote) % 4


def from_inside(station: Station, remote: str, segment: Packet, ttl: int = 64) -> tuple[str, Packet]:
    six = ":" in remote
    ip = IPv6(src=station.ipv6, dst=remote, hlim=ttl) if six else IP(src=station.ipv4, dst=remote, ttl=ttl)
    return station.port, Ether(src=station.mac, dst=segment_mac()) / ip / segment


def from_outside(slot: int, remote: str, target: str, segment: Packet) -> tuple[str, Packet]:
    ip = IP(src=remote, dst=target, ttl=50) if ":" not in remote else IPv6(src=remote, dst=target, hlim=50)
    return f"t0-up{slot}", Ether(src=upstream(slot).mac, dst=uplink_mac(slot)) / ip / segment


def zones(fabric: Fabric, *contained: str) -> list[int]:
    """Zones of the connections that contain all the texts."""
    lines = [line for line in fabric.connections() if all(text in line for text in contained)]
    return [int(line.split("zone=")[1].split(",")[0]) for line in lines]


def test_an_outbound_connection_with_its_source_translated(fabric: Fabric) -> None:
    slot = owner_of(B)
    fabric.send(*from_inside(A, B, TCP(sport=40001, dport=80, flags="S")))

    syn = fabric.answers(f"t0-up{slot}", TCP, "the first packet to leave by the owner's uplink")
    assert (syn.src, syn.dst) == (uplink_mac(slot), upstream(slot).mac)
    assert (syn[IP].src, syn[IP].dst, syn[IP].ttl) == (POOL, B, 62), "two routers: the distributed and the service one"
    assert (syn[TCP].sport, syn[TCP].dport) == (40001, 80), "the port is kept where it can be"

    fabric.send(*from_outside(elsewhere(B), B, POOL, TCP(sport=80, dport=40001, flags="SA")))
    answer = fabric.answers(A.port, TCP, "the answer, which came back by another edge")
    assert (answer.src, answer.dst) == (segment_mac(), A.mac)
    assert (answer[IP].src, answer[IP].dst, answer[IP].ttl) == (B, A.ipv4, 48)
    assert (answer[TCP].sport, answer[TCP].dport, str(answer[TCP].flags)) == (80, 40001, "SA")
    assert zones(fabric, B, "40001") == [256 + slot], "exactly one router knows the connection"


def test_two_inside_hosts_with_one_source_port(fabric: Fabric) -> None:
    slot = owner_of(B)
    leaving = []
    for station in (A, C):
        fabric.forget_what_was_sent()
        fabric.send(*from_inside(station, B, UDP(sport=5000, dport=53) / Raw(b"q")))
        leaving.append(fabric.answers(f"t0-up{slot}", UDP, "the question"))
    ports = [packet[UDP].sport for packet in leaving]
    assert ports[0] == 5000 != ports[1]
    for station, port in zip((A, C), ports, strict=True):
        fabric.forget_what_was_sent()
        fabric.send(*from_outside(elsewhere(B), B, POOL, UDP(sport=53, dport=port) / Raw(b"a")))
        answer = fabric.answers(A.port, UDP, "the answer")
        assert (answer.dst, answer[IP].dst, answer[UDP].dport) == (station.mac, station.ipv4, 5000)


def test_an_error_of_a_router_on_the_way_reaches_the_sender(fabric: Fabric) -> None:
    """Its source is not the remote address, so no hash finds the owner: all get a copy, one knows the connection."""
    slot = owner_of(B)
    on_the_way = next(other for n in range(1, 99) if owner_of(other := f"203.0.113.{n}") != slot)
    fabric.send(*from_inside(A, B, UDP(sport=5002, dport=33434) / Raw(b"probe")))
    probe = fabric.answers(f"t0-up{slot}", UDP, "the probe")[IP]
    fabric.forget_what_was_sent()
    error = ICMP(type=11) / Raw(bytes(probe))
    fabric.send(*from_outside(elsewhere(B), on_the_way, POOL, error))
    told = fabric.answers(A.port, ICMP, "the error")
    assert (told[IP].src, told[IP].dst, told[ICMP].type) == (on_the_way, A.ipv4, 11)
    about = told[IPerror]
    assert (about.src, about.dst, told[UDPerror].sport) == (A.ipv4, B, 5002), "translated inside as well"


def test_an_error_about_nothing_known_goes_nowhere(fabric: Fabric) -> None:
    bridge, port, packet = south(elsewhere(B), "203.0.113.7", POOL, proto="icmp", ports=(11, 0))
    trace = fabric.trace(bridge, port, packet, *["trk,inv"] * 4)
    assert {hit.bridge for hit in trace.hits if hit.table == "TRACK"} == {f"t0-sr{slot}" for slot in SLOTS}
    assert trace.datapath_actions[-4:] == ["drop"] * 4


def test_ipv6_both_ways_without_translation(fabric: Fabric) -> None:
    slot = owner_of(B6)
    fabric.send(*from_inside(A, B6, TCP(sport=40002, dport=443, flags="S")))
    syn = fabric.answers(f"t0-up{slot}", TCP, "the first packet")
    assert (syn[IPv6].src, syn[IPv6].dst, syn[IPv6].hlim, syn[TCP].sport) == (A.ipv6, B6, 62, 40002)
    fabric.send(*from_outside(elsewhere(B6), B6, A.ipv6, TCP(sport=443, dport=40002, flags="SA")))
    answer = fabric.answers(A.port, TCP, "the answer")
    assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim, answer.dst) == (B6, A.ipv6, 48, A.mac)
    assert zones(fabric, B6) == [256 + slot]


def test_an_inbound_connection_with_destination_and_port_translated(fabric: Fabric) -> None:
    slot = owner_of(B)
    fabric.send(*from_outside(elsewhere(B), B, "198.51.100.80", TCP(sport=50001, dport=80, flags="S")))
    syn = fabric.answers(A.port, TCP, "the first packet")
    assert (syn[IP].src, syn[IP].dst, syn[TCP].sport, syn[TCP].dport) == (B, A.ipv4, 50001, 8080)
    fabric.send(*from_inside(A, B, TCP(sport=8080, dport=50001, flags="SA")))
    answer = fabric.answers(f"t0-up{slot}", TCP, "the answer")
    assert (answer[IP].src, answer[IP].dst, answer[TCP].sport) == ("198.51.100.80", B, 80)
    assert zones(fabric, B, "50001") == [256 + slot]


@pytest.mark.parametrize(
    ("target", "proto", "ports", "table"),
    [
        (POOL, "tcp", (80, 40001), "ROUTE"),
        (POOL, "udp", (53, 5000), "ROUTE"),
        ("198.51.100.80", "tcp", (50001, 81), "ROUTE"),
        ("198.51.100.80", "udp", (50001, 80), "ROUTE"),
        (A.ipv4, "tcp", (50001, 80), "FIREWALL"),
        (A.ipv4, "tcp", (50001, 8081), "FIREWALL"),
        (A.ipv6, "tcp", (50001, 8080), "FIREWALL"),
    ],
)
def test_what_nobody_asked_for_ends_here(fabric: Fabric, target: str, proto: str, ports: tuple[int, int],
                                         table: str) -> None:
    remote = B6 if ":" in target else B
    slot = owner_of(remote)
    trace = fabric.trace(*south(slot, remote, target, proto=proto, ports=ports))
    assert trace.tables(f"t0-sr{slot}")[-1] == table and trace.dropped
    assert "commit" not in trace.text


def test_a_packet_that_a_translation_failed_for_is_dropped(fabric: Fabric) -> None:
    slot = owner_of(B)
    assert not fabric.trace(*north(slot, A.ipv4, B), "trk,new", "trk,new,snat").dropped
    for failed in ("trk,inv", "trk,new"):
        trace = fabric.trace(*north(slot, A.ipv4, B), "trk,new", failed)
        assert trace.tables(f"t0-sr{slot}")[-1] == "FORWARD" and trace.dropped, failed


@pytest.mark.parametrize("way", [north, south])
def test_invalid_packets_end_at_the_tracker(fabric: Fabric, way) -> None:
    ends = (A.ipv4, B) if way is north else (B, A.ipv4)
    trace = fabric.trace(*way(owner_of(B), *ends), "trk,inv")
    assert trace.tables(f"t0-sr{owner_of(B)}")[-1] == "STATE" and trace.dropped


def test_known_connections_meet_no_rule(fabric: Fabric) -> None:
    for way, ends, out in ((north, (A.ipv4, B), "t0-sr"), (south, (B, A.ipv4), "t0-dr")):
        trace = fabric.trace(*way(owner_of(B), *ends), "trk,est")
        assert "FORWARD" in trace.tables(f"t0-sr{owner_of(B)}") and not trace.dropped
        assert trace.bridges()[-1].startswith(out)
        assert "NAT" not in trace.tables(f"t0-sr{owner_of(B)}")


def reject(target: dict | None = None) -> dict:
    rule = {"action": "REJECT", "direction": "IN"} | (target or {})
    return with_rules(rule, {"action": "ALLOW"}, document=example())


def test_a_rejected_connection_is_answered_from_the_address_it_was_made_to(built_fabric: Fabric) -> None:
    built_fabric.load(reject())
    slot = owner_of(B)
    built_fabric.send(*from_outside(elsewhere(B), B, "198.51.100.80", TCP(sport=50002, dport=80, flags="S", seq=99)))
    reset = built_fabric.answers(f"t0-up{slot}", TCP, "a reset")
    assert (reset[IP].src, reset[IP].dst, reset[TCP].sport, reset[TCP].dport) == ("198.51.100.80", B, 80, 50002)
    assert (str(reset[TCP].flags), reset[TCP].ack) == ("RA", 100)

    built_fabric.send(*from_outside(elsewhere(B), B, A.ipv4, UDP(sport=50003, dport=53) / Raw(b"q")))
    error = built_fabric.answers(f"t0-up{slot}", ICMP, "administratively prohibited")
    assert (error[IP].dst, error[ICMP].type, error[ICMP].code) == (B, 3, 13)
    assert not zones(built_fabric, B), "what is refused leaves no state"


def test_a_connection_rejected_on_its_way_out(built_fabric: Fabric) -> None:
    built_fabric.load(reject({"direction": "OUT", "destinations": [B]}))
    built_fabric.send(*from_inside(A, B, TCP(sport=40003, dport=80, flags="S", seq=7)))
    reset = built_fabric.answers(A.port, TCP, "a reset")
    assert (reset[IP].src, reset[IP].dst, reset[TCP].ack, reset.dst) == (B, A.ipv4, 8, A.mac)


def test_rules_are_met_in_the_order_of_their_sequence_numbers(built_fabric: Fabric) -> None:
    built_fabric.load(with_rules(
        {"action": "ALLOW", "direction": "OUT", "sequence_number": 30},
        {"action": "DROP", "destinations": ["192.0.2.0/24"], "sequence_number": 20},
        {"action": "ALLOW", "destinations": ["192.0.2.128/25"], "sequence_number": 10,
         "services": [{"protocol": "TCP", "destination_ports": ["1000-2000"]}]}))

    def rank(remote: str, port: int) -> int:
        slot = owner_of(remote)
        trace = built_fabric.trace(*north(slot, A.ipv4, remote, ports=(40000, port)), "trk,new", "trk,new,snat")
        cookie = int(trace.hit(f"t0-sr{slot}", "FIREWALL").rsplit("cookie ", 1)[1], 16)
        assert trace.dropped == ((cookie & 0xFFFFFFFF) == 2)
        return cookie & 0xFFFFFFFF

    assert [rank("192.0.2.200", port) for port in (999, 1000, 1500, 2000, 2001)] == [2, 1, 1, 1, 2]
    assert rank("192.0.2.100", 1500) == 2
    assert rank("203.0.113.1", 1500) == 3


def test_a_stateless_rule_keeps_no_state(built_fabric: Fabric) -> None:
    rule = {"action": "ALLOW", "stateful": False, "sources": [A.ipv4], "direction": "OUT"}
    built_fabric.load(with_nat(document=with_rules(rule, {"action": "ALLOW", "direction": "OUT"})))
    slot = owner_of(B)
    for station, connections in ((A, []), (C, [256 + slot])):
        built_fabric.forget_what_was_sent()
        built_fabric.send(*from_inside(station, B, UDP(sport=5001, dport=53) / Raw(b"q")))
        assert built_fabric.answers(f"t0-up{slot}", UDP, "the packet")[IP].src == station.ipv4
        assert zones(built_fabric, station.ipv4) == connections


def test_longest_prefix_wins(built_fabric: Fabric) -> None:
    document = with_nat()
    document["tier0s"][0]["static_routes"] += [
        {"id": f"r{length}", "network": f"192.0.2.{start}/{length}",
         "next_hops": [{"ip_address": f"172.16.{slot}.{length}"} for slot in SLOTS]}
        for length, start in ((24, 0), (25, 128), (32, 200))]
    built_fabric.load(document)

    def next_hop(remote: str) -> str:
        slot = owner_of(remote)
        trace = built_fabric.trace(*north(slot, A.ipv4, remote), "trk,est")
        length = int(trace.hit(f"t0-sr{slot}", "ROUTE").split("priority ")[1].split(",")[0]) - 0x2000
        expected = f"172.16.{slot}.{length or 1}"
        assert f"{int(ip_address(expected)):#x}->reg3" in trace.text
        return expected.rsplit(".", 1)[1]

    assert [next_hop(remote) for remote in ("192.0.2.200", "192.0.2.201", "192.0.2.127", "192.0.3.1")] == [
        "32", "25", "24", "1"]
    for remote in (f"172.16.{slot}.9" for slot in SLOTS):
        slot = owner_of(remote)
        route = built_fabric.trace(*north(slot, A.ipv4, remote), "trk,est").hit(f"t0-sr{slot}", "ROUTE")
        assert (f"nw_dst=172.16.{slot}.0/24" in route) == (int(remote.split(".")[2]) == slot)


def set_fields(fabric: Fabric, remote: str, target: str, proto: str, ports: tuple[int, int]) -> list[str]:
    """What DNAT rewrites of a new packet from outside."""
    slot = owner_of(remote)
    trace = fabric.trace(*south(slot, remote, target, proto=proto, ports=ports))
    assert trace.tables(f"t0-sr{slot}").count("DNAT") == 1
    after = trace.text.split("60. ", 1)[1].split("goto_table:70")[0]
    return [line.strip() for line in after.splitlines() if "set_field" in line and "reg" not in line]


def test_destinations_are_translated_by_the_first_rule_that_fits(built_fabric: Fabric) -> None:
    built_fabric.load(every_nat())

    def translated(target: str, proto: str, *ports: int, remote: str = B) -> list[str]:
        return set_fields(built_fabric, remote, target, proto, ports)

    to_a = ["set_field:10.0.0.2->ip_dst", "set_field:8443->tcp_dst"]
    assert translated("198.51.100.80", "tcp", 1, 443) == to_a
    assert [translated("198.51.100.80", "tcp", 1, port) for port in (7999, 8000, 8003, 8004)] == [[], to_a, to_a, []]
    assert translated("198.51.100.80", "udp", 2000, 53) == ["set_field:10.0.0.3->ip_dst", "set_field:5353->udp_dst"]
    assert translated("198.51.100.80", "udp", 80, 53) == [], "the source port is not in the service"
    assert translated("198.51.100.18", "tcp", 1, 9) == ["set_field:10.0.0.18->ip_dst"], "one to one"
    assert translated("198.51.100.18", "tcp", 1, 9, remote="192.0.2.7") == [], "NO_DNAT comes first"
    assert translated("198.51.100.9", "icmp", 8, 0) == ["set_field:10.0.0.9->ip_dst"], "REFLEXIVE"


@pytest.mark.parametrize(
    ("source", "remote", "proto", "ports", "translation"),
    [
        (A.ipv4, B, "tcp", (4000, 80), "nat(src=198.51.100.1)"),
        (A.ipv4, "192.0.2.130", "icmp", (8, 0), "nat(src=198.51.100.32-198.51.100.39)"),
        (A.ipv4, "192.0.2.130", "icmp", (13, 0), ""),
        (A.ipv4, "192.0.2.130", "icmp", (13, 1), "nat(src=198.51.100.1)"),
        (A.ipv4, B, "udp", (500, 500), ""),
        (A.ipv4, B, "udp", (500, 501), "nat(src=198.51.100.1)"),
        ("10.0.0.200", "192.0.2.130", "icmp", (8, 0), "nat(src=198.51.100.1)"),
        ("10.0.0.9", B, "tcp", (4000, 80), "nat(src=198.51.100.9)"),
        ("10.0.0.9", "172.16.3.99", "tcp", (4000, 80), ""),
        (A.ipv6, B6, "tcp", (4000, 80), ""),
    ],
)
def test_sources_are_translated_by_the_first_rule_that_fits(built_fabric: Fabric, source: str, remote: str, proto: str,
                                                            ports: tuple[int, int], translation: str) -> None:
    document = every_nat()
    document["tier0s"][0]["gateway_firewall"]["default_action"] = "ALLOW"
    built_fabric.load(document)
    slot = owner_of(remote)
    trace = built_fabric.trace(*north(slot, source, remote, proto=proto, ports=ports))
    (commit,) = [line.strip() for line in trace.text.splitlines() if line.strip().startswith("ct(commit")]
    assert (translation in commit) if translation else ("nat" not in commit)
    assert f"zone={256 + slot}" in commit


def test_what_was_punted_leaves_like_what_was_not(fabric: Fabric) -> None:
    slot = owner_of(B)
    packet = flow(punt_mac(elsewhere(B)), punt_mac(slot), A.ipv4, B)
    punted = fabric.trace(f"t0-sr{slot}", f"t0-sr{slot}-ps", packet, "trk,est")
    direct = fabric.trace(*north(slot, A.ipv4, B), "trk,est")
    assert punted.tables(f"t0-sr{slot}")[-3:] == direct.tables(f"t0-sr{slot}")[-3:]
    assert punted.datapath_actions[-1] == direct.datapath_actions[-1]
    assert f"src={uplink_mac(slot)},dst={upstream(slot).mac}" in punted.datapath_actions[-1]
