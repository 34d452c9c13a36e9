"""The launcher, as processes: what it listens to, how it speaks to switches, how it takes signals and mistakes."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import time
import urllib.error
from pathlib import Path
from typing import Iterator

import pytest

from tests.process import fake_switch
from tests.process.fake_switch import FakeSwitch
from tests.process.manager import BIN, SCRATCH_APP, Manager
from tests.process.private_ovs import PrivateOvs
from tests.process.waiting import wait_until

RYU_MANAGER = str(BIN / "ryu-manager")
OFCTL_REST = "ryu.app.ofctl_rest"
IMPATIENT = {"echo_request_interval": 1, "maximum_unreplied_echo_requests": 1}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    command = (RYU_MANAGER, SCRATCH_APP, OFCTL_REST)
    config = IMPATIENT | {"gateway_file": "from-the-file.yaml"}
    with Manager(tmp_path, *command, config=config) as started:
        yield started.ready()


def listening(process: subprocess.Popen[bytes]) -> set[str]:
    """Addresses (address:port) on which a process accepts TCP."""
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3] for line in lines if f"pid={process.pid}," in line}


def test_it_shakes_hands_in_openflow_15(manager: Manager) -> None:
    with FakeSwitch(manager.openflow_port, 0x77) as switch:
        hello = switch.wait_for(fake_switch.HELLO)
        switch.wait_for(fake_switch.FEATURES_REQUEST)
        wait_until(lambda: manager.get("/scratch")["connected"] == [0x77], "the application to know the switch")
        assert manager.get("/stats/switches") == [0x77]

    assert hello.version == 6
    wait_until(lambda: manager.get("/scratch")["connected"] == [], "the application to know that it is gone")


def test_a_switch_that_stops_answering_is_given_up_and_one_that_answers_is_not(manager: Manager) -> None:
    with FakeSwitch(manager.openflow_port, 1) as good, FakeSwitch(manager.openflow_port, 2) as dead:
        wait_until(lambda: manager.get("/scratch")["connected"] == [1, 2], "both switches")
        good.wait_for(fake_switch.ECHO_REQUEST)
        dead.wait_for(fake_switch.ECHO_REQUEST)

        dead.silent = True

        wait_until(lambda: manager.get("/scratch")["connected"] == [1], "the silent switch to be noticed", timeout=8)
        dead.wait_closed()
        seen = len(good.messages)
        good.wait_for(fake_switch.ECHO_REQUEST, after=seen)
        assert manager.get("/scratch")["connected"] == [1]
        assert not good.closed


def test_it_listens_on_loopback_only_and_not_on_the_old_port(manager: Manager) -> None:
    assert listening(manager.process) == {f"127.0.0.1:{manager.openflow_port}", f"127.0.0.1:{manager.rest_port}"}


def test_it_can_be_told_to_listen_elsewhere(tmp_path: Path) -> None:
    with Manager(tmp_path, RYU_MANAGER, SCRATCH_APP, config={"wsapi_host": "0.0.0.0"}) as manager:
        manager.ready()
        assert f"0.0.0.0:{manager.rest_port}" in listening(manager.process)


def test_the_gateway_file_is_an_option_of_the_file_and_a_flag_that_overrides_it(
    manager: Manager, tmp_path: Path
) -> None:
    assert manager.get("/scratch")["gateway_file"] == "from-the-file.yaml"

    command = (RYU_MANAGER, SCRATCH_APP, "--gateway-file", "from-the-flag.yaml")
    with Manager(tmp_path, *command) as flagged:
        assert flagged.ready().get("/scratch")["gateway_file"] == "from-the-flag.yaml"


def test_sigterm_ends_it_cleanly_and_soon_with_a_switch_connected(manager: Manager) -> None:
    with FakeSwitch(manager.openflow_port, 1) as switch:
        wait_until(lambda: manager.get("/scratch")["connected"] == [1], "the switch")
        before = time.monotonic()
        manager.signal(signal.SIGTERM)

        assert manager.wait() == 0
        assert time.monotonic() - before < 3
        switch.wait_closed()
    assert "Traceback" not in manager.output()


def test_sigterm_ends_it_even_when_an_application_does_not_end(manager: Manager) -> None:
    manager.get("/stick")
    manager.signal(signal.SIGTERM)

    assert manager.wait(timeout=10) == 1
    assert "the applications did not end within 5 s" in manager.output()


def test_sigint_ends_it_cleanly(manager: Manager) -> None:
    manager.signal(signal.SIGINT)

    assert manager.wait() == 0
    assert "Traceback" not in manager.output()


def test_sighup_runs_the_hooks_and_ends_nothing(manager: Manager) -> None:
    for count in (1, 2):
        manager.signal(signal.SIGHUP)
        wait_until(lambda count=count: manager.get("/scratch")["hangups"] == count, f"hang-up {count}")

    assert "one failing hook stops no other" in manager.output()
    assert manager.process.poll() is None


def test_sighup_without_hooks_ends_nothing(tmp_path: Path) -> None:
    with Manager(tmp_path, RYU_MANAGER, OFCTL_REST) as manager:
        manager.ready().signal(signal.SIGHUP)

        assert manager.get("/stats/switches") == []
        manager.signal(signal.SIGTERM)
        assert manager.wait() == 0


def test_it_starts_again_on_the_same_ports_at_once(manager: Manager, tmp_path: Path) -> None:
    with FakeSwitch(manager.openflow_port, 1):
        wait_until(lambda: manager.get("/scratch")["connected"] == [1], "the switch")
        manager.signal(signal.SIGTERM)
        assert manager.wait() == 0

    ports = {"openflow_port": manager.openflow_port, "rest_port": manager.rest_port}
    with Manager(tmp_path, RYU_MANAGER, SCRATCH_APP, **ports) as again:
        again.ready()
        with FakeSwitch(again.openflow_port, 2):
            wait_until(lambda: again.get("/scratch")["connected"] == [2], "the switch")


@pytest.mark.parametrize("taken", ["openflow_port", "rest_port"])
def test_a_second_one_on_a_port_that_is_taken_says_so_and_ends(manager: Manager, tmp_path: Path, taken: str) -> None:
    port = getattr(manager, taken)
    with Manager(tmp_path, RYU_MANAGER, SCRATCH_APP, **{taken: port}) as second:
        assert second.wait() == 1
        assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in second.output()
        assert "Traceback" not in second.output()
    assert manager.get("/scratch")["connected"] == []


def test_a_stranger_that_speaks_nonsense_harms_nobody(manager: Manager) -> None:
    zero_element = struct.pack("!BBHIHH", 6, fake_switch.HELLO, 12, 1, 9, 0)
    with FakeSwitch(manager.openflow_port, 1) as switch:
        wait_until(lambda: manager.get("/scratch")["connected"] == [1], "the switch")
        for nonsense in (zero_element, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64):
            with socket.create_connection(("127.0.0.1", manager.openflow_port), timeout=5) as stranger:
                stranger.sendall(nonsense)
        seen = len(switch.messages)
        switch.wait_for(fake_switch.ECHO_REQUEST, after=seen)
        assert manager.get("/scratch")["connected"] == [1]


@pytest.mark.parametrize("listing", ["flowdesc", "flow"])
def test_ofctl_rest_shows_the_flows_and_groups_of_a_real_switch(
    manager: Manager, tmp_path: Path, listing: str
) -> None:
    with PrivateOvs(tmp_path / "ovs") as ovs:
        ovs.add_bridge("br0")
        ovs.run("ovs-vsctl", "set", "bridge", "br0", "other_config:datapath-id=00000000000000ab")
        ovs.run("ovs-vsctl", "set-controller", "br0", f"tcp:127.0.0.1:{manager.openflow_port}")
        wait_until(lambda: 0xAB in manager.get("/stats/switches"), "the switch")
        # The flows come last, because a bridge that gets its first controller forgets those it has.
        ovs.ofctl("add-group", "br0", "group_id=3,type=select,selection_method=hash,fields(ip_dst),bucket=output:1")
        ovs.ofctl("add-flow", "br0", "priority=1,ip,actions=set_field:1->reg1,group:3")
        ovs.ofctl("add-flow", "br0", "priority=2,ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],output:1")

        flows = {flow["priority"]: flow for flow in manager.get(f"/stats/{listing}/171")["171"]}
        (group,) = manager.get("/stats/groupdesc/171")["171"]

    assert flows[1]["match"] == flows[2]["match"] == {"eth_type": 0x0800}
    (apply,) = flows[1]["instructions"]
    assert [action["type"] for action in apply["actions"]] == ["SET_FIELD", "GROUP"]
    assert flows[2]["instructions"] == []
    assert group["group_id"] == 3
    assert [action["type"] for action in group["buckets"][0]["actions"]] == ["OUTPUT"]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--config-file", "/nonexistent.conf"], "no such configuration file: /nonexistent.conf", 2),
        (["--wsapi-port", "many"], "argument --wsapi_port: Invalid Integer value: many", 1),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag", 2),
    ],
)
def test_a_mistake_on_the_command_line_is_told_in_one_line(arguments: list[str], message: str, code: int) -> None:
    done = subprocess.run([RYU_MANAGER, *arguments], capture_output=True, text=True, timeout=60)

    assert done.returncode == code
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_log_lines_have_time_level_and_name_and_nothing_else_is_said(manager: Manager) -> None:
    line = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} INFO +[\w.]+: \S.*")
    lines = manager.output().splitlines()

    assert any("ryu.base.app_manager: loading app" in text for text in lines)
    assert [text for text in lines if not line.fullmatch(text)] == []


def test_a_request_that_fails_is_logged_and_one_that_does_not_is_not(manager: Manager) -> None:
    manager.get("/scratch")
    with pytest.raises(urllib.error.HTTPError, match="500"):
        manager.get("/fail")

    wait_until(lambda: "GET /fail" in manager.output(), "the log of the failed request")
    assert "RuntimeError: this request fails" in manager.output()
    assert "GET /scratch" not in manager.output()


def test_help_names_our_option_among_ryus() -> None:
    done = subprocess.run([RYU_MANAGER, "--help"], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0
    assert "--gateway-file FILE" in done.stdout
    assert "--ofp-tcp-listen-port" in done.stdout
