"""What is addressed to a router itself is answered, by the pipeline or through the controller, with real frames."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from controller.compile.router import NEIGHBOUR_IDLE_TIMEOUT
from controller.explain.oracle import owner
from tests.ovs.fabric import Fabric
from tests.ovs.packets import STRANGER, A, Station, flow, segment_mac, south, uplink_mac, upstream
from tests.process.waiting import wait_until
from tests.unit.gateways import example, with_nat

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"
SLOTS = (1, 2, 3, 4)

LINKS = [
    pytest.param(A, segment_mac(), "10.0.0.1", "2001:db8:a::1", id="segment"),
    pytest.param(upstream(3), uplink_mac(3), "172.16.3.2", "2001:db8:3::2", id="uplink"),
]


@pytest.mark.parametrize(("asker", "mac", "ipv4", "ipv6"), LINKS)
def test_arp_request_is_answered(fabric: Fabric, asker: Station, mac: str, ipv4: str, ipv6: str) -> None:
    for sender in (asker.ipv4, "0.0.0.0"):
        fabric.forget_what_was_sent()
        fabric.send(asker.port, Ether(src=asker.mac, dst=BROADCAST) / ARP(
            op=1, hwsrc=asker.mac, psrc=sender, hwdst=NOBODY, pdst=ipv4))

        reply = fabric.answers(asker.port, ARP, "an ARP reply", op=2)

        assert (reply.src, reply.dst) == (mac, asker.mac)
        arp = reply[ARP]
        assert (arp.op, arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst) == (2, mac, ipv4, asker.mac, sender)


@pytest.mark.parametrize(("asker", "mac", "ipv4", "ipv6"), LINKS)
@pytest.mark.parametrize("link_local", [False, True])
def test_neighbour_solicitation_is_answered(fabric: Fabric, asker: Station, mac: str, ipv4: str, ipv6: str,
                                            link_local: bool) -> None:
    source = "fe80::77" if link_local else asker.ipv6
    fabric.send(asker.port, Ether(src=asker.mac, dst="33:33:ff:00:00:01") / IPv6(
        src=source, dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=ipv6) / ICMPv6NDOptSrcLLAddr(lladdr=asker.mac))

    reply = fabric.answers(asker.port, ICMPv6ND_NA, "a neighbour advertisement")

    assert (reply.src, reply.dst) == (mac, asker.mac)
    assert (reply[IPv6].src, reply[IPv6].dst, reply[IPv6].hlim) == (ipv6, source, 255)
    told = reply[ICMPv6ND_NA]
    assert (told.R, told.S, told.O, told.tgt, told.res) == (1, 1, 1, ipv6, 0)
    assert told[ICMPv6NDOptDstLLAddr].lladdr == mac


def learned(fabric: Fabric, bridge: str, address: str) -> list[str]:
    lines = fabric.ovs.ofctl("dump-flows", bridge, "table=110").splitlines()
    return [line for line in lines if f"={address} " in line or f"={address}," in line
            or f"reg3={int(ip_address(address)):#x}" in line]


def test_neighbours_are_learned_as_destination_and_as_next_hop(fabric: Fabric) -> None:
    neighbour = Station("t0-up2", "02:00:00:00:0c:01", "172.16.2.200", "2001:db8:2::200")
    assert not learned(fabric, "t0-sr2", neighbour.ipv4)

    neighbour.announce(fabric)

    lines = wait_until(lambda: learned(fabric, "t0-sr2", neighbour.ipv4), "a learned flow")
    assert len(lines) == 2
    assert all(f"idle_timeout={NEIGHBOUR_IDLE_TIMEOUT}" in line for line in lines)


@pytest.mark.parametrize(
    "claim",
    [
        f"arp,arp_op=2,arp_spa=172.16.3.2,arp_tpa=172.16.3.2,arp_sha={STRANGER},dl_dst={BROADCAST}",
        f"arp,arp_op=1,arp_spa=172.16.3.2,arp_tpa=172.16.3.1,arp_sha={STRANGER},dl_dst={BROADCAST}",
        f"arp,arp_op=1,arp_spa=192.0.2.9,arp_tpa=172.16.3.2,arp_sha={STRANGER},dl_dst={BROADCAST}",
        f"arp,arp_op=1,arp_spa=192.0.2.9,arp_tpa=192.0.2.9,arp_sha={STRANGER},dl_dst={BROADCAST}",
        f"arp,arp_op=1,arp_spa=0.0.0.0,arp_tpa=172.16.3.9,arp_sha={STRANGER},dl_dst={BROADCAST}",
        f"icmp6,icmpv6_type=136,nw_ttl=255,ipv6_src=2001:db8:3::2,ipv6_dst=ff02::1,nd_target=2001:db8:3::2,"
        f"nd_tll={STRANGER},dl_dst=33:33:00:00:00:01",
        f"icmp6,icmpv6_type=135,nw_ttl=64,ipv6_src=2001:db8:3::9,ipv6_dst=2001:db8:3::2,nd_target=2001:db8:3::2,"
        f"dl_dst={uplink_mac(3)}",
        f"icmp6,icmpv6_type=136,nw_ttl=64,ipv6_src=2001:db8:3::9,ipv6_dst=2001:db8:3::2,nd_target=2001:db8:3::9,"
        f"nd_tll={STRANGER},dl_dst={uplink_mac(3)}",
        f"icmp6,icmpv6_type=135,nw_ttl=255,ipv6_src=2001:db8:ff::9,ipv6_dst=2001:db8:3::2,nd_target=2001:db8:3::2,"
        f"dl_dst={uplink_mac(3)}",
    ],
    ids=["reply with the router's address", "request with the router's address", "sender not on the link",
         "gratuitous, not on the link", "probe for somebody else", "advertisement of the router's address",
         "solicitation that was routed", "advertisement that was routed", "solicitation from elsewhere"],
)
def test_what_neighbours_may_not_say_is_neither_believed_nor_answered(fabric: Fabric, claim: str) -> None:
    trace = fabric.trace("t0-sr3", "t0-up3", f"{claim},dl_src={STRANGER}")
    assert trace.tables("t0-sr3") == ["CLASSIFY", "LOCAL"]
    assert trace.dropped
    assert "learn(" not in trace.text


@pytest.mark.parametrize(("asker", "mac", "ipv4", "ipv6"), LINKS)
def test_ping_of_an_interface(fabric: Fabric, asker: Station, mac: str, ipv4: str, ipv6: str) -> None:
    asker.announce(fabric)
    to_router = Ether(src=asker.mac, dst=mac)
    fabric.send(asker.port, to_router / IP(src=asker.ipv4, dst=ipv4, ttl=1) / ICMP(id=7, seq=9) / Raw(b"payload"))
    fabric.send(asker.port, to_router / IPv6(src=asker.ipv6, dst=ipv6, hlim=1) / ICMPv6EchoRequest(
        id=7, seq=9, data=b"payload"))

    four = fabric.answers(asker.port, ICMP, "an echo reply")
    six = fabric.answers(asker.port, ICMPv6EchoReply, "an echo reply of IPv6")

    assert (four.src, four.dst, four[IP].src, four[IP].dst, four[IP].ttl) == (mac, asker.mac, ipv4, asker.ipv4, 64)
    assert (four[ICMP].type, four[ICMP].id, four[ICMP].seq, bytes(four[Raw])) == (0, 7, 9, b"payload")
    assert (six.src, six.dst, six[IPv6].src, six[IPv6].dst) == (mac, asker.mac, ipv6, asker.ipv6)
    assert (six[IPv6].hlim, six[ICMPv6EchoReply].id, six[ICMPv6EchoReply].data) == (64, 7, b"payload")


@pytest.mark.parametrize(("asker", "mac", "ipv4", "ipv6"), LINKS)
def test_a_router_has_no_open_port(fabric: Fabric, asker: Station, mac: str, ipv4: str, ipv6: str) -> None:
    asker.announce(fabric)
    to_router = Ether(src=asker.mac, dst=mac)
    fabric.send(asker.port, to_router / IP(src=asker.ipv4, dst=ipv4) / TCP(sport=4000, dport=22, flags="S", seq=41))
    fabric.send(asker.port, to_router / IP(src=asker.ipv4, dst=ipv4) / UDP(sport=4000, dport=53) / Raw(b"question"))
    fabric.send(asker.port, to_router / IPv6(src=asker.ipv6, dst=ipv6) / UDP(sport=4000, dport=53) / Raw(b"question"))

    reset = fabric.answers(asker.port, TCP, "a reset")
    four = fabric.answers(asker.port, ICMP, "port unreachable")
    six = fabric.answers(asker.port, ICMPv6DestUnreach, "port unreachable")

    assert (reset[IP].src, reset[TCP].sport, reset[TCP].dport) == (ipv4, 22, 4000)
    assert (reset[TCP].flags, reset[TCP].seq, reset[TCP].ack) == ("RA", 0, 42)
    assert (four[IP].src, four[ICMP].type, four[ICMP].code) == (ipv4, 3, 3)
    assert (six[IPv6].src, six[ICMPv6DestUnreach].type, six[ICMPv6DestUnreach].code) == (ipv6, 1, 4)
    assert b"question" in bytes(four[ICMP]) and b"question" in bytes(six[ICMPv6DestUnreach])


def on_uplink_of_its_owner() -> tuple[int, str]:
    """A slot, and an address on its uplink that it owns itself."""
    return next((3, f"172.16.3.{n}") for n in range(10, 250) if owner(ip_address(f"172.16.3.{n}"), SLOTS) == 3)


def echo(remote: str, ttl: int = 64) -> Packet:
    return Ether(src=A.mac, dst=segment_mac()) / IP(src=A.ipv4, dst=remote, ttl=ttl) / ICMP(id=1) / Raw(b"x" * 40)


def test_traceroute_from_inside_shows_the_distributed_router_and_the_service_router(fabric: Fabric) -> None:
    A.announce(fabric)
    serving = owner(ip_address("192.0.2.2"), SLOTS)
    for ttl, speaker in ((1, "10.0.0.1"), (2, f"169.254.0.{1 + serving}")):
        fabric.forget_what_was_sent()
        fabric.send(A.port, echo("192.0.2.2", ttl))
        error = fabric.answers(A.port, ICMP, f"time exceeded at TTL {ttl}")
        assert (error[IP].src, error[IP].dst, error[ICMP].type, error[ICMP].code) == (speaker, A.ipv4, 11, 0)
        assert bytes(IP(src=A.ipv4, dst="192.0.2.2"))[12:20] in bytes(error[ICMP])


def test_hop_limit_of_an_ipv6_packet_from_inside(fabric: Fabric) -> None:
    A.announce(fabric)
    fabric.send(A.port, Ether(src=A.mac, dst=segment_mac()) / IPv6(
        src=A.ipv6, dst="2001:db8:77::1", hlim=2) / UDP(sport=1, dport=33434) / Raw(b"probe"))
    error = fabric.answers(A.port, ICMPv6TimeExceeded, "time exceeded")
    serving = owner(ip_address("2001:db8:77::1"), SLOTS)
    assert (error[IPv6].src, error[IPv6].dst) == (f"2001:db8:{serving}::2", A.ipv6)
    assert b"probe" in bytes(error[ICMPv6TimeExceeded])


def test_traceroute_from_outside_shows_the_owner(fabric: Fabric) -> None:
    remote = ip_address("192.0.2.2")
    serving, entry = owner(remote, SLOTS), 1 + owner(remote, SLOTS) % 4
    upstream(serving).announce(fabric)
    upstream(entry).announce(fabric)
    fabric.send(f"t0-up{entry}", Ether(src=upstream(entry).mac, dst=uplink_mac(entry)) / IP(
        src=str(remote), dst=A.ipv4, ttl=1) / UDP(sport=1, dport=33434) / Raw(b"probe"))
    error = fabric.answers(f"t0-up{serving}", ICMP, "time exceeded")
    assert (error[IP].src, error[IP].dst, error[ICMP].type) == (f"172.16.{serving}.2", str(remote), 11)
    assert (error.src, error.dst) == (uplink_mac(serving), upstream(serving).mac)


def test_a_destination_without_a_route(built_fabric: Fabric) -> None:
    document = example()
    document["tier0s"][0]["static_routes"][0]["network"] = "192.0.2.0/24"
    built_fabric.load(document)
    A.announce(built_fabric)
    built_fabric.send(A.port, echo("203.0.113.9"))
    error = built_fabric.answers(A.port, ICMP, "net unreachable")
    serving = owner(ip_address("203.0.113.9"), SLOTS)
    assert (error[IP].src, error[ICMP].type, error[ICMP].code) == (f"169.254.0.{1 + serving}", 3, 0)


def test_a_neighbour_is_asked_for_and_the_packet_waits(fabric: Fabric) -> None:
    slot, address = on_uplink_of_its_owner()
    neighbour = Station(f"t0-up{slot}", "02:00:00:00:0d:01", address, f"2001:db8:{slot}::d")
    fabric.send(A.port, echo(address))

    request = fabric.answers(neighbour.port, ARP, "an ARP request", pdst=address)[ARP]
    assert (request.op, request.psrc, request.pdst, request.hwsrc) == (1, f"172.16.{slot}.2", address, uplink_mac(slot))
    fabric.forget_what_was_sent()
    fabric.send(neighbour.port, Ether(src=neighbour.mac, dst=uplink_mac(slot)) / ARP(
        op=2, hwsrc=neighbour.mac, psrc=address, hwdst=uplink_mac(slot), pdst=request.psrc))

    packet = fabric.answers(neighbour.port, ICMP, "the packet that waited")
    assert (packet.src, packet.dst) == (uplink_mac(slot), neighbour.mac)
    assert (packet[IP].src, packet[IP].dst, packet[IP].ttl) == ("198.51.100.1", address, 62)


def test_a_neighbour_that_does_not_answer(built_fabric: Fabric) -> None:
    built_fabric.load(with_nat())
    A.announce(built_fabric)
    slot, address = on_uplink_of_its_owner()
    address = str(next(other for n in range(1, 250) if owner(other := ip_address(f"172.16.{slot}.{n}"), SLOTS) == slot
                       and str(other) != address and n > 2))
    built_fabric.send(A.port, echo(address))
    error = built_fabric.answers(A.port, ICMP, "host unreachable")
    assert (error[ICMP].type, error[ICMP].code, error[IP].dst) == (3, 1, A.ipv4)
    asked = [frame for frame in built_fabric.sent(f"t0-up{slot}") if ARP in frame and frame[ARP].pdst == address]
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("source", "destination"),
    [(A.ipv4, "224.0.0.5"), (A.ipv4, "255.255.255.255"), (A.ipv6, "ff0e::1"), (A.ipv6, "fe80::1"),
     ("fe80::2", "2001:db8:77::1")],
)
def test_what_is_never_routed(fabric: Fabric, source: str, destination: str) -> None:
    for bridge, port, packet in (("t0-dr", A.port, flow(A.mac, segment_mac(), source, destination)),
                                 south(3, source, destination)):
        trace = fabric.trace(bridge, port, packet)
        assert trace.tables(bridge) == ["CLASSIFY", "LOCAL"] and trace.dropped
