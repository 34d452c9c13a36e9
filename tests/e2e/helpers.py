"""What the tests with real traffic share: labs, what is kept of a failure, servers and clients in hosts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topologies.base import GATEWAY_FILES
from topologies.errors import LabError
from topologies.expect import run_and_expect
from topologies.hosts import LabHost
from topologies.lab import Lab
from topologies.process import end

TOOLS = Path(__file__).parent / "tools"
ARTIFACTS = Path(__file__).parent.parent / "artifacts"
FOUR_EDGE = (GATEWAY_FILES / "four_edge.yaml").read_text()
SLOTS = (1, 2, 3, 4)


def edited(*changes: tuple[str, str], text: str = FOUR_EDGE) -> str:
    """Return a gateway file with texts replaced; AssertionError if one to be replaced is not there."""
    for old, new in changes:
        assert old in text, f"not in the gateway file: {old}"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def four_edge(config: Path | str | None = None, **options: Any) -> Iterator[Lab]:
    """A settled four-edge lab; ``config`` is a gateway file's path or text, ``options`` are those of Lab.

    What it holds when the block fails is kept as artifacts.
    """
    with Lab("four_edge", config=config, **options) as lab:
        try:
            lab.wait_settled()
            yield lab
        except Exception:
            keep_artifacts(lab, os.environ.get("PYTEST_CURRENT_TEST", "lab"))
            raise


def keep_artifacts(lab: Lab, test: str) -> None:
    """Write flows, groups, counters and connections of a lab and its controller's log to ``artifacts/TEST/``."""
    name = re.sub(r"[^\w.-]+", "_", test.split(" (")[0].rpartition("/")[2])
    directory = ARTIFACTS / name
    directory.mkdir(parents=True, exist_ok=True)
    (ARTIFACTS / ".gitignore").write_text("*\n")

    def keep(file: str, read) -> None:
        try:
            text = read()
        except (LabError, OSError) as error:
            text = f"could not be read: {error}\n"
        (directory / file).write_text(text)

    for bridge in lab.bridges:
        keep(f"{bridge}.flows", lambda: lab.ofctl(bridge, "dump-flows"))  # noqa: B023
        keep(f"{bridge}.groups", lambda: lab.ofctl(bridge, "dump-groups"))  # noqa: B023
        keep(f"{bridge}.ports", lambda: lab.ofctl(bridge, "dump-ports"))  # noqa: B023
    keep("conntrack", lambda: "\n".join(map(str, lab.conntrack())))
    keep("datapath", lambda: lab.appctl(lab.bridges[0], "dpctl/dump-flows", "-m"))
    keep("controller.log", lambda: lab.controller.log.read_text())
    keep("health.json", lambda: json.dumps(lab.controller.request("GET", "/saga/v1/health"), indent=1))
    keep("alarms.json", lambda: json.dumps(lab.controller.request("GET", "/saga/v1/alarms"), indent=1))
    keep("gateway.yaml", lambda: lab.gateway_file.read_text())


# --- programs in hosts


def tool(name: str, *arguments: str | int) -> list[str]:
    """Return the command line of a program of ``tools/``."""
    return [sys.executable, str(TOOLS / f"{name}.py"), *map(str, arguments)]


@contextlib.contextmanager
def echo_server(host: LabHost, *ports: int) -> Iterator[subprocess.Popen]:
    """Run ``tools/echo_server.py`` on TCP and UDP ports of every address of a host."""
    server = host.popen(tool("echo_server", *ports))
    try:
        run_and_expect(server.stdout.readline, "listening\n", timeout=10, what="the server listens")
        yield server
    finally:
        end(server)


@dataclass(frozen=True)
class Target:
    """One connection to be made.  ``source`` and ``source_port`` are the kernel's choice where empty and 0."""

    address: str
    port: int
    proto: str = "tcp"
    source: str = ""
    source_port: int = 0


@dataclass(frozen=True)
class Answer:
    """What became of a connection.

    ``near`` is the client's own (address, port); ``peer`` and ``local`` are client and server as the server sees them;
    ``error`` says why there is no answer ("timeout", "ECONNREFUSED", …), else it is empty.
    """

    target: Target
    near: tuple[str, int] | None
    peer: tuple[str, int] | None
    local: tuple[str, int] | None
    error: str

    @property
    def ok(self) -> bool:
        """True where the server has answered."""
        return not self.error


def _answer(target: Target, line: str) -> Answer:
    found = json.loads(line)

    def pair(key: str) -> tuple[str, int] | None:
        return tuple(found[key]) if found.get(key) else None

    return Answer(target, pair("near"), pair("peer"), pair("local"), found["error"])


@contextlib.contextmanager
def connections(
    host: LabHost, targets: Sequence[Target], timeout: float = 3.0, parallel: int = 64, patience: float = 60.0
) -> Iterator[list[Answer]]:
    """Connect to every target, ask the echo server there, and keep the connections open for the block.

    Yields the answers in the order of the targets.  ``timeout`` (seconds) is that of each connection, ``parallel``
    how many are attempted at a time, ``patience`` the seconds for all of them.
    """
    client = host.popen(tool("connect", timeout, parallel), stdin=subprocess.PIPE)
    try:
        client.stdin.write(json.dumps([vars(target) for target in targets]) + "\n")
        client.stdin.flush()
        lines = _lines(client, len(targets), patience)
        yield [_answer(target, line) for target, line in zip(targets, lines, strict=True)]
    finally:
        client.stdin.close()
        end(client)


def _lines(process: subprocess.Popen, count: int, patience: float) -> list[str]:
    """Read lines of a program; AssertionError with what it says if it does not print them in time."""
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    data = b""

    def more() -> int:
        nonlocal data
        part = os.read(descriptor, 1 << 20)
        assert part, f"ended: {process.stderr.read()}"
        data += part
        return data.count(b"\n")

    run_and_expect(more, lambda found: found >= count, patience, f"{count} answers")
    return data.decode().splitlines()


def ask(host: LabHost, *targets: Target, timeout: float = 3.0) -> list[Answer]:
    """Connect to every target, ask the echo server there, close, and return the answers."""
    with connections(host, targets, timeout) as answers:
        return answers
