"""The controller of a lab: a real ``ryu-manager controller.app`` process with a configuration file of its own."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from topologies.errors import LabError
from topologies.expect import ExpectationError, run_and_expect
from topologies.process import end

CONFIGURATION = """\
[DEFAULT]
ofp_listen_host = {openflow_host}
ofp_tcp_listen_port = {openflow_port}
wsapi_host = 127.0.0.1
wsapi_port = {rest_port}
echo_request_interval = 2
maximum_unreplied_echo_requests = 3
gateway_file = {gateway_file}
log_file = {log}
{ovsdb}
"""


HEALTH = "/saga/v1/health"


def program(name: str) -> str:
    """Return the path of a program of this project's virtual environment; LabError if it is not installed.

    Looked for beside the running interpreter, in the active virtual environment, and in the project's ``.venv``.
    """
    places = [Path(sys.executable).parent, Path(__file__).resolve().parent.parent / ".venv" / "bin"]
    if "VIRTUAL_ENV" in os.environ:
        places.insert(1, Path(os.environ["VIRTUAL_ENV"], "bin"))
    for place in places:
        if (place / name).exists():
            return str(place / name)
    raise LabError(f"no {name} in {', '.join(map(str, places))}: run `make setup`")


def free_ports(count: int) -> list[int]:
    """Return TCP ports of the loopback address that nobody listens on.

    They are below the kernel's range for outgoing connections (32768 and up): a switch that keeps trying to reach a
    stopped controller could otherwise be given that very port and connect to itself.
    """
    found: list[int] = []
    for port in random.sample(range(20000, 32000), 1000):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise LabError("no free TCP port between 20000 and 32000")


class ControllerProcess:
    """A controller process; it can be started and stopped any number of times, always on the same ports."""

    def __init__(
        self,
        directory: Path,
        gateway_file: Path,
        openflow_port: int,
        rest_port: int,
        environment: Mapping[str, str] | None = None,
        ovsdb: Sequence[str] = (),
        openflow_host: str = "127.0.0.1",
    ) -> None:
        """Write the configuration file into ``directory``, where the log goes too.

        ``ovsdb`` are the databases of the switches, where flow tables get their names; ``openflow_host`` is the
        address where switches find the controller.
        """
        self.openflow_host = openflow_host
        self.openflow_port = openflow_port
        self.api = f"http://127.0.0.1:{rest_port}"
        self.log = directory / "controller.log"
        self._configuration = directory / "saga.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                openflow_host=openflow_host, openflow_port=openflow_port, rest_port=rest_port,
                gateway_file=gateway_file, log=self.log,
                ovsdb="\n".join(f"ovsdb = {remote}" for remote in ovsdb),
            )
        )
        self._environment = environment
        self._process: subprocess.Popen | None = None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id, None when it was not started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process (without waiting for it); LabError if it runs already."""
        if self.running:
            raise LabError("the controller runs already")
        self._process = None
        command = [program("ryu-manager"), "--config-file", str(self._configuration), "controller.app"]
        with open(self.log.with_suffix(".out"), "ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self._environment, start_new_session=True,
            )

    def stop(self) -> None:
        """Stop the process, if it runs."""
        if self._process:
            end(self._process, grace=5.0)
            self._process = None

    def tail(self, lines: int = 30) -> str:
        """Return the last lines of the log, and of what the process printed beside it."""
        found = []
        for path in (self.log, self.log.with_suffix(".out")):
            if path.exists():
                found += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(found)

    def request(self, method: str, path: str, timeout: float = 10.0) -> tuple[int, Any]:
        """Call the REST interface; return the status and the JSON body.  OSError if nobody answers."""
        request = urllib.request.Request(self.api + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, _body(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _body(error.read())

    def _wait(self, path: str, predicate: Callable[[int, Any], bool], timeout: float, what: str) -> Any:
        """Ask for ``path`` until the answer (status, body) is right; return the body.

        LabError with the last answer and the end of the log if the time (seconds) is over or the process has ended.
        """

        def answer() -> tuple[int, Any] | None:
            return self.request("GET", path, timeout=2.0) if self.running else None

        try:
            found = run_and_expect(answer, lambda seen: seen is None or predicate(*seen), timeout, what)
        except ExpectationError as error:
            raise LabError(f"not within {timeout:g} s: {what}; {_summary(error.last)}\n{self.tail()}") from error
        if found is None:
            code = self._process.returncode if self._process else "not started"
            raise LabError(f"the controller is not running (exit code {code})\n{self.tail()}")
        return found[1]

    def wait_listening(self, timeout: float = 30.0) -> None:
        """Wait until the REST interface answers; LabError as in wait_settled."""
        self._wait(HEALTH, lambda status, _: status in (200, 503), timeout, "the controller's REST interface answers")

    def wait_settled(self, timeout: float = 30.0) -> dict[str, Any]:
        """Wait until every bridge is connected and has its program; return the health document.

        Raises LabError with the last answer and the end of the log when that does not happen in ``timeout`` seconds,
        or when the process has ended.
        """
        return self._wait(
            HEALTH, lambda status, body: status == 200 and body["settled"], timeout, "the gateway is settled"
        )


def _summary(last: object) -> str:
    """Return the last answer of the health interface in short: the bridges that are not as they should be."""
    if isinstance(last, tuple) and isinstance(last[1], dict) and "bridges" in last[1]:
        states = {
            name: "not settled" if state["connected"] else "not connected"
            for name, state in last[1]["bridges"].items()
            if not state["settled"]
        }
        return f"{last[0]} {states}"
    return repr(last)


def _body(data: bytes) -> Any:
    """Return the JSON value of a body, or its text if it is none."""
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
