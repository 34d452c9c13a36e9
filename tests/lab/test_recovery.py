"""What labs leave behind: nothing, and what a killed one leaves does not stop the next."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from topologies.errors import CommandError, LabError
from topologies.expect import run_and_expect
from topologies.lab import Lab
from topologies.record import LABS, processes_with

BUILD_AND_WAIT = """
import sys
from topologies.lab import Lab
with Lab("vm_a_to_host_b", controller=False) as lab:
    lab.host("A").run("setsid sleep 1000 >/dev/null 2>&1 &")
    lab.host("B").popen("sleep 2000")
    print("built", flush=True)
    sys.stdin.read()
"""


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def own_records() -> list[dict]:
    found = [json.loads(path.read_text()) for path in LABS.glob("*.json")]
    return [record for record in found if record["namespace"] == os.stat("/proc/self/ns/net").st_ino]


def children() -> set[str]:
    return {
        pid
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
        if "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    }


def start_and_wait() -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "built\n"
    return process


def test_labs_one_after_another_leave_nothing() -> None:
    before = interfaces(), children()
    for _ in range(2):
        with Lab("vm_a_to_host_b", controller=False) as lab:
            directory = lab.directory
            lab.host("A").run("setsid sleep 1000 >/dev/null 2>&1 &")
            background = lab.host("B").popen("sleep 2000 & sleep 2000")
            (record,) = own_records()
            assert interfaces() > before[0]
            assert len(processes_with(record["token"])) > 10
        assert background.poll() is not None
        assert processes_with(record["token"]) == []
        assert (interfaces(), children()) == before
        assert not directory.exists()
        assert own_records() == []


def test_a_lab_that_fails_half_way_leaves_nothing() -> None:
    before = interfaces(), children()
    with pytest.raises(RuntimeError, match="in the middle"), Lab("vm_a_to_host_b", controller=False):
        raise RuntimeError("in the middle")
    with pytest.raises(LabError, match="gives the interface name"):
        Lab("vm_a_to_host_b", controller=False, vms={"a-much-too-long": 2}).__enter__()
    with pytest.raises(CommandError, match="fib_multipath_hash_policy"):
        Lab("vm_a_to_host_b", controller=False, hash_policy=99).__enter__()
    assert (interfaces(), children()) == before
    assert own_records() == []


def test_interfaces_of_somebody_else_are_left_alone() -> None:
    subprocess.run(["ip", "link", "add", "t0-up2", "type", "veth", "peer", "name", "t0-sr1"], check=True)
    try:
        with pytest.raises(LabError, match="the lab makes exist already: t0-sr1, t0-up2;"):
            Lab("vm_a_to_host_b", controller=False).__enter__()
        assert {"t0-up2", "t0-sr1"} <= interfaces()
    finally:
        subprocess.run(["ip", "link", "del", "t0-up2"], check=True)
    assert own_records() == []


def test_a_second_lab_is_refused_while_one_runs() -> None:
    process = start_and_wait()
    try:
        with pytest.raises(LabError, match=rf"lab vm_a_to_host_b-\w+ is running, pid {process.pid};"):
            Lab("four_edge", controller=False).__enter__()
    finally:
        process.communicate("", timeout=20)
    assert process.returncode == 0
    assert own_records() == []


@pytest.mark.parametrize("killed", ["when complete", "before it could record its interfaces"])
def test_what_a_killed_lab_leaves_is_cleared_away_by_the_next(killed: str) -> None:
    before = interfaces()
    process = start_and_wait()
    (record,) = own_records()
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    process.stdin.close()
    process.stdout.close()
    if killed != "when complete":
        record["interfaces"] = dict.fromkeys(record["interfaces"])
        (LABS / f"{record['name']}.json").write_text(json.dumps(record))
    left = processes_with(record["token"])
    commands = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in left}
    assert {"ovs-vswitchd", "ovsdb-server", "sleep"} <= commands
    with Lab("vm_a_to_host_b", controller=False) as lab:
        assert processes_with(record["token"]) == []
        assert not Path(record["directory"]).exists()
        assert "1 received" in lab.host("R").run("ping -c 1 192.0.2.2").stdout
        assert lab.counters("t0-sr2")
    assert own_records() == []
    run_and_expect(lambda: interfaces() - before, set(), what="the interfaces are gone")
