"""Service entries as matches."""

from __future__ import annotations

from controller.compile.services import family, matches, port_prefixes
from controller.model.gateway import PortRange, Service


def test_port_ranges_in_the_fewest_prefixes() -> None:
    def pieces(first: int, last: int) -> list[tuple[int, int]]:
        return list(port_prefixes(PortRange(first, last)))

    assert pieces(80, 80) == [(80, 0xFFFF)]
    assert pieces(0, 65535) == [(0, 0)]
    assert pieces(1024, 65535) == [(1024, 0xFC00), (2048, 0xF800), (4096, 0xF000), (8192, 0xE000), (16384, 0xC000),
                                   (32768, 0x8000)]
    assert pieces(8000, 8003) == [(8000, 0xFFFC)]
    assert len(pieces(1, 65534)) == 30, "the worst case"


def test_any_service_is_one_match_without_conditions() -> None:
    assert list(matches(None)) == [{}]


def test_ports_of_a_service() -> None:
    service = Service("TCP", (PortRange(1024, 1025),), (PortRange(80, 80), PortRange(443, 443)))
    assert list(matches(service)) == [
        {"ip_proto": 6, "tcp_src": (1024, 0xFFFE), "tcp_dst": (80, 0xFFFF)},
        {"ip_proto": 6, "tcp_src": (1024, 0xFFFE), "tcp_dst": (443, 0xFFFF)}]
    assert list(matches(Service("UDP", destination_ports=(PortRange(53, 53),)))) == [
        {"ip_proto": 17, "udp_dst": (53, 0xFFFF)}]
    assert list(matches(Service("UDP"))) == [{"ip_proto": 17}]


def test_icmp_services() -> None:
    assert list(matches(Service("ICMPv4"))) == [{"ip_proto": 1}]
    assert list(matches(Service("ICMPv4", icmp_type=0))) == [{"ip_proto": 1, "icmpv4_type": 0}]
    assert list(matches(Service("ICMPv6", icmp_type=1, icmp_code=0))) == [
        {"ip_proto": 58, "icmpv6_type": 1, "icmpv6_code": 0}]


def test_family() -> None:
    assert [family(Service(protocol)) for protocol in ("TCP", "UDP", "ICMPv4", "ICMPv6")] == [None, None, 4, 6]
