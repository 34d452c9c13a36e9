"""The edges of a lab, and what can happen to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path

from mininet.node import Controller, Node

from topologies.errors import LabError
from topologies.links import VethIntf
from topologies.namespaces import Namespace
from topologies.ovs import PrivateOpenVSwitch
from topologies.process import Result, run
from topologies.switches import SagaSwitch

MANAGEMENT = IPv4Network("100.127.0.0/24")
"""Addresses between controller and isolated edges (of RFC 6598, like the lab's other transit networks)."""

CONTROLLER_ADDRESS = str(MANAGEMENT[1])
"""Where the controller of an isolated lab listens."""

MAX_EDGES = MANAGEMENT.num_addresses - 3

PORT_FAULT = "port:"
ALL_FAULTS = "link, power, crash, freeze, management, port:NAME"


class Edge:
    """An edge whose service routers share an Open vSwitch with everything else: only ports with a cable can fail."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.switches: list[SagaSwitch] = []
        self.faults: list[str] = []
        """What is broken at present, in the words of ``fail``."""

    def ports(self) -> list[VethIntf]:
        """Return the ports of the edge that have a cable (patch ports have none)."""
        return [intf for switch in self.switches for intf in switch.intfList() if isinstance(intf, VethIntf)]

    def fail(self, how: str) -> float:
        """Break the edge and return the time (``time.monotonic()``) at which the fault was in effect.

        LabError for a fault that is not possible here, or is there already.
        """
        if how in self.faults or "power" in self.faults:
            raise LabError(f"{self.name} has failed already: {', '.join(self.faults)}")
        if how.startswith(PORT_FAULT):
            since = self._unplug([self._port(how.removeprefix(PORT_FAULT))])
        else:
            since = self._fail(how)
        self.faults.append(how)
        return since

    def restore(self, controllers: Sequence[Controller]) -> None:
        """Mend everything that is broken; the switches are ready for the controller when this returns."""
        self._restore(controllers)
        self.faults.clear()

    def _fail(self, how: str) -> float:
        known = ALL_FAULTS.split(", ")
        if how not in known:
            raise LabError(f"no fault {how!r}; there are {ALL_FAULTS}")
        raise LabError(
            f"{self.name} cannot fail by {how!r}: the edges of this lab are bridges of one Open vSwitch; "
            "Lab(…, isolated=True) gives each its own"
        )

    def _restore(self, controllers: Sequence[Controller]) -> None:
        self._ip([f"link set {intf.name} up" for intf in self._unplugged()])

    def _unplugged(self) -> list[VethIntf]:
        """Return the ports that faults of single ports and of all links have taken down."""
        names = {fault.removeprefix(PORT_FAULT) for fault in self.faults if fault.startswith(PORT_FAULT)}
        return [intf for intf in self.ports() if intf.name in names or "link" in self.faults]

    def _port(self, name: str) -> VethIntf:
        cables = {intf.name: intf for intf in self.ports()}
        if name in cables:
            return cables[name]
        if any(name in switch.nameToIntf for switch in self.switches):
            raise LabError(
                f"{name} is a patch port, whose far end would not notice; Lab(…, isolated=True) has cables there"
            )
        raise LabError(f"no port {name!r} of {self.name} has a cable; there are {', '.join(sorted(cables))}")

    def _unplug(self, ports: Sequence[VethIntf]) -> float:
        """Take the edge's ends of cables down: then both ends have no carrier, and the far end stays up, as it must.

        (Taking the far end down instead would make a physical router forget its addresses and routes.)
        """
        self._ip([f"link set {intf.name} down" for intf in ports])
        return time.monotonic()

    def _ip(self, commands: Sequence[str]) -> None:
        """Carry out commands of ``ip`` where the ports are."""
        if commands:
            run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")


class IsolatedEdge(Edge):
    """An edge in a network namespace with an Open vSwitch of its own.

    Cables lead to the rest of the lab, one of them to the controller (management).  When the edge loses power its
    namespace vanishes; so that the far ends of its cables stay, with no carrier, its own ends are first put into
    ``parking``, a namespace that lives as long as the lab, and from there into the new namespace when power is back.
    (A cable deleted and made again would leave a dead device in the Open vSwitch at the other end.)
    """

    def __init__(
        self, name: str, number: int, directory: Path, datapath: str, environment: Mapping[str, str],
        parking: Namespace,
    ) -> None:
        """``number`` counts the lab's edges from 1; ``directory`` is for the instance's files."""
        super().__init__(name)
        if number > MAX_EDGES:
            raise LabError(f"more than {MAX_EDGES} isolated edges")
        self.namespace = Namespace(name, environment)
        self.ovs = PrivateOpenVSwitch(directory, datapath, environment, self.namespace)
        self.address = str(MANAGEMENT[number + 1])
        self.management, self.own_management = management_interfaces(number)
        self._parking = parking

    def plug_in(self) -> None:
        """Make the namespace and the management cable to the present network namespace."""
        self.namespace.start()
        run(["ip", "link", "add", self.management, "type", "veth",
             "peer", "name", self.own_management, "netns", str(self.namespace.pid)])
        commands = [f"address add {CONTROLLER_ADDRESS} peer {self.address}/32 dev {self.management}",
                    f"link set {self.management} up"]
        run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")
        self._address_management()

    def _address_management(self) -> None:
        """Give the edge's end of the management cable its address."""
        self.namespace.ip([f"address add {self.address} peer {CONTROLLER_ADDRESS}/32 dev {self.own_management}",
                           f"link set {self.own_management} up"])

    def run(self, command: str | Sequence[str], timeout: float = 30.0, check: bool = True) -> Result:
        """Run a command in the edge's namespace to its end (see process.run)."""
        return self.namespace.run(command, timeout, check)

    def _ip(self, commands: Sequence[str]) -> None:
        self.namespace.ip(commands)

    def _fail(self, how: str) -> float:
        actions: dict[str, Callable[[], float]] = {
            "link": lambda: self._unplug(self.ports()),
            "power": self._cut_power,
            "crash": lambda: self._signal(signal.SIGKILL),
            "freeze": lambda: self._signal(signal.SIGSTOP),
            "management": self._unplug_management,
        }
        return actions.get(how, lambda: super(IsolatedEdge, self)._fail(how))()

    def _signal(self, number: signal.Signals) -> float:
        self.ovs.check_answers()
        os.kill(self.ovs.switchd_pid, number)
        since = time.monotonic()
        self.ovs.wait_not_answering()
        return since

    def _unplug_management(self) -> float:
        self._ip([f"link set {self.own_management} down"])
        return time.monotonic()

    def _cut_power(self) -> float:
        """Kill all processes, take the carrier from all cables, and let the namespace vanish."""
        ends = [self.own_management, *(intf.name for intf in self.ports())]
        self.namespace.kill_processes()
        self._ip([f"link set {end} down" for end in ends])
        since = time.monotonic()
        self._ip([f"link set {end} netns {self._parking.pid}" for end in ends])
        self.namespace.kill()
        self.ovs.reap()
        for switch in self.switches:
            Node.terminate(switch)
        return since

    def _restore(self, controllers: Sequence[Controller]) -> None:
        if "power" in self.faults:
            self._restore_power(controllers)
            return
        super()._restore(controllers)
        if "management" in self.faults:
            self._ip([f"link set {self.own_management} up"])
        if "crash" in self.faults:
            self.ovs.restart_switchd()
        elif "freeze" in self.faults:
            os.kill(self.ovs.switchd_pid, signal.SIGCONT)

    def _restore_power(self, controllers: Sequence[Controller]) -> None:
        """Start the edge as a machine starts: links first, then an Open vSwitch that knows nothing, then bridges."""
        self.namespace.start()
        ends = [self.own_management, *(intf.name for intf in self.ports())]
        self._parking.ip([f"link set {end} netns {self.namespace.pid}" for end in ends])
        self._address_management()
        for switch in self.switches:
            switch.startShell()
        for intf in self.ports():
            intf.config(**intf.params)
        self.ovs.start()
        for switch in self.switches:
            switch.start(controllers)

    def kill(self) -> None:
        """End the edge for good; its ends of the cables go with it, and so the cables."""
        self.namespace.kill()
        self.ovs.reap()


def management_interfaces(number: int) -> tuple[str, str]:
    """Return the names of the two ends of an edge's management cable: the controller's and the edge's."""
    return f"mgmt{number}", f"mgmt{number}-edge"
