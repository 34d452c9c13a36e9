"""A four-edge lab without controller for the tests that only look at the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from topologies.four_edge import FourEdge
from topologies.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("four_edge", controller=False) as running:
        yield running


@pytest.fixture
def shared_uplink() -> str:
    """The four-edge gateway file with all uplinks on one subnet."""
    text = FourEdge.gateway_file.read_text()
    for k in (2, 3, 4):
        for old, new in (
            (f"172.16.{k}.2/24", f"172.16.1.{k + 1}/24"),
            (f'"2001:db8:{k}::2/64"', f'"2001:db8:1::{k + 1}/64"'),
            (f", {{ip_address: 172.16.{k}.1}}", ""),
            (f', {{ip_address: "2001:db8:{k}::1"}}', ""),
        ):
            assert old in text
            text = text.replace(old, new)
    return text
