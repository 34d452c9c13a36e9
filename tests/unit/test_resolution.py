"""Asking for neighbours: what waits, what is repeated, what is given up; by a clock that the tests turn."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controller.services.resolution import (
    NEIGHBOURS,
    RETRY_INTERVAL,
    TRIES,
    WAITING_PER_NEIGHBOUR,
    Resolution,
    Target,
)

ONE, OTHER = (Target("t0-sr1", 1, IPv4Address(address)) for address in ("172.16.1.1", "172.16.1.9"))


@pytest.fixture
def resolution() -> Resolution[str]:
    return Resolution()


def test_the_first_packet_asks_and_the_others_wait(resolution: Resolution[str]) -> None:
    assert resolution.wanted(ONE, "a", 10.0) is True
    assert resolution.wanted(ONE, "b", 10.1) is False
    assert resolution.wanted(OTHER, "c", 10.2) is True
    assert resolution.seen(ONE) == ["a", "b"]
    assert resolution.seen(ONE) == [], "a second answer releases nothing"
    assert resolution.seen(OTHER) == ["c"]


def test_an_answered_neighbour_may_be_asked_for_again(resolution: Resolution[str]) -> None:
    resolution.wanted(ONE, "a", 10.0)
    resolution.seen(ONE)
    assert resolution.wanted(ONE, "b", 10.1) is True


def test_a_question_is_repeated_and_then_given_up(resolution: Resolution[str]) -> None:
    resolution.wanted(ONE, "a", 10.0)
    resolution.wanted(ONE, "b", 10.9)
    assert resolution.due(10.0 + RETRY_INTERVAL - 0.01) == ([], [])
    now = 10.0
    for _ in range(TRIES - 1):
        now += RETRY_INTERVAL
        assert resolution.due(now) == ([ONE], [])
        assert resolution.due(now + RETRY_INTERVAL / 2) == ([], [])
    assert resolution.due(now + RETRY_INTERVAL) == ([], [(ONE, ["a", "b"])])
    assert resolution.due(now + 100) == ([], [])
    assert resolution.seen(ONE) == [], "too late"


def test_a_late_look_does_not_hurry_the_next_one(resolution: Resolution[str]) -> None:
    resolution.wanted(ONE, "a", 10.0)
    assert resolution.due(50.0) == ([ONE], [])
    assert resolution.due(50.5) == ([], []), "at most one question a second"


def test_only_so_many_packets_wait_for_one_neighbour(resolution: Resolution[str]) -> None:
    for number in range(WAITING_PER_NEIGHBOUR + 5):
        resolution.wanted(ONE, str(number), 10.0)
    assert resolution.seen(ONE) == [str(number) for number in range(WAITING_PER_NEIGHBOUR)]


def test_only_so_many_neighbours_are_remembered(resolution: Resolution[str]) -> None:
    targets = [Target("t0-sr1", 1, IPv4Address(number)) for number in range(NEIGHBOURS + 1)]
    assert [resolution.wanted(target, "x", 10.0) for target in targets] == [True] * NEIGHBOURS + [False]
    assert resolution.wanted(targets[0], "y", 10.0) is False and resolution.seen(targets[0]) == ["x", "y"]
    assert resolution.wanted(targets[-1], "x", 10.0) is True, "there is room again"


def test_a_bridge_that_is_gone_is_forgotten(resolution: Resolution[str]) -> None:
    elsewhere = Target("t0-sr2", 1, ONE.address)
    for target in (ONE, OTHER, elsewhere):
        resolution.wanted(target, "x", 10.0)
    resolution.forget("t0-sr1")
    assert resolution.due(11.0) == ([elsewhere], [])
    assert resolution.seen(ONE) == []


def test_one_address_on_two_legs_are_two_neighbours(resolution: Resolution[str]) -> None:
    assert resolution.wanted(ONE, "a", 10.0) and resolution.wanted(Target("t0-sr1", 2, ONE.address), "b", 10.0)
    assert resolution.seen(ONE) == ["a"]
