"""The token bucket that bounds what routers answer."""

from __future__ import annotations

from controller.services.rate import TokenBucket


def test_a_burst_then_the_average():
    bucket = TokenBucket(per_second=10, burst=5)
    assert [bucket.take(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.take(100.25) for _ in range(4)] == [True] * 2 + [False] * 2
    assert [bucket.take(1000.0) for _ in range(6)] == [True] * 5 + [False]
