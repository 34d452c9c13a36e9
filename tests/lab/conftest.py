"""A four-edge lab without controller for the tests that only look at the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from topologies.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("four_edge", controller=False) as running:
        yield running
