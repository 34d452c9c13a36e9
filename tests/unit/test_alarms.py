"""Alarms: raised once, brought up to date, cleared."""

from __future__ import annotations

import itertools

import pytest

from controller.alarms import Alarm, Alarms

PORT = ("port_missing", "t0", "t0-sr1", "CRITICAL", "no port t0-up1", "add it")
GONE = ("bridge_disconnected", "t0", "t0-sr2", "HIGH", "not connected", "look")


@pytest.fixture
def alarms() -> Alarms:
    return Alarms(itertools.count(100.0).__next__)


def test_an_alarm_is_new_once(alarms: Alarms) -> None:
    assert alarms.raise_alarm(*PORT) is True
    assert alarms.raise_alarm(*PORT[:4], "no port t0-up2", "add it") is False
    (alarm,) = alarms.open()
    assert alarm == Alarm(*PORT[:4], "no port t0-up2", "add it", 100.0), "what it says is new, since when is not"
    assert alarm.as_dict() == {"id": "port_missing", "gateway": "t0", "entity": "t0-sr1", "severity": "CRITICAL",
                               "cause": "no port t0-up2", "remedy": "add it", "since": 100.0}


def test_clearing(alarms: Alarms) -> None:
    alarms.raise_alarm(*PORT)
    assert alarms.clear(*PORT[:3]) is True
    assert alarms.clear(*PORT[:3]) is False
    assert alarms.open() == []
    assert alarms.raise_alarm(*PORT) is True and alarms.open()[0].since == 101.0


def test_the_oldest_comes_first(alarms: Alarms) -> None:
    alarms.raise_alarm(*PORT)
    alarms.raise_alarm(*GONE)
    alarms.raise_alarm(*PORT)
    assert [alarm.id for alarm in alarms.open()] == ["port_missing", "bridge_disconnected"]


def test_replacing_all_of_some_kinds(alarms: Alarms) -> None:
    alarms.raise_alarm(*PORT)
    alarms.raise_alarm(*GONE)
    other = (*GONE[:2], "t0-sr3", *GONE[3:])
    alarms.replace(["bridge_disconnected"], [other])
    assert [(alarm.id, alarm.entity, alarm.since) for alarm in alarms.open()] == [
        ("port_missing", "t0-sr1", 100.0), ("bridge_disconnected", "t0-sr3", 102.0)]
    alarms.replace(["bridge_disconnected"], [other])
    assert alarms.open()[1].since == 102.0, "it was open already"
    alarms.replace(iter(["bridge_disconnected", "port_missing"]), [])
    assert alarms.open() == []
