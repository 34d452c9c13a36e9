"""The controller as people start it, and a switch that speaks OpenFlow 1.5 to it over TCP."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator

import pytest

from tests.process import fake_switch
from tests.process.fake_switch import LOCAL_PORT, FakeSwitch, Message
from tests.process.manager import BIN, REPOSITORY, Manager
from tests.process.waiting import wait_until

RYU_MANAGER = str(BIN / "ryu-manager")
FOUR_EDGE = REPOSITORY / "etc" / "gateways" / "four_edge.yaml"
NORTH_PUNT = {LOCAL_PORT: "t0-pn"} | {slot: f"t0-pn-sr{slot}" for slot in (1, 2, 3, 4)}
ROUTER = {LOCAL_PORT: "t0-sr1", 1: "t0-sr1-bp", 2: "t0-sr1-pn", 3: "t0-sr1-ps", 4: "t0-up1"}
IMPATIENT = {"echo_request_interval": 1, "maximum_unreplied_echo_requests": 1}


@pytest.fixture
def gateway_file(tmp_path: Path) -> Path:
    copy = tmp_path / "gateway.yaml"
    copy.write_text(FOUR_EDGE.read_text())
    return copy


@pytest.fixture
def controller(tmp_path: Path, gateway_file: Path) -> Iterator[Manager]:
    config = IMPATIENT | {"gateway_file": gateway_file}
    with Manager(tmp_path, RYU_MANAGER, "controller.app", config=config) as manager:
        yield manager.ready()


def bridge(controller: Manager, name: str) -> dict[str, object]:
    return controller.get("/saga/v1/health")["bridges"][name]


def bundle_steps(messages: list[Message]) -> list[int]:
    """Steps (open, commit, …) of the bundle messages, with -1 for each message put into a bundle."""
    steps = {fake_switch.BUNDLE_ADD_MESSAGE: lambda body: -1}
    steps[fake_switch.BUNDLE_CONTROL] = lambda body: struct.unpack_from("!H", body, 4)[0]
    return [steps[message.kind](message.body) for message in messages if message.kind in steps]


def test_the_example_configuration_starts_it_as_the_documentation_says(tmp_path: Path) -> None:
    example = str(REPOSITORY / "etc" / "saga.conf")
    with Manager(tmp_path, RYU_MANAGER, "controller.app", "--config-file", example) as manager:
        health = manager.ready().get("/saga/v1/health")

    assert health["status"] == "ok"
    assert health["gateways"] == ["t0"]
    assert health["settled"] is False


def test_it_programs_a_bridge_in_one_bundle_and_says_so(controller: Manager) -> None:
    assert bridge(controller, "t0-sr1")["connected"] is False

    with FakeSwitch(controller.openflow_port, 0xAA, ROUTER) as switch:
        wait_until(lambda: bridge(controller, "t0-sr1")["settled"], "the bridge to be settled")
        messages = list(switch.messages)

        assert bridge(controller, "t0-sr1")["connected"] is True
        assert controller.get("/saga/v1/health")["settled"] is False, "the other bridges are not there"

    steps = bundle_steps(messages)
    assert steps[0] == fake_switch.BUNDLE_OPEN_REQUEST
    assert steps[-1] == fake_switch.BUNDLE_COMMIT_REQUEST
    assert set(steps[1:-1]) - {2} == {-1}, "nothing but added messages and a close request in between"
    kinds = [message.body[9] for message in messages if message.kind == fake_switch.BUNDLE_ADD_MESSAGE]
    assert set(kinds) == {fake_switch.GROUP_MOD, fake_switch.FLOW_MOD}
    assert kinds.index(fake_switch.GROUP_MOD) < kinds.index(fake_switch.FLOW_MOD), "groups come before flows"
    directly = {message.kind for message in messages} & {fake_switch.GROUP_MOD, fake_switch.FLOW_MOD}
    assert directly == set(), "nothing is changed outside the bundle"
    wait_until(lambda: not bridge(controller, "t0-sr1")["connected"], "the end of the connection to be noticed")


def test_a_bridge_that_refuses_its_program_is_not_settled_and_there_is_an_alarm(controller: Manager) -> None:
    with FakeSwitch(controller.openflow_port, 0xAA, NORTH_PUNT) as switch:
        switch.refusing = True
        wait_until(lambda: fake_switch.BUNDLE_COMMIT_REQUEST in bundle_steps(switch.messages), "the commit request")
        wait_until(
            lambda: {alarm["id"] for alarm in controller.get("/saga/v1/alarms") if alarm["entity"] == "t0-pn"},
            "an alarm about the bridge",
        )
        assert bridge(controller, "t0-pn")["settled"] is False


def test_a_bridge_that_stops_answering_is_noticed(controller: Manager) -> None:
    with FakeSwitch(controller.openflow_port, 0xAA, NORTH_PUNT) as switch:
        wait_until(lambda: bridge(controller, "t0-pn")["connected"], "the bridge")
        switch.wait_for(fake_switch.ECHO_REQUEST)
        switch.silent = True
        wait_until(lambda: not bridge(controller, "t0-pn")["connected"], "the silence to be noticed", timeout=8)


def test_a_foreign_bridge_is_left_alone(controller: Manager) -> None:
    with FakeSwitch(controller.openflow_port, 0xBB, {LOCAL_PORT: "br0", 1: "eth0"}) as foreign:
        with FakeSwitch(controller.openflow_port, 0xAA, NORTH_PUNT):
            wait_until(lambda: bridge(controller, "t0-pn")["settled"], "our bridge to be settled")
        foreign.wait_for(fake_switch.ECHO_REQUEST)
        assert bundle_steps(foreign.messages) == []
        assert {message.kind for message in foreign.messages} & {fake_switch.GROUP_MOD, fake_switch.FLOW_MOD} == set()


def test_it_ends_cleanly_with_a_bridge_connected(controller: Manager) -> None:
    with FakeSwitch(controller.openflow_port, 0xAA, NORTH_PUNT):
        wait_until(lambda: bridge(controller, "t0-pn")["settled"], "the bridge to be settled")
        controller.signal(signal.SIGTERM)
        assert controller.wait(timeout=4) == 0
    assert "Traceback" not in controller.output()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param((RYU_MANAGER, "controller.app", "ryu.app.ofctl_rest"), id="ryu-manager"),
        pytest.param((str(BIN / "saga-manager"), "ryu.app.ofctl_rest"), id="saga-manager"),
        pytest.param((sys.executable, "-m", "controller", "ryu.app.ofctl_rest"), id="python -m controller"),
        pytest.param((RYU_MANAGER, "controller/app.py", "ryu.app.ofctl_rest"), id="by file name"),
    ],
)
def test_it_runs_together_with_ryus_rest(tmp_path: Path, command: tuple[str, ...]) -> None:
    with Manager(tmp_path, *command, config={"gateway_file": FOUR_EDGE}) as manager:
        manager.ready()
        with FakeSwitch(manager.openflow_port, 0xAA, NORTH_PUNT):
            wait_until(lambda: bridge(manager, "t0-pn")["settled"], "the bridge to be settled")
            assert manager.get("/stats/switches") == [0xAA]


def test_a_bad_gateway_file_is_refused_at_the_start(tmp_path: Path, gateway_file: Path) -> None:
    gateway_file.write_text(gateway_file.read_text().replace("ha_mode:", "ha_mod:"))
    with Manager(tmp_path, RYU_MANAGER, "controller.app", config={"gateway_file": gateway_file}) as manager:
        assert manager.wait() == 2
        assert "tier0s[0].ha_mod" in manager.output()
        assert "Traceback" not in manager.output()


def test_without_a_gateway_file_it_says_which_option_is_missing(tmp_path: Path) -> None:
    with Manager(tmp_path, RYU_MANAGER, "controller.app") as manager:
        assert manager.wait() == 2
        assert "gateway_file" in manager.output()
        assert "Traceback" not in manager.output()


def test_reload_takes_a_good_file_and_leaves_everything_with_a_bad_one(
    controller: Manager, gateway_file: Path
) -> None:
    good = gateway_file.read_text()
    reload = urllib.request.Request(f"http://127.0.0.1:{controller.rest_port}/saga/v1/reload", method="POST")

    gateway_file.write_text(good.replace("IP_HASH", "BY_COLOUR"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(reload, timeout=10)
    assert refused.value.code == 400
    assert "redirection_policy" in refused.value.read().decode()
    controller.signal(signal.SIGHUP)
    wait_until(lambda: "redirection_policy" in controller.output(), "the refusal in the log")
    assert controller.get("/saga/v1/gateways")[0]["redirection_policy"] == "IP_HASH"

    gateway_file.write_text(good.replace("dr_ecmp: five-tuple", "dr_ecmp: aligned"))
    controller.signal(signal.SIGHUP)
    wait_until(lambda: controller.get("/saga/v1/gateways")[0]["dr_ecmp"] == "aligned", "the good file to be taken")


def test_ryus_own_manager_still_does_not_start() -> None:
    """Negative control: the day this fails, our launcher's shim is no longer needed."""
    script = "import eventlet; eventlet.monkey_patch(); from ryu.cmd.manager import main"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert "ALREADY_HANDLED" in done.stderr
