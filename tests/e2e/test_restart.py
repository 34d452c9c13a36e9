"""The controller stops, is killed, and starts again under traffic: nothing is lost, nothing is changed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.helpers import Target, ask, echo_server, tool
from tests.e2e.helpers_flows import all_flows, changed_since, groups
from tests.e2e.helpers_traffic import random_remotes, seeded
from topologies.expect import run_and_expect
from topologies.lab import Lab
from topologies.process import end

ECHO, STREAM = 7, 5001
RATE = 20_000_000
"""Bytes per second of the download: it must last, not be fast."""
PINGS_PER_SECOND = 100


class Ping:
    """A running ping; ``sent``, ``received`` and ``rate`` (packets per second) are there when it has been stopped."""

    def __init__(self, lab: Lab, remote: str) -> None:
        self._file = lab.directory / "ping"
        self.rate = 0.0
        with self._file.open("w") as output:
            command = ["ping", "-n", "-i", str(1 / PINGS_PER_SECOND), remote]
            self.process = lab.host("A").popen(command, stdout=output)

    def answers(self) -> int:
        """Return how many answers have come."""
        return self._file.read_text().count("bytes from")

    def more(self, count: int) -> None:
        """Wait for more answers."""
        wanted = self.answers() + count
        run_and_expect(self.answers, lambda found: found >= wanted, what=f"{count} answers")

    def stop(self) -> None:
        """Let ping count."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=10)
        counts = re.search(r"(\d+) packets transmitted, (\d+) received.* time (\d+)ms", self._file.read_text())
        self.sent, self.received, milliseconds = map(int, counts.groups())
        self.rate = self.sent / milliseconds * 1000


@contextlib.contextmanager
def pinging(lab: Lab, remote: str) -> Iterator[Ping]:
    """Ping from A during the block and a moment before and after."""
    ping = Ping(lab, remote)
    try:
        ping.more(PINGS_PER_SECOND // 4)
        yield ping
        ping.more(PINGS_PER_SECOND // 4)
        ping.stop()
    finally:
        end(ping.process)


@contextlib.contextmanager
def downloading(lab: Lab, remote: str) -> Iterator[list[str]]:
    """Download to A during the block; after it, the list has what B says it sent and A that it received."""
    result: list[str] = []
    server = lab.host("B").popen(tool("stream", "serve", STREAM, RATE), stdin=subprocess.PIPE)
    try:
        run_and_expect(server.stdout.readline, "listening\n", what="B listens")
        client = lab.host("A").popen(tool("stream", "receive", remote, STREAM))
        try:
            run_and_expect(client.stdout.readline, "receiving\n", what="A receives")
            yield result
            result += [server.communicate("", timeout=20)[0], client.communicate(timeout=20)[0]]
        finally:
            end(client)
    finally:
        end(server)


def stop(lab: Lab) -> None:
    """Stop the controller as an administrator does."""
    lab.stop_controller()


def kill(lab: Lab) -> None:
    """End the controller without warning."""
    os.kill(lab.controller.pid, signal.SIGKILL)
    run_and_expect(lambda: not lab.controller.running, what="the controller is dead")


def disconnected(lab: Lab) -> bool:
    """Tell whether no bridge has a connection to the controller any more (the database says so seconds later)."""
    return not lab.run(f"ss -Htn state established dport = :{lab.controller.openflow_port}").stdout


@pytest.mark.parametrize("end_controller", [stop, kill])
def test_no_packet_is_lost_and_no_flow_changed(lab: Lab, end_controller: Callable[[Lab], None]) -> None:
    remotes = random_remotes(seeded(), 200, 50)
    pinged, loaded, new = two_owners_and_the_rest(lab, remotes)
    with echo_server(lab.host("B"), ECHO), pinging(lab, pinged) as ping, downloading(lab, loaded) as download:
        before = all_flows(lab)
        rounds = {name: state["round"] for name, state in lab.wait_settled()["bridges"].items()}
        assert all(rounds.values())
        groups_before = {bridge: groups(lab, bridge) for bridge in lab.bridges}
        end_controller(lab)
        run_and_expect(lambda: disconnected(lab), what="the bridges have noticed")
        answers = ask(lab.host("A"), *(Target(remote, ECHO) for remote in new), timeout=5.0)
        assert [answer for answer in answers if not answer.ok] == []
        assert changed_since(lab, before) == {}
        for bridge in lab.bridges:
            assert lab.vsctl(bridge, "get-fail-mode", bridge).strip() == "secure"
        lab.start_controller()
        health = lab.wait_settled()
        assert changed_since(lab, before) == {}
        assert {bridge: groups(lab, bridge) for bridge in lab.bridges} == groups_before
        assert {name: state["changes"] for name, state in health["bridges"].items()} == dict.fromkeys(lab.bridges, 0)
        assert {name: state["round"] for name, state in health["bridges"].items()} == rounds
    assert ping.received == ping.sent
    assert ping.rate > PINGS_PER_SECOND / 2
    sent, received = download
    assert sent == received
    assert int(sent.split()[0]) >= RATE


def two_owners_and_the_rest(lab: Lab, remotes: list[str]) -> tuple[str, str, list[str]]:
    """Return two IPv4 addresses of different owners, and the other addresses."""
    four = [remote for remote in remotes if ":" not in remote]
    first = four[0]
    second = next(remote for remote in four if lab.owner(remote)["slot"] != lab.owner(first)["slot"])
    return first, second, [remote for remote in remotes if remote not in (first, second)]
