"""A network namespace that can be filled, emptied at a stroke, and made again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from topologies.errors import LabError
from topologies.expect import run_and_expect
from topologies.process import Result, run

# The ends of cables in here are ports of a switch; their kernel must not speak (see links.VethIntf).
_HOLD = """
ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 && echo ready && exec sleep infinity
"""


class Namespace:
    """A network namespace, held by a process of its own; ``start`` and ``kill`` may follow each other any number of
    times.  ``environment`` is that of everything started in it.
    """

    def __init__(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._environment = environment
        self._holder: subprocess.Popen | None = None

    def start(self) -> None:
        """Make the namespace; LabError if that fails or it is there already."""
        if self._holder is not None:
            raise LabError(f"the namespace {self.name} exists already")
        self._holder = subprocess.Popen(
            ["mnexec", "-n", "bash", "-c", _HOLD], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            env=self._environment, start_new_session=True,
        )
        with self._holder.stdout as said:
            if said.readline() != "ready\n":
                raise LabError(f"cannot make the network namespace {self.name}")

    @property
    def pid(self) -> int:
        """Id of a process in the namespace; LabError when there is no namespace."""
        if self._holder is None:
            raise LabError(f"{self.name} is down: its network namespace is gone")
        return self._holder.pid

    @property
    def enter(self) -> list[str]:
        """The words before a command that is to run in the namespace."""
        return ["mnexec", "-a", str(self.pid)]

    def run(
        self, command: str | Sequence[str], timeout: float = 30.0, check: bool = True, stdin: str | None = None
    ) -> Result:
        """Run a command in the namespace to its end (see process.run)."""
        return run(command, timeout, check, stdin, self._environment, self.enter)

    def ip(self, commands: Sequence[str]) -> None:
        """Carry out commands of ``ip`` in one process; CommandError if one fails."""
        if commands:
            self.run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")

    def processes(self) -> list[int]:
        """Return the ids of all processes in the namespace but the one that holds it."""
        wanted = os.stat(f"/proc/{self.pid}/ns/net").st_ino
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.pid:
                with suppress(OSError):  # gone, or not ours to see
                    if os.stat(entry / "ns" / "net").st_ino == wanted:
                        found.append(int(entry.name))
        return found

    def kill_processes(self) -> list[int]:
        """Kill all processes in the namespace but the one that holds it, without waiting for their end; return them."""
        found = self.processes()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    def kill(self) -> None:
        """Kill everything in the namespace; with its last process it vanishes, and every interface that is in it."""
        if self._holder is not None:
            run_and_expect(self.kill_processes, [], 5, f"the processes in {self.name} end", interval=0.005)
            self._holder.kill()
            self._holder.wait()
            self._holder = None
