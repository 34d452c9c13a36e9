"""What isolated labs leave behind, whatever state their edges are in: nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.test_recovery import children, interfaces, own_records
from topologies.errors import LabError
from topologies.expect import run_and_expect
from topologies.lab import Lab
from topologies.record import processes_with

BUILD_AND_WAIT = """
import sys
from topologies.lab import Lab
with Lab("four_edge", isolated=True, controller=False) as lab:
    lab.fail_edge("edge1", "power")
    lab.fail_edge("edge2", "crash")
    lab.fail_edge("edge3", "freeze")
    print("built", flush=True)
    sys.stdin.read()
"""


def namespaces_of(token: str) -> set[int]:
    """Return the network namespaces that processes with a lab's token are in."""
    return {os.stat(f"/proc/{pid}/ns/net").st_ino for pid in processes_with(token)}


@pytest.mark.parametrize("fault", [None, "power", "crash", "freeze", "link", "management"])
def test_an_isolated_lab_leaves_nothing(fault: str | None) -> None:
    before = interfaces(), children()
    with Lab("vm_a_to_host_b", isolated=True, controller=False) as lab:
        directory = lab.directory
        (record,) = own_records()
        assert {"mgmt1", "mgmt2", "t0-pn-sr2"} <= interfaces()
        assert len(namespaces_of(record["token"])) == 7, "A, R, B, two edges, the parking place, and the lab's own"
        if fault:
            lab.fail_edge("edge2", fault)
    assert processes_with(record["token"]) == []
    assert (interfaces(), children()) == before
    assert not directory.exists()
    assert own_records() == []


def test_an_edge_that_fails_to_start_takes_the_lab_down(monkeypatch: pytest.MonkeyPatch) -> None:
    before = interfaces(), children()
    monkeypatch.setattr("topologies.ovs.SCHEMA", Path("/nonexistent"))
    with pytest.raises(LabError, match="no /nonexistent: install openvswitch-switch"):
        Lab("vm_a_to_host_b", isolated=True, controller=False).__enter__()
    assert (interfaces(), children()) == before
    assert own_records() == []


def test_what_a_killed_isolated_lab_leaves_is_cleared_away_by_the_next() -> None:
    before = interfaces()
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "built\n"
    (record,) = own_records()
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    process.stdin.close()
    process.stdout.close()
    assert len(namespaces_of(record["token"])) > 4
    with Lab("four_edge", isolated=True, controller=False) as lab:
        assert processes_with(record["token"]) == []
        assert not Path(record["directory"]).exists()
        assert lab.counters("t0-sr1") and lab.counters("t0-sr2") and lab.counters("t0-sr3")
        assert "1 received" in lab.host("R").run("ping -c 1 192.0.2.2").stdout
    assert own_records() == []
    run_and_expect(lambda: {name for _, name in socket.if_nameindex()} - before, set(), what="the interfaces are gone")


def test_uplinks_on_one_subnet_end_at_a_switch_outside_the_edges(shared_uplink: str) -> None:
    with Lab("four_edge", config=shared_uplink, isolated=True, controller=False) as lab:
        lab.fail_edge("edge4", "port:t0-up4")
        run_and_expect(lambda: "LINK_DOWN" in lab.ofctl("ext1", "dump-ports-desc", "ext1-p4"))
        assert "LINK_DOWN" not in lab.ofctl("ext1", "dump-ports-desc", "ext1-p3")
        assert "LOWER_UP" in lab.host("R").run("ip -br link show R-ext1").stdout


def test_in_a_shared_lab_only_cables_can_fail() -> None:
    with Lab("vm_a_to_host_b", controller=False) as lab:
        lab.fail_edge("edge2", "port:t0-up2")
        assert "NO-CARRIER" in lab.host("R").run("ip -br link show R-up2").stdout
        with pytest.raises(LabError, match="edge2 has failed already: port:t0-up2"):
            lab.fail_edge("edge2", "port:t0-up2")
        lab.restore_edge("edge2")
        run_and_expect(lambda: "LOWER_UP" in lab.host("R").run("ip -br link show R-up2").stdout)
        with pytest.raises(LabError, match=r"t0-sr2-pn is a patch port, .*isolated=True"):
            lab.fail_edge("edge2", "port:t0-sr2-pn")
        for how in ("link", "power", "crash", "freeze", "management"):
            with pytest.raises(LabError, match=f"edge2 cannot fail by '{how}': .* of one Open vSwitch; .*isolated"):
                lab.fail_edge("edge2", how)
