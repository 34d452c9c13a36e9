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
from topologies.namespaces import Namespace
from topologies.process import end, run

log = logging.getLogger(__name__)

SYSTEM_RUNDIR = Path("/var/run/openvswitch")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
USERSPACE_DEVICE = "ovs-netdev"
KERNEL_DEVICE = "ovs-system"
DATABASE_SERVER = "ovsdb-server"
SWITCH_DAEMON = "ovs-vswitchd"


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
    segments larger than the MTU (and unfinished checksums) from its ports; ``namespace`` is the network namespace of
    its ports, None for the present one.
    """

    namespace: Namespace | None = None

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

    def prepare_datapath(self) -> None:
        """Set what no database keeps; to be called when ports have been added and when ovs-vswitchd has restarted.

        Bursts may wait at the ports of a userspace datapath, and connections are tracked without looking at TCP's
        sequence numbers: a router that takes over a connection has not seen its windows.
        """
        if self.datapath == "netdev":
            try:
                enlarge_packet_buffers(int((self.rundir / "ovs-vswitchd.pid").read_text()))
            except OSError as error:
                log.warning("small receive buffers, so expect losses under full load: %s", error)
            self.appctl("dpctl/ct-disable-tcp-seq-chk", self.datapath_name)
        elif self.namespace is not None:
            self.namespace.run(["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1"])


class PrivateOpenVSwitch(OpenVSwitch):
    """An instance with a run directory, database and daemons of its own, beside (and without) the system's.

    Takes the kernel datapath where there is one and nobody uses it, else userspace with TSO on.  A network namespace
    holds one userspace datapath only (its device is ``ovs-netdev``), so a second one is refused.
    """

    def __init__(
        self,
        rundir: Path,
        datapath: str | None = None,
        environment: Mapping[str, str] | None = None,
        namespace: Namespace | None = None,
    ) -> None:
        """``datapath`` "system" or "netdev" overrides the detection; ``namespace`` is where the daemons run."""
        if datapath is None:
            datapath = "system" if kernel_datapath() and not device_exists(KERNEL_DEVICE) else "netdev"
        super().__init__(rundir, datapath, tso=datapath == "netdev", environment=environment)
        self.namespace = namespace
        for variable in ("OVS_LOGDIR", "OVS_DBDIR"):
            self.environment[variable] = str(rundir)
        self._daemons: dict[str, subprocess.Popen] = {}
        self._starts = 0

    def start(self) -> None:
        """Start with an empty database and wait until both daemons answer; LabError if they do not."""
        if self.namespace is None and self.datapath == "netdev" and device_exists(USERSPACE_DEVICE):
            raise LabError(
                f"the interface {USERSPACE_DEVICE} exists: another Open vSwitch runs a userspace datapath in this "
                "network namespace, and only one can; delete its bridges (ovs-vsctl del-br) or stop it"
            )
        if not SCHEMA.exists():
            raise LabError(f"no {SCHEMA}: install openvswitch-switch")
        self.rundir.mkdir(parents=True, exist_ok=True)
        database = self.rundir / "conf.db"
        for left in (database, *self.rundir.glob(".*.~lock~")):
            left.unlink(missing_ok=True)
        run(["ovsdb-tool", "create", str(database), str(SCHEMA)], env=self.environment)
        self._daemon(DATABASE_SERVER, str(database), f"--remote=p{self.database}")
        run_and_expect(lambda: self.vsctl("--no-wait", "init", timeout=1), lambda _: True, 10, "ovsdb-server answers")
        if self.tso:
            self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true")
        self._start_switchd()

    def _start_switchd(self) -> None:
        """Start ovs-vswitchd and wait until it has done what the database says (a change shows that)."""
        self._starts += 1
        self._daemon(SWITCH_DAEMON, self.database)
        self.vsctl("set", "Open_vSwitch", ".", f"external_ids:system-id=lab-{self._starts}", timeout=10)

    def restart_switchd(self) -> None:
        """Start ovs-vswitchd again after its end, with the bridges and ports that the database has, and no flows."""
        self._start_switchd()
        self.prepare_datapath()

    def _daemon(self, program: str, *arguments: str) -> None:
        """Start one daemon; it logs to its own file in the run directory."""
        command = [
            *(self.namespace.enter if self.namespace else []), program, *arguments, "--pidfile",
            f"--log-file={self.rundir}/{program}.log", "-vconsole:off", "-vsyslog:off", "--no-chdir",
        ]
        with open(self.rundir / f"{program}.out", "wb") as output:
            self._daemons[program] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self.environment, start_new_session=True,
            )

    @property
    def switchd_pid(self) -> int:
        """Process id of ovs-vswitchd; LabError when it was not started."""
        if SWITCH_DAEMON not in self._daemons:
            raise LabError(f"{self._whose}{SWITCH_DAEMON} is not running")
        return self._daemons[SWITCH_DAEMON].pid

    @property
    def _whose(self) -> str:
        return f"{self.namespace.name}: " if self.namespace else ""

    def _why_not(self, program: str) -> str:
        """Return why a daemon cannot answer, empty if it can."""
        daemon = self._daemons.get(program)
        if daemon is None or daemon.poll() is not None:
            return f"{self._whose}{program} is not running"
        state = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return f"{self._whose}{program} is frozen" if state == "T" else ""

    @property
    def answers(self) -> bool:
        """Whether ovs-vswitchd runs and is not frozen."""
        return not self._why_not(SWITCH_DAEMON)

    def check_answers(self) -> None:
        """Raise LabError, with the reason, when ovs-vswitchd cannot answer."""
        if reason := self._why_not(SWITCH_DAEMON):
            raise LabError(reason)

    def wait_not_answering(self) -> None:
        """Wait until a signal to ovs-vswitchd has had its effect."""
        run_and_expect(lambda: not self.answers, timeout=5, what="ovs-vswitchd stops", interval=0.002)

    def vsctl(self, *arguments: str, timeout: float = 20.0) -> str:
        """As OpenVSwitch.vsctl; LabError at once when ovsdb-server does not run."""
        if reason := self._why_not(DATABASE_SERVER):
            raise LabError(reason)
        return super().vsctl(*arguments, timeout=timeout)

    def ofctl(self, *arguments: str, stdin: str | None = None, timeout: float = 20.0) -> str:
        """As OpenVSwitch.ofctl; LabError at once when ovs-vswitchd cannot answer."""
        self.check_answers()
        return super().ofctl(*arguments, stdin=stdin, timeout=timeout)

    def appctl(self, *arguments: str, timeout: float = 20.0) -> str:
        """As OpenVSwitch.appctl; LabError at once when ovs-vswitchd cannot answer."""
        self.check_answers()
        return super().appctl(*arguments, timeout=timeout)

    def stop(self) -> None:
        """Delete the bridges (their devices would outlive the daemons) and end the daemons."""
        if self.answers:
            for bridge in self.vsctl("list-br").split():
                self.vsctl("del-br", bridge)
        for program in (SWITCH_DAEMON, DATABASE_SERVER):
            if program in self._daemons:
                end(self._daemons.pop(program))

    def reap(self) -> None:
        """Forget daemons that somebody has killed."""
        while self._daemons:
            self._daemons.popitem()[1].wait(timeout=5)
