"""An Open vSwitch instance of the test's own, with dummy datapaths: no privileges, no network devices."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.process.waiting import wait_until

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class PrivateOvs:
    """ovsdb-server and ovs-vswitchd with database, sockets and logs below ``directory``; a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        names = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
        self._env = os.environ | {name: str(directory) for name in names}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> PrivateOvs:
        self.directory.mkdir(parents=True, exist_ok=True)
        socket = self.directory / "db.sock"
        self.run("ovsdb-tool", "create", str(self.directory / "conf.db"), SCHEMA)
        self._start("ovsdb-server", str(self.directory / "conf.db"), f"--remote=punix:{socket}")
        wait_until(socket.exists, "the database's socket")
        self.run("ovs-vsctl", "--no-wait", "init")
        self._start("ovs-vswitchd", f"unix:{socket}", "--enable-dummy", "--disable-system")
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def _start(self, program: str, *args: str) -> None:
        control = self.directory / f"{program}.ctl"
        with open(self.directory / f"{program}.stderr", "wb") as log:
            command = [program, *args, f"--unixctl={control}", "-vconsole:warn", "-vsyslog:off"]
            self._processes.append(subprocess.Popen(command, env=self._env, stdin=subprocess.DEVNULL, stderr=log))

    def run(self, *command: str) -> str:
        """Run one of the ovs-* tools against this instance; return what it prints, raise if it fails."""
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def add_bridge(self, name: str) -> Path:
        """Make an OpenFlow 1.5 bridge without ports; return the socket on which it speaks OpenFlow."""
        self.run(
            *("ovs-vsctl", "--timeout=10", "add-br", name, "--", "set", "bridge", name),
            *("datapath_type=dummy", "protocols=OpenFlow15", "fail_mode=secure"),
        )
        return self.directory / f"{name}.mgmt"

    def ofctl(self, command: str, bridge: str, *args: str) -> str:
        """Run ``ovs-ofctl -O OpenFlow15 command bridge args``; return what it prints."""
        return self.run("ovs-ofctl", "-O", "OpenFlow15", command, bridge, *args)
