"""Whatever hosts send, the packet services answer it or leave it; they never fail."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from controller.services import packets

FOUR, SIX = IP(src="10.0.0.2", dst="192.0.2.9"), IPv6(src="2001:db8::2", dst="2001:db8:77::9")
SEEDS = [bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / rest) for rest in (
    ARP(op=2), FOUR / ICMP(), FOUR / TCP(flags="S", options=[("MSS", 1460), ("Timestamp", (1, 2))]) / Raw(b"data"),
    FOUR / TCP(dport=179) / Raw(b"\xff" * 19), FOUR / UDP(dport=4789) / Raw(b"no VXLAN at all"),
    FOUR / UDP(sport=67, dport=68) / Raw(bytes(range(60))), FOUR / UDP(dport=520) / Raw(bytes(range(24))),
    *(IP(src="10.0.0.2", dst="192.0.2.9", proto=proto) / Raw(bytes(range(40))) for proto in (2, 47, 89, 112, 132)),
    SIX / ICMPv6EchoRequest(), SIX / ICMPv6ND_NA(), SIX / TCP() / Raw(b"data"), SIX / IPv6ExtHdrHopByHop() / UDP(),
    SIX / IPv6ExtHdrFragment(m=1) / UDP(), SIX / IPv6ExtHdrFragment(offset=2, nh=6) / Raw(bytes(20)))]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames of many protocols with some bytes changed and the end cut off."""
    frame = bytearray(draw(st.sampled_from(SEEDS)))
    for position, value in draw(st.lists(st.tuples(st.integers(12, len(frame) - 1), st.integers(0, 255)), max_size=4)):
        frame[position] = value
    return bytes(frame[:draw(st.integers(14, len(frame)))])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=1500, deadline=None)
@given(frames())
def test_no_frame_makes_the_services_fail(frame: bytes) -> None:
    error = packets.icmp_error(frame, IPv4Address("10.0.0.1"), IPv6Address("2001:db8::1"), packets.TIME_EXCEEDED,
                               packets.V6_TIME_EXCEEDED)
    assert error is None or len(error) <= 14 + 1280
    reset = packets.reset(frame)
    assert reset is None or packets.is_tcp(frame)
    packets.told_neighbour(frame)
    assert len(packets.with_checksum(frame)) == len(frame)
    assert error is None or packets.destination(frame) is not None


@given(st.binary(max_size=80))
def test_nor_does_rubbish(frame: bytes) -> None:
    packets.icmp_error(frame, None, None, packets.TIME_EXCEEDED, packets.V6_TIME_EXCEEDED)
    packets.reset(frame)
    packets.told_neighbour(frame)
    assert len(packets.with_checksum(frame)) == len(frame)
    packets.destination(frame)
