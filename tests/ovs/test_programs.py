"""Programs on a real Open vSwitch: what is installed is what was compiled, stays so, and nothing else is touched."""

from __future__ import annotations

import re

import pytest

from controller.pipeline.cookies import Category, category_of
from tests.ovs.fabric import Fabric
from tests.ovs.packets import A
from tests.process.waiting import wait_until
from tests.unit.gateways import VARIANTS, example

_COOKIE = re.compile(r"cookie=(0x[0-9a-f]+)")
LLDP = "priority=65535,dl_type=0x88cc,dl_dst=01:80:c2:00:00:0e"
BRIDGE_ALARMS = {"bridge_disconnected", "port_missing", "flows_rejected", "bridge_not_converged"}
REPAIRS = ("repaired_missing", "repaired_altered", "repaired_alien")


def flows(fabric: Fabric, bridge: str) -> list[str]:
    """Flows that the controller answers for, as ``ovs-ofctl`` prints them, without counters."""
    lines = fabric.ovs.ofctl("dump-flows", bridge, "--no-stats").splitlines()
    return sorted(line.strip() for line in lines if "actions=" in line and not is_learned(line))


def is_learned(line: str) -> bool:
    found = _COOKIE.search(line)
    return found is not None and category_of(int(found[1], 16)) == Category.LEARNED


def without_rounds(lines: list[str]) -> list[str]:
    return sorted(_COOKIE.sub(lambda found: f"cookie={int(found[1], 16) & ~(0xFFFF << 32):#x}", line)
                  for line in lines)


def groups(fabric: Fabric, bridge: str) -> list[str]:
    return sorted(line.strip() for line in fabric.ovs.ofctl("dump-groups", bridge).splitlines() if "group_id" in line)


def audit(fabric: Fabric) -> dict[str, dict]:
    """Have everything audited; return what each bridge's counters have grown by."""
    before = fabric.health()["bridges"]
    fabric.post("/saga/v1/audit")

    def done() -> dict | None:
        now = fabric.health()["bridges"]
        settled = all(now[name]["audits"] > state["audits"] and now[name]["settled"] for name, state in before.items())
        return now if settled else None

    after = wait_until(done, "the audit")
    return {name: {key: after[name][key] - state[key] for key in ("changes", "messages", *REPAIRS)}
            for name, state in before.items()}


def grown(growth: dict) -> tuple[int, int, int]:
    return tuple(growth[key] for key in REPAIRS)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_program_is_installed_and_reads_back_equal(built_fabric: Fabric, name: str) -> None:
    built_fabric.load(VARIANTS[name]())
    for bridge, program in built_fabric.programs().items():
        assert len(flows(built_fabric, bridge)) == len(program.flows) > 0, bridge
        assert len(groups(built_fabric, bridge)) == len(program.groups), bridge
        assert not program.missing, bridge
    assert BRIDGE_ALARMS.isdisjoint(alarm["id"] for alarm in built_fabric.alarms())
    assert {tuple(growth.values()) for growth in audit(built_fabric).values()} == {(0, 0, 0, 0, 0)}


@pytest.mark.parametrize(
    ("command", "arguments", "repairs"),
    [
        ("del-flows", ["table=10"], None),
        ("del-flows", ["--strict", "table=20,priority=4096,ip,reg0=0x1/0x7"], (1, 0, 0)),
        ("mod-flows", ["--strict", "table=20,priority=4096,ip,reg0=0x1/0x7,actions=goto_table:40"], (0, 1, 0)),
        ("add-flow", ["table=70,priority=9000,ip,actions=goto_table:80"], (0, 0, 1)),
        ("add-flow", ["cookie=0x5a05000100000000,table=40,priority=1,icmp,actions=drop"], (0, 0, 1)),
        ("add-flow", ["table=20,priority=4096,ip,reg0=0x1/0x7,idle_timeout=3000,actions=group:1"], (0, 1, 0)),
        ("add-group", ["group_id=77,type=all,bucket=actions=drop"], (0, 0, 1)),
        ("del-groups", ["group_id=1"], (3, 0, 0)),
        ("mod-group", ["group_id=1,type=select,bucket=bucket_id=1,actions=resubmit(,30)"], (0, 1, 0)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_audit_repairs_what_was_done_by_hand(fabric: Fabric, command: str, arguments: list[str],
                                                repairs: tuple[int, int, int] | None) -> None:
    flows_before, groups_before = flows(fabric, "t0-sr2"), groups(fabric, "t0-sr2")
    options = [word for word in arguments if word.startswith("--")]
    fabric.ovs.ofctl(*options, command, "t0-sr2", *(word for word in arguments if not word.startswith("--")))
    assert (flows(fabric, "t0-sr2"), groups(fabric, "t0-sr2")) != (flows_before, groups_before)

    growth = audit(fabric)

    assert without_rounds(flows(fabric, "t0-sr2")) == without_rounds(flows_before)
    assert groups(fabric, "t0-sr2") == groups_before
    expected = repairs or (sum("table=10," in line for line in flows_before), 0, 0)
    assert grown(growth.pop("t0-sr2")) == expected
    assert {grown(other) for other in growth.values()} == {(0, 0, 0)}, "the other bridges were left alone"


def test_learned_flows_and_topology_discovery_are_left_alone(fabric: Fabric) -> None:
    A.announce(fabric)
    fabric.ovs.ofctl("add-flow", "t0-dr", f"table=0,{LLDP},actions=CONTROLLER")
    try:
        def foreign() -> list[str]:
            lines = fabric.ovs.ofctl("dump-flows", "t0-dr", "--no-stats").splitlines()
            return [line for line in lines if is_learned(line) or "dl_type=0x88cc" in line]

        before = wait_until(lambda: found if len(found := foreign()) >= 3 else None, "the host to be learned")
        assert grown(audit(fabric)["t0-dr"]) == (0, 0, 0)
        assert foreign() == before
    finally:
        fabric.ovs.ofctl("--strict", "del-flows", "t0-dr", f"table=0,{LLDP}")


def test_only_what_differs_is_changed_and_a_change_that_is_taken_back_restores_all(fabric: Fabric) -> None:
    before = {bridge: flows(fabric, bridge) for bridge in fabric.programs()}
    changed = example()
    changed["tier0s"][0]["gateway_firewall"]["rules"][0]["sources"].append("10.0.7.0/24")

    fabric.load(changed)

    for bridge, lines in before.items():
        kept, now = set(lines), set(flows(fabric, bridge))
        assert not kept - now, f"{bridge}: flows that need not change keep even their rounds"
        assert len(now - kept) == (1 if "-sr" in bridge else 0)
    fabric.load(example())
    assert {bridge: flows(fabric, bridge) for bridge in before} == before


def test_a_port_that_goes_and_comes_back(fabric: Fabric) -> None:
    def missing() -> list[str]:
        return [alarm["cause"] for alarm in fabric.alarms() if alarm["id"] == "port_missing"]

    before = flows(fabric, "t0-sr4")
    try:
        fabric.ovs.run("ovs-vsctl", "--timeout=10", "del-port", "t0-sr4", "t0-up4")
        (cause,) = wait_until(missing, "an alarm")
        assert "t0-sr4" in cause and "t0-up4" in cause
        assert len(wait_until(lambda: flows(fabric, "t0-sr4"), "flows")) < len(before)
    finally:
        fabric.ovs.run("ovs-vsctl", "--timeout=10", *fabric.outside("t0-sr4", "t0-up4"))
    wait_until(lambda: not missing(), "the alarm to be cleared")
    assert len(wait_until(lambda: flows(fabric, "t0-sr4"), "flows")) == len(before)
