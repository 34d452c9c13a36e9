"""One Open vSwitch instance: its command line tools, and a private one with a database and daemons of its own."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from topologies.buffers import enlarge_packet_buffers
from topologies.errors import CommandError, LabError
from topologies.expect import run_and_expect
from topologies.process import end, run

log = logging.getLogger(__name__)

SYSTEM_RUNDIR = Path("/var/run/openvswitch")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
USERSPACE_DEVICE = "ovs-netdev"
KERNEL_DEVICE = "ovs-system"


def kernel_datapath() -> bool:
    """Tell whether this kernel has Open vSwitch's datapath (loading the module where that is possible)."""
    if shutil.which("modprobe"):
        run(["modprobe", "-q", "openvswitch"], check=False)
    return Path("/sys/module/openvswitch").exists()


def device_exists(name: str) -> bool:
    """Tell whether this network namespace has an interface of that name."""
    return any(name == device for _, device in socket.if_nameindex())


class OpenVSwitch:
    """The tools of an instance that runs already, by its run directory.

    ``datapath`` is "system" (kernel) or "netdev" (userspace); ``tso`` tells whether the userspace datapath takes
    segments larger than the MTU (and unfinished checksums) from its ports.
    """

    def __init__(self, rundir: Path, datapath: str, tso: bool, environment: Mapping[str, str] | None = None) -> None:
        self.rundir = rundir
        self.datapath = datapath
        self.tso = tso
        self.environment = {**(os.environ if environment is None else environment), "OVS_RUNDIR": str(rundir)}

    @classmethod
    def system(cls) -> OpenVSwitch:
        """Return the instance that ``ovs-vsctl`` would talk to; LabError if it does not answer."""
        instance = cls(
            Path(os.environ.get("OVS_RUNDIR", SYSTEM_RUNDIR)), "system" if kernel_datapath() else "netdev", tso=False
        )
        try:
            tso = instance.vsctl("--if-exists", "get", "Open_vSwitch", ".", "other_config:userspace-tso-enable")
        except CommandError as error:
            raise LabError(f"Open vSwitch does not run (service openvswitch-switch start): {error}") from error
        instance.tso = tso.strip() == '"true"'
        return instance

    @property
    def takes_partial_checksums(self) -> bool:
        """Whether hosts on veth may leave checksums to the other side (ovs-facts: userspace without TSO cannot)."""
        return self.datapath == "system" or self.tso

    @property
    def datapath_name(self) -> str:
        """Name of the datapath for ``ovs-appctl dpctl/…``."""
        return f"netdev@{USERSPACE_DEVICE}" if self.datapath == "netdev" else f"system@{KERNEL_DEVICE}"

    @property
    def database(self) -> str:
        """Where its database listens, as OVSDB clients write it."""
        return f"unix:{self.rundir}/db.sock"

    def vsctl(self, *arguments: str, timeout: float = 20.0) -> str:
        """Run ``ovs-vsctl`` and return its output; CommandError with its stderr if it fails."""
        command = ["ovs-vsctl", f"--timeout={max(1, round(timeout))}", *arguments]
        return run(command, timeout + 5, env=self.environment).stdout

    def ofctl(self, *arguments: str, stdin: str | None = None, timeout: float = 20.0) -> str:
        """Run ``ovs-ofctl`` (OpenFlow 1.5, names) and return its output; CommandError with its stderr if it fails."""
        command = ["ovs-ofctl", "--protocols=OpenFlow15", "--names", *arguments]
        return run(command, timeout, stdin=stdin, env=self.environment).stdout

    def appctl(self, *arguments: str, timeout: float = 20.0) -> str:
        """Run ``ovs-appctl`` on ovs-vswitchd and return its output; CommandError with its stderr if it fails."""
        return run(["ovs-appctl", *arguments], timeout, env=self.environment).stdout

    def enlarge_buffers(self) -> None:
        """Let bursts wait at the ports of a userspace datapath; to be called when ports have been added."""
        if self.datapath == "netdev":
            try:
                enlarge_packet_buffers(int((self.rundir / "ovs-vswitchd.pid").read_text()))
            except OSError as error:
                log.warning("small receive buffers, so expect losses under full load: %s", error)


class PrivateOpenVSwitch(OpenVSwitch):
    """An instance with a run directory, database and daemons of its own, beside (and without) the system's.

    Takes the kernel datapath where there is one and nobody uses it, else userspace with TSO on.  A network namespace
    holds one userspace datapath only (its device is ``ovs-netdev``), so a second one is refused.
    """

    def __init__(self, rundir: Path, datapath: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        """``datapath`` "system" or "netdev" overrides the detection."""
        if datapath is None:
            datapath = "system" if kernel_datapath() and not device_exists(KERNEL_DEVICE) else "netdev"
        super().__init__(rundir, datapath, tso=datapath == "netdev", environment=environment)
        for variable in ("OVS_LOGDIR", "OVS_DBDIR"):
            self.environment[variable] = str(rundir)
        self._daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start ovsdb-server and ovs-vswitchd and wait until they answer; LabError if they do not."""
        if self.datapath == "netdev" and device_exists(USERSPACE_DEVICE):
            raise LabError(
                f"the interface {USERSPACE_DEVICE} exists: another Open vSwitch runs a userspace datapath in this "
                "network namespace, and only one can; delete its bridges (ovs-vsctl del-br) or stop it"
            )
        if not SCHEMA.exists():
            raise LabError(f"no {SCHEMA}: install openvswitch-switch")
        self.rundir.mkdir(parents=True, exist_ok=True)
        database, remote = self.rundir / "conf.db", self.database
        run(["ovsdb-tool", "create", str(database), str(SCHEMA)], env=self.environment)
        self._daemon("ovsdb-server", str(database), f"--remote=p{remote}")
        run_and_expect(lambda: self.vsctl("--no-wait", "init", timeout=1), lambda _: True, 10, "ovsdb-server answers")
        if self.tso:
            self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true")
        self._daemon("ovs-vswitchd", remote)
        self.vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=lab", timeout=10)

    def _daemon(self, program: str, *arguments: str) -> None:
        """Start one daemon; it logs to its own file in the run directory."""
        command = [
            program, *arguments, "--pidfile", f"--log-file={self.rundir}/{program}.log",
            "-vconsole:off", "-vsyslog:off", "--no-chdir",
        ]
        with open(self.rundir / f"{program}.out", "wb") as output:
            self._daemons.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env=self.environment, start_new_session=True,
                )
            )

    @property
    def pids(self) -> list[int]:
        """Process ids of the daemons."""
        return [daemon.pid for daemon in self._daemons]

    def stop(self) -> None:
        """Delete the bridges (their devices would outlive the daemons) and end the daemons."""
        if len(self._daemons) == 2 and self._daemons[1].poll() is None:
            for bridge in self.vsctl("list-br").split():
                self.vsctl("del-br", bridge)
        while self._daemons:
            end(self._daemons.pop())
