"""What routers do with the packets that their flows hand over."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from controller.compile import actions as a
from controller.model import loads
from controller.openflow.packet_in import PacketIn
from controller.pipeline import addresses, tables
from controller.pipeline import fields as f
from controller.services.answers import ERRORS_AT_ONCE, ERRORS_PER_SECOND, ROUTED, Answers, Send
from controller.services.resolution import RETRY_INTERVAL, TRIES
from tests.unit.gateways import Document, example, two_groups

SR, DR = "t0-sr3", "t0-dr"
FRAME = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
DATAGRAM = FRAME / IP(src="10.0.0.2", dst="192.0.2.9") / UDP() / Raw(b"data")
DATAGRAM6 = FRAME / IPv6(src="2001:db8:a::2", dst="2001:db8:77::9") / UDP() / Raw(b"data")
SEGMENT = FRAME / IP(src="10.0.0.2", dst="192.0.2.9") / TCP(sport=4000, dport=80, flags="S", seq=5)


def answers_of(document: Document) -> Answers:
    return Answers(loads(json.dumps(document)))


@pytest.fixture
def answers() -> Answers:
    return answers_of(example())


def handed_over(reason: a.Reason, frame: Packet, *marks: f.Mark) -> PacketIn:
    """A packet with the marks it carries."""
    registers: dict[int, int] = {}
    for mark in marks:
        if mark.field.register.startswith("xxreg"):
            for word in range(4):
                registers[4 * int(mark.field.register[5:]) + word] = mark.value >> 32 * (3 - word) & 0xFFFFFFFF
        else:
            number = int(mark.field.register[3:])
            registers[number] = registers.get(number, 0) | mark.value << mark.field.first
    return PacketIn(reason, registers, bytes(frame))


FROM_INSIDE, FROM_UPLINK = f.INGRESS.at(f.BACKPLANE_INTERFACE), f.INGRESS.at(1)
TO_UPLINK = f.EGRESS.at(1)


def only(sends: list[Send]) -> tuple[Send, Packet]:
    (send,) = sends
    return send, Ether(send.data)


def test_a_mark_is_found_again_in_the_registers() -> None:
    packet = handed_over(a.Reason.RESOLVE, DATAGRAM, f.INGRESS.at(7), f.NORTH, f.NEXT_HOP_6.at(0x20010DB8 << 96 | 9))
    assert packet.value(f.INGRESS) == 7 and packet.value(f.DIRECTION) == 1 and packet.value(f.EGRESS) == 0
    assert packet.value(f.NEXT_HOP_6) == int(IPv6Address("2001:db8::9"))


@pytest.mark.parametrize(
    ("bridge", "ingress", "source4", "source6"),
    [
        (SR, FROM_UPLINK, "172.16.3.2", "2001:db8:3::2"),
        (SR, FROM_INSIDE, "169.254.0.4", "2001:db8:3::2"),
        (DR, f.INGRESS.at(1), "10.0.0.1", "2001:db8:a::1"),
        (DR, FROM_INSIDE, "169.254.0.1", "2001:db8:a::1"),
    ],
)
def test_an_expired_packet_is_answered_by_the_interface_it_came_in_by(answers: Answers, bridge: str, ingress: f.Mark,
                                                                      source4: str, source6: str) -> None:
    send, error = only(answers.handle(bridge, handed_over(a.Reason.TTL_EXPIRED, DATAGRAM, ingress), 1.0))
    assert (error[IP].src, error[IP].dst, error[ICMP].type, error[ICMP].code) == (source4, "10.0.0.2", 11, 0)
    assert send.bridge == bridge and send.actions == ROUTED
    _, error6 = only(answers.handle(bridge, handed_over(a.Reason.TTL_EXPIRED, DATAGRAM6, ingress), 1.0))
    assert (error6[IPv6].src, error6[IPv6].dst) == (source6, "2001:db8:a::2")


@pytest.mark.parametrize(
    ("reason", "kind4", "kind6"),
    [(a.Reason.NO_ROUTE, (3, 0), (1, 0)), (a.Reason.REJECTED, (3, 13), (1, 1))],
)
def test_kinds_of_errors(answers: Answers, reason: a.Reason, kind4: tuple[int, int], kind6: tuple[int, int]) -> None:
    _, error = only(answers.handle(SR, handed_over(reason, DATAGRAM, FROM_INSIDE), 1.0))
    assert (error[ICMP].type, error[ICMP].code) == kind4
    _, error6 = only(answers.handle(SR, handed_over(reason, DATAGRAM6, FROM_INSIDE), 1.0))
    assert (error6[ICMPv6DestUnreach].type, error6[ICMPv6DestUnreach].code) == kind6


def test_a_closed_port_is_answered_by_the_address_that_was_asked(answers: Answers) -> None:
    datagram = FRAME / IP(src="10.0.0.2", dst="172.16.3.2") / UDP()
    _, error = only(answers.handle(SR, handed_over(a.Reason.PORT_CLOSED, datagram, FROM_INSIDE), 1.0))
    assert (error[IP].src, error[ICMP].type, error[ICMP].code) == ("172.16.3.2", 3, 3)


@pytest.mark.parametrize("reason", [a.Reason.REJECTED, a.Reason.PORT_CLOSED])
def test_a_segment_that_is_refused_is_reset(answers: Answers, reason: a.Reason) -> None:
    send, reset = only(answers.handle(SR, handed_over(reason, SEGMENT, FROM_INSIDE), 1.0))
    assert (reset[IP].src, reset[IP].dst, str(reset[TCP].flags), reset[TCP].ack) == ("192.0.2.9", "10.0.0.2", "RA", 6)
    assert send.actions == ROUTED


def test_a_segment_that_has_expired_is_not_reset(answers: Answers) -> None:
    _, error = only(answers.handle(SR, handed_over(a.Reason.TTL_EXPIRED, SEGMENT, FROM_INSIDE), 1.0))
    assert error[ICMP].type == 11


def test_no_error_about_an_error_or_about_what_the_router_made_itself(answers: Answers) -> None:
    about = FRAME / IP(src="10.0.0.2", dst="192.0.2.9") / ICMP(type=3) / IP() / UDP()
    assert answers.handle(SR, handed_over(a.Reason.TTL_EXPIRED, about, FROM_INSIDE), 1.0) == []
    own = handed_over(a.Reason.NO_ROUTE, DATAGRAM, FROM_INSIDE, f.ORIGINATED.at(1))
    assert answers.handle(SR, own, 1.0) == []


def test_a_bridge_without_a_router(answers: Answers) -> None:
    assert answers.handle("t0-pn", handed_over(a.Reason.TTL_EXPIRED, DATAGRAM), 1.0) == []


def reply(address: str) -> PacketIn:
    frame = FRAME / ARP(op=2, psrc=address, hwsrc="02:00:00:00:00:07", pdst="172.16.3.2")
    return handed_over(a.Reason.NEIGHBOUR_SEEN, frame, FROM_UPLINK)


def test_a_next_hop_is_asked_for_once_and_the_packets_follow_the_answer(answers: Answers) -> None:
    next_hop = f.NEXT_HOP_4.at(int(IPv4Address("172.16.3.1")))
    first = handed_over(a.Reason.RESOLVE, DATAGRAM, FROM_INSIDE, TO_UPLINK, next_hop)
    second = handed_over(a.Reason.RESOLVE, SEGMENT, FROM_INSIDE, TO_UPLINK, next_hop)

    send, request = only(answers.handle(SR, first, 1.0))
    assert answers.handle(SR, second, 1.2) == []
    assert (request[ARP].op, request[ARP].psrc, request[ARP].pdst) == (1, "172.16.3.2", "172.16.3.1")
    assert request.src == addresses.text(addresses.uplink(1, 3, 1))
    assert send.actions == (a.SetMark(TO_UPLINK), a.SetMark(f.RESOLVED.at(1)), a.Resubmit(tables.OUT))

    assert answers.handle(SR, reply("172.16.3.99"), 1.3) == [], "somebody else"
    released = answers.handle(SR, reply("172.16.3.1"), 1.4)
    assert [send.data for send in released] == [first.data, second.data]
    for send in released:
        assert send.actions == (a.SetMark(TO_UPLINK), a.SetMark(next_hop), a.SetMark(f.NEXT_HOP_6.at(0)),
                                a.Resubmit(tables.NEIGHBOUR), a.Resubmit(tables.OUT))
    assert answers.handle(SR, reply("172.16.3.1"), 1.5) == []


def test_a_destination_on_the_link_is_asked_for_itself(answers: Answers) -> None:
    packet = FRAME / IPv6(src="2001:db8:a::2", dst="2001:db8:3::77") / UDP()
    _, request = only(answers.handle(SR, handed_over(a.Reason.RESOLVE, packet, FROM_INSIDE, TO_UPLINK), 1.0))
    assert (request[ICMPv6ND_NS].tgt, request[IPv6].src) == ("2001:db8:3::77", "2001:db8:3::2")
    answer = FRAME / IPv6(src="2001:db8:3::77", dst="2001:db8:3::2", hlim=255) / ICMPv6ND_NA(tgt="2001:db8:3::77")
    (released,) = answers.handle(SR, handed_over(a.Reason.NEIGHBOUR_SEEN, answer, FROM_UPLINK), 1.1)
    assert released.data == bytes(packet)


def test_a_neighbour_that_does_not_answer(answers: Answers) -> None:
    packet = FRAME / IP(src="10.0.0.9", dst="10.0.0.77") / UDP()
    answers.handle(DR, handed_over(a.Reason.RESOLVE, packet, f.INGRESS.at(1), f.EGRESS.at(1)), 1.0)
    now = 1.0
    for _ in range(TRIES - 1):
        now += RETRY_INTERVAL
        _, request = only(answers.tick(now))
        assert request[ARP].pdst == "10.0.0.77"
    _, error = only(answers.tick(now + RETRY_INTERVAL))
    assert (error[IP].src, error[IP].dst, error[ICMP].type, error[ICMP].code) == ("10.0.0.1", "10.0.0.9", 3, 1)
    assert answers.tick(now + 100) == []


def test_nobody_is_asked_for_what_is_on_no_link_of_the_leg(answers: Answers) -> None:
    packet = handed_over(a.Reason.RESOLVE, DATAGRAM, FROM_INSIDE, TO_UPLINK)
    assert answers.handle(SR, packet, 1.0) == []
    assert answers.handle(SR, handed_over(a.Reason.RESOLVE, FRAME / ARP(), TO_UPLINK), 1.0) == []


def test_configured_next_hops_are_refreshed_bridge_by_bridge(answers: Answers) -> None:
    four, six = (Ether(send.data) for send in answers.refresh(SR))
    assert four[ARP].pdst == "172.16.3.1" and six[ICMPv6ND_NS].tgt == "2001:db8:3::1"
    assert answers.refresh(DR) == [] and answers.refresh("t0-pn") == []


def test_the_right_address_of_a_leg_with_several(answers: Answers) -> None:
    several = answers_of(two_groups())
    packet = FRAME / IP(src="192.0.2.1", dst="10.0.2.50") / UDP()
    _, request = only(several.handle(DR, handed_over(a.Reason.RESOLVE, packet, f.EGRESS.at(2)), 1.0))
    assert (request[ARP].psrc, request[ARP].pdst) == ("10.0.2.1", "10.0.2.50")
    assert several.routers.keys() == {DR, "t0-sr1", "t0-sr2", SR, "t0-sr4"} == answers.routers.keys()


def test_a_router_does_not_answer_a_flood_for_ever(answers: Answers) -> None:
    expired = handed_over(a.Reason.TTL_EXPIRED, DATAGRAM, FROM_INSIDE)
    sent = sum(len(answers.handle(SR, expired, now=50.0)) for _ in range(2 * ERRORS_AT_ONCE))
    assert sent == ERRORS_AT_ONCE
    assert len(answers.handle("t0-sr1", expired, now=50.0)) == 1, "each router has its own bound"
    later = sum(len(answers.handle(SR, expired, now=51.0)) for _ in range(2 * ERRORS_AT_ONCE))
    assert later == ERRORS_PER_SECOND
