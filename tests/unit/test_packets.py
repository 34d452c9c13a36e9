"""Packets that routers make: ICMP errors, resets, solicitations; and what they read in packets of others."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from controller.pipeline import addresses
from controller.services import packets
from tests.unit.checksums import assert_checksums

ROUTER4, ROUTER6 = IPv4Address("10.0.0.1"), IPv6Address("2001:db8:a::1")
MAC = "02:5b:01:02:03:01"
ETHER = Ether(src="02:00:00:00:00:01", dst=MAC)
FOUR = IP(src="10.0.0.2", dst="192.0.2.9", id=77)
SIX = IPv6(src="2001:db8:a::2", dst="2001:db8:77::9")


def error(frame: Packet, kind4: tuple[int, int] = packets.TIME_EXCEEDED,
          kind6: tuple[int, int] = packets.V6_TIME_EXCEEDED) -> Packet | None:
    """The ICMP error about a frame, as scapy reads it, with right checksums."""
    built = packets.icmp_error(bytes(frame), ROUTER4, ROUTER6, kind4, kind6)
    if built is None:
        return None
    assert_checksums(Ether(built))
    return Ether(built)


@pytest.mark.parametrize("kind", [packets.TIME_EXCEEDED, packets.NET_UNREACHABLE, packets.HOST_UNREACHABLE,
                                  packets.PORT_UNREACHABLE, packets.ADMIN_PROHIBITED])
def test_icmp_error(kind: tuple[int, int]) -> None:
    frame = ETHER / FOUR / UDP(sport=7, dport=33434) / Raw(b"probe" * 9)
    answer = error(frame, kind4=kind)
    assert (answer[IP].src, answer[IP].dst, answer[IP].ttl) == ("10.0.0.1", "10.0.0.2", 64)
    assert (answer[ICMP].type, answer[ICMP].code, bytes(answer[ICMP])[4:8]) == (*kind, bytes(4))
    assert bytes(answer[ICMP].payload) == bytes(frame[IP])
    assert (answer[IPerror].id, answer[IPerror].dst) == (77, "192.0.2.9")


@pytest.mark.parametrize("kind", [packets.V6_TIME_EXCEEDED, packets.V6_NO_ROUTE, packets.V6_ADDRESS_UNREACHABLE,
                                  packets.V6_PORT_UNREACHABLE, packets.V6_ADMIN_PROHIBITED])
def test_icmpv6_error(kind: tuple[int, int]) -> None:
    frame = ETHER / SIX / UDP(sport=7, dport=33434) / Raw(b"probe" * 9)
    answer = error(frame, kind6=kind)
    assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim) == ("2001:db8:a::1", "2001:db8:a::2", 64)
    body = answer[IPv6].payload
    assert isinstance(body, ICMPv6TimeExceeded if kind[0] == 3 else ICMPv6DestUnreach)
    assert ((body.type, body.code), bytes(body)[4:8], bytes(body)[8:]) == (kind, bytes(4), bytes(frame[IPv6]))


def test_a_long_packet_is_quoted_as_far_as_it_may() -> None:
    four = error(ETHER / FOUR / UDP() / Raw(b"x" * 1400))
    assert four[IP].len == 576 and len(four) == 14 + 576
    six = error(ETHER / SIX / UDP() / Raw(b"x" * 1400))
    assert len(six) == 14 + 1280


def test_what_ethernet_pads_is_not_quoted() -> None:
    for ip in (FOUR, SIX):
        packet = bytes(ETHER / ip / UDP(sport=7, dport=9))
        answer = error(Ether(packet + b"\xee" * 20))
        assert b"\xee" not in bytes(answer)


def test_a_destination_answers_an_unreachable_port_only_with_an_address_of_the_family() -> None:
    frame = bytes(ETHER / FOUR / UDP())
    assert packets.icmp_error(frame, None, ROUTER6, packets.TIME_EXCEEDED, packets.V6_TIME_EXCEEDED) is None
    six = bytes(ETHER / SIX / UDP())
    assert packets.icmp_error(six, ROUTER4, None, packets.TIME_EXCEEDED, packets.V6_TIME_EXCEEDED) is None


@pytest.mark.parametrize(
    "packet",
    [
        FOUR / ICMP(type=3, code=1) / IPerror(dst="10.0.0.2") / ICMPerror(),
        FOUR / ICMP(type=11) / IPerror(dst="10.0.0.2") / ICMPerror(),
        FOUR / ICMP(type=4),
        FOUR / ICMP(type=5),
        FOUR / ICMP(type=12),
        IP(src="10.0.0.2", dst="192.0.2.9", frag=10) / Raw(b"later fragment of something"),
        IP(src="10.0.0.2", dst="224.0.0.9") / UDP(),
        IP(src="224.0.0.9", dst="192.0.2.9") / UDP(),
        IP(src="0.0.0.0", dst="192.0.2.9") / UDP(),
        IP(src="127.0.0.1", dst="192.0.2.9") / UDP(),
        IP(src="255.255.255.255", dst="192.0.2.9") / UDP(),
        SIX / ICMPv6DestUnreach() / SIX / UDP(),
        SIX / ICMPv6TimeExceeded() / SIX / UDP(),
        SIX / ICMPv6ND_Redirect(),
        SIX / IPv6ExtHdrDestOpt() / ICMPv6DestUnreach() / SIX,
        IPv6(src="2001:db8:a::2", dst="ff0e::1") / UDP(),
        IPv6(src="ff0e::1", dst="2001:db8:77::9") / UDP(),
        IPv6(src="::", dst="2001:db8:77::9") / UDP(),
    ],
    ids=lambda packet: packet.summary(),
)
def test_about_some_packets_no_error_is_sent(packet: Packet) -> None:
    assert error(ETHER / packet) is None


@pytest.mark.parametrize(
    "packet",
    [
        FOUR / ICMP(type=8),
        FOUR / ICMP(type=0),
        IP(src="10.0.0.2", dst="192.0.2.9", flags="MF") / UDP() / Raw(b"first fragment"),
        SIX / ICMPv6EchoRequest(),
        SIX / IPv6ExtHdrFragment(offset=0, m=1) / UDP() / Raw(b"first fragment"),
        FOUR / UDP(dport=4789) / Raw(b"no VXLAN at all"),
        FOUR / UDP(dport=67) / Raw(b"no DHCP"),
        FOUR / TCP(dport=179, flags="PA") / Raw(b"\xff" * 16 + b"\x00\x13\x09"),
        IP(src="10.0.0.2", dst="192.0.2.9", proto=2) / Raw(b"no IGMP"),
        SIX / UDP(dport=4789) / Raw(b"no VXLAN at all"),
    ],
    ids=lambda packet: packet.summary(),
)
def test_about_these_an_error_is_sent(packet: Packet) -> None:
    assert error(ETHER / packet) is not None


def test_arp_and_rubbish_get_no_error() -> None:
    for frame in (ETHER / ARP(), ETHER / Raw(b"\x08\x00"), Ether(type=0x86DD) / Raw(b"short"), Raw(b""), Raw(b"x")):
        assert error(frame) is None
        assert packets.reset(bytes(frame)) is None
        assert packets.destination(bytes(frame)) is None
        assert not packets.is_tcp(bytes(frame))


def reset(ip: Packet, segment: Packet, padding: bytes = b"") -> Packet | None:
    frame = bytes(ETHER / ip / segment) + padding
    assert packets.is_tcp(frame)
    built = packets.reset(frame)
    if built is None:
        return None
    answer = Ether(built)
    assert_checksums(answer)
    assert (answer[TCP].sport, answer[TCP].dport, answer[TCP].window) == (80, 4000, 0)
    assert (answer.payload.src, answer.payload.dst) == (ip.dst, ip.src)
    return answer


@pytest.mark.parametrize("ip", [FOUR, SIX], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("segment", "flags", "sequence", "acknowledgement"),
    [
        (TCP(flags="S", seq=1000), "RA", 0, 1001),
        (TCP(flags="S", seq=0xFFFFFFFF), "RA", 0, 0),
        (TCP(flags="S", seq=1000, options=[("MSS", 1460), ("WScale", 7)]), "RA", 0, 1001),
        (TCP(flags="S", seq=1000) / Raw(b"fast open"), "RA", 0, 1010),
        (TCP(flags="S", seq=1000) / Raw(bytes(9)), "RA", 0, 1010),
        (TCP(flags="F", seq=1000) / Raw(b"abc"), "RA", 0, 1004),
        (TCP(flags="", seq=1000) / Raw(b"abc"), "RA", 0, 1003),
        (TCP(flags="A", seq=1000, ack=5000), "R", 5000, 0),
        (TCP(flags="SA", seq=1000, ack=5000), "R", 5000, 0),
        (TCP(flags="FPA", seq=1000, ack=5000) / Raw(b"abc"), "R", 5000, 0),
    ],
    ids=lambda value: value.summary() if isinstance(value, Packet) else None,
)
def test_reset(ip: Packet, segment: Packet, flags: str, sequence: int, acknowledgement: int) -> None:
    """RFC 9293, section 3.10.7.1."""
    segment = segment.copy()
    segment[TCP].sport, segment[TCP].dport = 4000, 80
    for padding in (b"", b"\0\0\0\0\0\0", b"\xee\xee\xee"):
        answer = reset(ip, segment, padding)
        assert (str(answer[TCP].flags), answer[TCP].seq, answer[TCP].ack) == (flags, sequence, acknowledgement)


def test_a_reset_is_not_answered() -> None:
    for flags in ("R", "RA"):
        assert reset(FOUR, TCP(sport=4000, dport=80, flags=flags)) is None


def test_later_fragments_are_no_segments() -> None:
    segment = bytes(TCP(sport=4000, dport=80, flags="S"))
    for later in (IP(src="10.0.0.2", dst="192.0.2.9", frag=100, proto=6) / Raw(segment),
                  SIX / IPv6ExtHdrFragment(offset=100, nh=6) / Raw(segment)):
        frame = bytes(ETHER / later)
        assert not packets.is_tcp(frame)
        assert packets.reset(frame) is None


def test_arp_request() -> None:
    built = Ether(packets.solicitation(IPv4Address("172.16.3.1"), IPv4Address("172.16.3.2"), addresses.uplink(1, 3, 1)))
    assert (built.src, built.dst, built.type) == (MAC, "ff:ff:ff:ff:ff:ff", 0x0806)
    arp = built[ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.pdst, arp.hwdst) == (1, MAC, "172.16.3.2", "172.16.3.1", "00:" * 5 + "00")


def test_neighbour_solicitation() -> None:
    target = IPv6Address("2001:db8:3::12:3456")
    built = Ether(packets.solicitation(target, IPv6Address("2001:db8:3::2"), addresses.uplink(1, 3, 1)))
    assert_checksums(built)
    assert (built.src, built.dst) == (MAC, "33:33:ff:12:34:56")
    assert (built[IPv6].src, built[IPv6].dst, built[IPv6].hlim) == ("2001:db8:3::2", "ff02::1:ff12:3456", 255)
    assert built[ICMPv6ND_NS].tgt == str(target)
    assert built[ICMPv6NDOptSrcLLAddr].lladdr == MAC


def test_what_a_neighbour_told() -> None:
    told = packets.told_neighbour
    assert told(bytes(ETHER / ARP(op=2, psrc="172.16.3.1", pdst="172.16.3.2"))) == IPv4Address("172.16.3.1")
    advertisement = ICMPv6ND_NA(tgt="2001:db8:3::1") / ICMPv6NDOptDstLLAddr(lladdr=MAC)
    assert told(bytes(ETHER / SIX / advertisement)) == IPv6Address("2001:db8:3::1")
    assert told(bytes(ETHER / SIX / ICMPv6ND_NA(tgt="2001:db8:3::1"))) == IPv6Address("2001:db8:3::1")
    assert told(bytes(ETHER / FOUR / UDP())) is None
    assert told(bytes(ETHER / SIX / ICMPv6EchoRequest(data=b"x" * 40))) is None


def test_where_a_packet_goes() -> None:
    assert packets.destination(bytes(ETHER / FOUR / UDP())) == IPv4Address("192.0.2.9")
    assert packets.destination(bytes(ETHER / SIX / UDP())) == IPv6Address("2001:db8:77::9")
    no_vxlan = ETHER / FOUR / UDP(dport=4789) / Raw(b"no VXLAN at all")
    assert packets.destination(bytes(no_vxlan)) == IPv4Address("192.0.2.9")


@pytest.mark.parametrize("ip", [FOUR, IP(src="10.0.0.2", dst="192.0.2.9", options=b"\x01" * 8), SIX])
@pytest.mark.parametrize("segment", [TCP(sport=4000, dport=80, flags="S"), TCP(dport=179) / Raw(b"odd"),
                                     UDP(dport=4789) / Raw(b"no VXLAN at all")])
def test_a_checksum_that_was_left_to_the_hardware(ip: Packet, segment: Packet) -> None:
    right = bytes(ETHER / ip / segment)
    unfinished = Ether(right)
    unfinished[segment.name].chksum = 0xBEEF
    assert bytes(unfinished) != right
    for padding in (b"", b"\0" * 5):
        assert packets.with_checksum(bytes(unfinished) + padding) == right + padding
        assert packets.with_checksum(right + padding) == right + padding


@pytest.mark.parametrize(
    "packet",
    [
        FOUR / UDP(chksum=0) / Raw(b"x"),
        FOUR / ICMP(chksum=1),
        IP(src="10.0.0.2", dst="192.0.2.9", flags="MF") / UDP(chksum=1) / Raw(b"first"),
        IP(src="10.0.0.2", dst="192.0.2.9", frag=3, proto=6) / Raw(b"later fragment of a segment"),
        SIX / IPv6ExtHdrFragment(m=1) / UDP(chksum=1) / Raw(b"first"),
        IP(src="10.0.0.2", dst="192.0.2.9", proto=6) / Raw(b"short"),
        ARP(),
    ],
    ids=lambda packet: packet.summary(),
)
def test_what_has_no_checksum_to_be_computed_is_left_as_it_is(packet: Packet) -> None:
    frame = bytes(ETHER / packet)
    assert packets.with_checksum(frame) == frame
