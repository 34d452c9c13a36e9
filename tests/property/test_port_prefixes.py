"""Port ranges as values and masks, against brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.compile.services import matches, port_prefixes
from controller.model.gateway import PortRange, Service

PORTS = st.integers(0, 65535)
RANGES = st.tuples(PORTS, PORTS).map(lambda pair: PortRange(min(pair), max(pair)))


def covered(pieces: list[tuple[int, int]]) -> list[int]:
    """Every port that a piece matches, once for each piece."""
    return [value | low for value, mask in pieces for low in range((0xFFFF & ~mask) + 1)]


@given(RANGES)
def test_exactly_the_range_is_covered_once(ports: PortRange) -> None:
    pieces = list(port_prefixes(ports))
    for value, mask in pieces:
        size = (0xFFFF & ~mask) + 1
        assert size.bit_count() == 1 and value % size == 0, "a prefix"
    assert sorted(covered(pieces)) == list(range(ports.first, ports.last + 1))


@given(RANGES)
def test_no_two_neighbouring_pieces_could_be_one(ports: PortRange) -> None:
    pieces = list(port_prefixes(ports))
    for (one, mask), (other, other_mask) in zip(pieces, pieces[1:], strict=False):
        size = (0xFFFF & ~mask) + 1
        assert mask != other_mask or one % (2 * size) != 0 or other != one + size
    assert len(pieces) <= 30


@given(st.lists(RANGES, max_size=2), st.lists(RANGES, max_size=2), PORTS, PORTS)
def test_a_service_matches_its_packets_and_no_others(sources: list[PortRange], destinations: list[PortRange],
                                                     source: int, destination: int) -> None:
    def within(ranges: list[PortRange], port: int) -> bool:
        return not ranges or any(ports.first <= port <= ports.last for ports in ranges)

    def fits(conditions: dict) -> bool:
        return all(port & conditions[name][1] == conditions[name][0]
                   for name, port in (("tcp_src", source), ("tcp_dst", destination)) if name in conditions)

    service = Service("TCP", tuple(sources), tuple(destinations))
    matched = any(fits(conditions) for conditions in matches(service))
    assert matched == (within(sources, source) and within(destinations, destination))
