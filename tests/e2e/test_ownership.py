"""One owner for both directions: of many random remote addresses, exactly the router that the owner table names."""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import ip_address

import pytest

from controller.explain import oracle
from controller.pipeline.groups import OWNER_NORTH, OWNER_SOUTH
from tests.e2e.helpers import SLOTS, Answer, Target, connections, echo_server
from tests.e2e.helpers_traffic import held_by, holders, push_counters, random_remotes, seeded
from topologies.lab import Lab

PORT = 7


def owners(lab: Lab, remotes: list[str]) -> dict[str, int]:
    """Return the slot that ``saga explain`` names for every remote address."""
    explainer = lab.explainer()
    return {remote: explainer.owner(ip_address(remote))["slot"] for remote in remotes}


def violations(lab: Lab, answers: list[Answer], expected: dict[str, int]) -> list[str]:
    """Return, for each open connection that is not held by its owner alone with both directions seen, what is wrong."""
    held = holders(lab)
    found = []
    for answer in answers:
        remote = answer.target.address
        if not answer.ok:
            found.append(f"{remote}: no answer ({answer.error})")
            continue
        states = [(one.slot, one.state) for one in held_by(answer, held)]
        if states != [(expected[remote], "ESTABLISHED")]:
            found.append(f"{remote}: owner is slot {expected[remote]}, held by {states}")
    return found


def connect(lab: Lab, remotes: list[str], timeout: float = 5.0):
    """Connections from A to every remote address."""
    return connections(lab.host("A"), [Target(remote, PORT) for remote in remotes], timeout, parallel=len(remotes))


def test_every_connection_is_held_by_the_owner_of_its_remote_address_alone(lab: Lab) -> None:
    remotes = random_remotes(seeded(), 400, 100)
    expected = owners(lab, remotes)
    assert expected == {remote: oracle.owner(ip_address(remote), SLOTS) for remote in remotes}
    assert min(Counter(expected.values()).values()) > 50
    push_counters(lab)
    before = {slot: lab.counters(f"t0-sr{slot}") for slot in SLOTS}
    with echo_server(lab.host("B"), PORT), connect(lab, remotes) as answers:
        assert violations(lab, answers, expected) == []
        assert {answer.peer[0] for answer in answers} == {"198.51.100.1", lab.host("A").ip6}
    push_counters(lab)
    for slot in SLOTS:
        after = lab.counters(f"t0-sr{slot}")
        for name, least in (("bp", 100), ("pn", 50), ("ps", 50), ("up", 100)):
            port = f"t0-up{slot}" if name == "up" else f"t0-sr{slot}-{name}"
            assert after[port].rx_packets - before[slot][port].rx_packets > least, f"{port}: next to nothing came in"
            assert after[port].tx_packets - before[slot][port].tx_packets > least, f"{port}: next to nothing left"


@pytest.mark.parametrize(("group", "field"), [(OWNER_NORTH, "src"), (OWNER_SOUTH, "dst")])
def test_hashing_the_wrong_field_in_one_direction_is_detected(lab: Lab, group: int, field: str) -> None:
    remotes = random_remotes(seeded(), 120, 40)
    expected = owners(lab, remotes)
    lab.stop_controller()
    right = {slot: group_text(lab, slot, group) for slot in SLOTS}
    try:
        for slot in SLOTS:
            wrong = re.sub(r"fields\([^)]*\)", f"fields(ip_{field},ipv6_{field})", right[slot])
            assert wrong != right[slot]
            lab.ofctl(f"t0-sr{slot}", "mod-group", wrong)
        with echo_server(lab.host("B"), PORT), connect(lab, remotes, timeout=1.0) as answers:
            assert len(violations(lab, answers, expected)) > len(remotes) / 2
    finally:
        lab.start_controller()
        lab.wait_settled()
    assert {slot: group_text(lab, slot, group) for slot in SLOTS} == right
    with echo_server(lab.host("B"), PORT), connect(lab, remotes) as answers:
        assert violations(lab, answers, expected) == []


def group_text(lab: Lab, slot: int, group: int) -> str:
    """Return a group of a service router as ``ovs-ofctl`` prints it and takes it back."""
    lines = lab.ofctl(f"t0-sr{slot}", "dump-groups").splitlines()
    (found,) = [line.strip() for line in lines if f"group_id={group}," in line]
    return found
