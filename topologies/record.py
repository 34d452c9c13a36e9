"""What a lab has made, written down at once, so that the next lab can clear away what a killed one has left.

Every process of a lab carries the lab's token in its environment (``SAGA_LAB``), so exactly those are ended that the
lab started, whatever happened to process ids in the meantime.  Interfaces that outlive their processes are deleted if
name and index are those recorded.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from topologies.errors import LabError
from topologies.expect import ExpectationError, run_and_expect
from topologies.process import run

LABS = Path("/run/saga/labs")
TOKEN_VARIABLE = "SAGA_LAB"


def namespace_id() -> int:
    """Return what identifies this process's network namespace while it exists."""
    return os.stat("/proc/self/ns/net").st_ino


def processes_with(token: str) -> list[int]:
    """Return the ids of all processes (but this one) that carry a lab's token in their environment."""
    wanted = f"{TOKEN_VARIABLE}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # gone, or a kernel thread
            continue
        if wanted in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def end_processes(token: str, timeout: float = 10.0) -> None:
    """Kill all processes that carry a lab's token and wait until they are gone."""

    def killed_all() -> bool:
        remaining = processes_with(token)
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not remaining

    run_and_expect(killed_all, timeout=timeout, what="the lab's processes end")


class LabRecord:
    """The record of one running lab: a file in ``LABS``, locked while the lab lives, and the lab's directory."""

    def __init__(self, name: str, interfaces: Collection[str]) -> None:
        """Clear away dead labs and open the record.

        ``interfaces`` are those that the lab is going to make in this network namespace.  LabError if a lab runs here,
        or some of them exist already.
        """
        LABS.mkdir(parents=True, exist_ok=True)
        self.token = uuid.uuid4().hex
        self.name = f"{name}-{self.token[:6]}"
        self.directory = LABS / self.name
        self.path = LABS / f"{self.name}.json"
        with _registry():
            for path in sorted(LABS.glob("*.json")):
                _clear_or_refuse(path)
            foreign = sorted({device for _, device in socket.if_nameindex()}.intersection(interfaces))
            if foreign:
                raise LabError(f"interfaces that the lab makes exist already: {', '.join(foreign)}; what uses them?")
            self._file = open(self.path, "x")  # noqa: SIM115 (open as long as the lab lives)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self.directory.mkdir()
            self._interfaces = sorted(interfaces)
            self.write()

    @property
    def environment(self) -> dict[str, str]:
        """The environment for everything the lab starts."""
        return {**os.environ, TOKEN_VARIABLE: self.token}

    def write(self) -> None:
        """Record the lab, with the indexes of those of its interfaces that exist now."""
        present = {device: index for index, device in socket.if_nameindex()}
        self._recorded = {device: present.get(device) for device in self._interfaces}
        content = {
            "name": self.name,
            "pid": os.getpid(),
            "token": self.token,
            "namespace": namespace_id(),
            "directory": str(self.directory),
            "interfaces": self._recorded,
        }
        self._file.seek(0)
        self._file.truncate()
        json.dump(content, self._file, indent=1)
        self._file.flush()

    def close(self) -> None:
        """End what is left of the lab and forget it."""
        end_processes(self.token)
        _remove_interfaces(self._recorded)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        self._file.close()


@contextmanager
def _registry() -> Iterator[None]:
    """Keep other labs from starting meanwhile."""
    with open(LABS / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear_or_refuse(path: Path) -> None:
    """Clear away the lab of a record if its process is dead; LabError if it lives in this network namespace."""
    try:
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alive = False
            except BlockingIOError:
                alive = True
            text = file.read()
    except FileNotFoundError:  # its lab has just ended
        return
    record = json.loads(text) if text else {}
    if alive:
        if record.get("namespace") == namespace_id():
            raise LabError(
                f"lab {record['name']} is running, pid {record['pid']}; a network namespace holds one lab at a time"
            )
        return
    if record:
        end_processes(record["token"])
        if record["namespace"] == namespace_id():
            _remove_interfaces(record["interfaces"])
        shutil.rmtree(record["directory"], ignore_errors=True)
    path.unlink(missing_ok=True)


def _remove_interfaces(recorded: Mapping[str, int | None]) -> None:
    """Remove the interfaces of a lab whose processes are dead: those recorded with their index, and orphaned taps.

    Open vSwitch's taps are persistent, so they outlive a killed ovs-vswitchd; veth go with their namespaces, a moment
    after the last process.
    """

    def left() -> list[str]:
        present = {device: index for index, device in socket.if_nameindex()}
        return [device for device, index in recorded.items() if device in present and index in (None, present[device])]

    for device in left():
        if recorded[device] is not None or _orphaned_tap(device):
            run(["ip", "link", "del", device], check=False)
    with suppress(ExpectationError):  # what stays is somebody else's
        run_and_expect(left, [], timeout=3.0, what="a dead lab's interfaces go")


def _orphaned_tap(device: str) -> bool:
    """Tell whether an interface is a tap that no process of this network namespace holds."""
    links = json.loads(run(["ip", "-json", "-details", "link", "show", device], check=False).stdout or "[]")
    if not any(link.get("linkinfo", {}).get("info_kind") == "tun" for link in links):
        return False
    here = namespace_id()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino == here and any(
                    f"iff:\t{device}\n" in file.read_text() for file in (process / "fdinfo").iterdir()):
                return False
        except OSError:  # it has ended, or closed the file, meanwhile
            continue
    return True
