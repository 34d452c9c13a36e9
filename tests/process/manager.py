"""``ryu-manager`` of the environment the tests run in, as a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.process.waiting import wait_until

BIN = Path(sys.prefix) / "bin"
REPOSITORY = Path(__file__).resolve().parents[2]
SCRATCH_APP = str(Path(__file__).with_name("scratch_app.py"))


def free_port() -> int:
    """A TCP port of the loopback address on which nobody listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Manager:
    """A running manager; a context manager that ends it.

    ``command`` are the words of the command line, ``config`` options for a configuration file in ``directory``.
    The ports are free ones, unless given.
    """

    def __init__(
        self,
        directory: Path,
        *command: str,
        config: dict[str, Any] | None = None,
        openflow_port: int | None = None,
        rest_port: int | None = None,
    ) -> None:
        self.openflow_port = openflow_port or free_port()
        self.rest_port = rest_port or free_port()
        self.log = directory / f"manager-{self.openflow_port}-{self.rest_port}.log"
        options = {"ofp_tcp_listen_port": self.openflow_port, "wsapi_port": self.rest_port} | (config or {})
        self.config = directory / f"{self.log.stem}.conf"
        self.config.write_text("[DEFAULT]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
        self._command = [*command, "--config-file", str(self.config)]

    def __enter__(self) -> Manager:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()

    def ready(self) -> Manager:
        """Wait until it listens for switches and for REST."""
        for port in (self.openflow_port, self.rest_port):
            wait_until(lambda port=port: self._alive() and _accepts(port), f"port {port}\n{self.output()}")
        return self

    def _alive(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output()}"
        return True

    def output(self) -> str:
        """All that it has written to its standard output and error."""
        return self.log.read_text()

    def get(self, path: str) -> Any:
        """GET a JSON document of its REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(timeout)


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False
