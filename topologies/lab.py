"""The lab: a topology with an Open vSwitch instance and a controller of its own, as a context manager."""

from __future__ import annotations

import importlib
import logging
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mininet.net import Mininet

from controller.explain.explain import Explainer, find_gateway, question
from controller.model import loads
from controller.model.gateway import Config
from topologies.base import GatewayTopo
from topologies.controllers import SagaController, program_environment
from topologies.edges import CONTROLLER_ADDRESS, Edge, IsolatedEdge, management_interfaces
from topologies.errors import LabError
from topologies.hosts import LabHost, PhysicalRouter
from topologies.manager import ControllerProcess, free_ports, program
from topologies.namespaces import Namespace
from topologies.observe import Capture, PortCounters, parse_connections, parse_ports, tcpdump
from topologies.ovs import USERSPACE_DEVICE, PrivateOpenVSwitch
from topologies.plan import plan
from topologies.process import Result, run
from topologies.record import LabRecord
from topologies.switches import SagaSwitch

log = logging.getLogger(__name__)


def topology_class(name: str) -> type[GatewayTopo]:
    """Return the topology of a name (a module of this package); LabError if there is none."""
    try:
        return importlib.import_module(f"topologies.{name}").topos[name]
    except (ModuleNotFoundError, AttributeError, KeyError) as error:
        raise LabError(f"no topology {name!r}: no such module in topologies/, or it has no topos[{name!r}]") from error


class Lab:
    """A running topology.

    ::

        with Lab("four_edge") as lab:
            lab.wait_settled()
            print(lab.host("A").run("ping -c 1 192.0.2.2").stdout)

    Everything a lab makes is its own: Open vSwitch instance, run directory, controller.  What a killed lab has left is
    cleared away by the next one.  A network namespace holds one lab at a time (a second one gets a LabError).
    """

    def __init__(
        self,
        topology: str | type[GatewayTopo],
        config: Path | str | Config | None = None,
        controller: bool = True,
        isolated: bool = False,
        datapath: str | None = None,
        **options: Any,
    ) -> None:
        """Describe the lab; entering the context builds it.

        ``topology`` is a name ("four_edge") or class; ``config`` a gateway file's path or its text (default: the
        topology's own file), or a resolved Config, which cannot have a controller; ``controller`` says whether one is
        started at once; ``isolated`` says whether every edge is a network namespace with an Open vSwitch of its own
        (see IsolatedEdge) or all are bridges of one Open vSwitch; ``datapath`` is "system" or "netdev" (default: the
        kernel's where there is one, else userspace); ``options`` go to the topology.
        """
        self.isolated = isolated
        self._class = topology_class(topology) if isinstance(topology, str) else topology
        self._start_with_controller = controller
        self._datapath = datapath
        self._options = options
        self._text: str | None = None
        if isinstance(config, Config):
            if controller:
                raise ValueError("a lab with a controller needs a gateway file, not a resolved Config")
            self.config = config
        else:
            source = config or self._class.gateway_file
            self._text = _text_of(source)
            self.config = loads(self._text, None if self._text is source else str(source))
        self._record: LabRecord | None = None
        self._net: Mininet | None = None

    def __enter__(self) -> Lab:
        self._topology = self._class(config=self.config, **self._options)
        self._ovs: PrivateOpenVSwitch | None = None
        self.edges: dict[str, Edge] = {}
        interfaces = {*self._topology.interfaces(), USERSPACE_DEVICE}
        if self.isolated:
            numbers = range(1, len(self._topology.plan.edges) + 1)
            interfaces.update(name for number in numbers for name in management_interfaces(number))
        self._record = LabRecord(self._class.__module__.rpartition(".")[2], interfaces)
        try:
            self._build()
            if self._start_with_controller:
                self.start_controller()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self) -> None:
        environment = self._record.environment
        run(["mnexec", "-n", "true"])  # fails at once where namespaces cannot be made; Mininet would wait for ever
        self.directory = self._record.directory
        self.gateway_file = self.directory / "gateway.yaml"
        if self._text is not None:
            self.gateway_file.write_text(self._text)
        self._ovs = PrivateOpenVSwitch(self.directory / "ovs", self._datapath, environment)
        self._make_edges()
        instances = {name: edge.ovs for name, edge in self.edges.items() if isinstance(edge, IsolatedEdge)}
        self.controller = ControllerProcess(
            self.directory, self.gateway_file, *free_ports(2), environment,
            [ovs.database for ovs in (self._ovs, *instances.values())],
            CONTROLLER_ADDRESS if self.isolated else "127.0.0.1",
        )
        for name in self._topology.nodes():
            info = self._topology.nodeInfo(name)
            info["environment"] = environment
            if self._topology.isSwitch(name):
                info["ovs"] = instances.get(info["edge"], self._ovs)
        self._net = Mininet(switch=SagaSwitch, controller=None, build=False)
        self._net.topo = self._topology
        self._net.addController(SagaController("c0", process=self.controller, environment=environment))
        with ThreadPoolExecutor() as pool:
            started = [pool.submit(ovs.start) for ovs in (self._ovs, *instances.values())]
            self._net.build()
            for one in started:
                one.result()
        for switch in self._net.switches:
            if switch.edge is not None:
                self.edges[switch.edge].switches.append(switch)
        self._net.start()
        self._record.write()

    def _make_edges(self) -> None:
        """Make the edges; isolated ones with their namespaces, but with nothing in them."""
        parking = Namespace("parking", self._record.environment)
        if self.isolated:
            parking.start()
        for number, name in enumerate(self._topology.plan.edges, 1):
            if not self.isolated:
                self.edges[name] = Edge(name)
                continue
            self.edges[name] = edge = IsolatedEdge(
                name, number, self.directory / f"ovs-{number}", self._ovs.datapath, self._record.environment, parking)
            edge.plug_in()

    def __exit__(self, *_: object) -> None:
        """Take the lab down; whatever a step of that cannot do, ending all its processes does."""
        steps = []
        if self._net is not None:
            steps += [self.controller.stop]
            steps += [edge.kill for edge in self.edges.values() if isinstance(edge, IsolatedEdge)]
            steps += [self._net.stop]
        if self._record is not None:
            steps += [self._ovs.stop] if self._ovs is not None else []
            steps += [self._record.close]
        self._net = self._record = None
        for step in steps:
            try:
                step()
            except Exception:
                log.exception("taking the lab down")

    @property
    def net(self) -> Mininet:
        """The Mininet network; LabError when the lab is not running."""
        if self._net is None:
            raise LabError("the lab is not running (use it as a context manager)")
        return self._net

    @property
    def topology(self) -> GatewayTopo:
        """The topology with its plan (bridges, cables, networks)."""
        return self._topology

    def host(self, name: str) -> LabHost:
        """Return a host (see LabHost); LabError if there is none of that name."""
        for host in self.net.hosts:
            if host.name == name:
                return host
        raise LabError(f"no host {name!r}; there are {', '.join(host.name for host in self.net.hosts)}")

    @property
    def routers(self) -> list[PhysicalRouter]:
        """The physical routers (R, or R1, R2 …)."""
        return [host for host in self.net.hosts if isinstance(host, PhysicalRouter)]

    def run(self, command: str | Sequence[str], timeout: float = 30.0, check: bool = True) -> Result:
        """Run a command beside the switches (``LabHost.run`` in the network namespace they are in)."""
        return run(command, timeout, check, env=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """The environment that points ``saga`` and Open vSwitch's tools to this lab, and marks processes as its own."""
        return {**self._record.environment, **program_environment(self.net)}

    # --- controller

    @property
    def api(self) -> str:
        """Base URL of the controller's REST interface."""
        return self.controller.api

    def start_controller(self) -> None:
        """Start the controller, without waiting for it; LabError if it runs."""
        if self._text is None:
            raise LabError("this lab was made from a resolved Config and cannot have a controller")
        self.controller.start()

    def stop_controller(self) -> None:
        """Stop the controller, if it runs; the switches go on."""
        self.controller.stop()

    def wait_settled(self, timeout: float = 30.0) -> dict[str, Any]:
        """Wait until every bridge has its program and return the health document.

        Raises LabError, with the end of the controller's log, after ``timeout`` seconds.
        """
        return self.controller.wait_settled(timeout)

    def set_config(self, config: Path | str, check: bool = True) -> tuple[int, Any]:
        """Replace the gateway file by another file or text, reload, and return the status and body of the answer.

        If the controller takes it, ``config`` and the physical routers' routes follow; bridges and links stay as
        built.  Raises LabError if the controller refuses and ``check`` is true.
        """
        text = _text_of(config)
        self.gateway_file.write_text(text)
        status, body = self.controller.request("POST", "/saga/v1/reload")
        if status < 300:
            self._text, self.config = text, loads(text)
            self._route_inside()
        elif check:
            raise LabError(f"the controller refuses the gateway file: {status} {body}")
        return status, body

    def _route_inside(self) -> None:
        """Give the physical routers the routes of the present gateway file, as far as their interfaces are there."""
        wanted = plan(self.config)
        for number, router in enumerate(self.routers):
            router.set_routes(self._topology.routes_inside(wanted, number, router.name))

    # --- questions

    def saga(self, *arguments: str, check: bool = True) -> Result:
        """Run ``saga ARGUMENTS`` on this lab and return its result; LabError if it fails and ``check`` is true."""
        return self.run([program("saga"), *arguments], 60, check)

    def explainer(self, gateway: int = 0) -> Explainer:
        """Return the explainer of a gateway (by position), which asks the lab's controller and switches."""
        status, gateways = self.controller.request("GET", "/saga/v1/gateways")
        if status != 200:
            raise LabError(f"the controller does not name its gateways: {status} {gateways}")
        return Explainer(gateways[gateway], lambda bridge, flow, options: self.appctl(
            bridge, "ofproto/trace", bridge, flow, *options))

    def owner(self, address: str) -> dict[str, Any] | None:
        """Return slot, member, holder, bridge and zone of a remote address's owner, as Open vSwitch computes it."""
        return self.explainer().owner(ip_address(address))

    def path(self, source: str, target: str, proto: str = "tcp", sport: int = 40000, dport: int = 80,
             version: int = 4) -> dict[str, Any]:
        """Return what ``saga explain --json`` says of a connection between two hosts (names) or addresses."""
        addresses = [(host.ip if version == 4 else host.ip6) if (host := self.net.nameToNode.get(word)) else word
                     for word in (source, target)]
        explainer = self.explainer()
        flow = question(*addresses, proto, sport, dport)
        return explainer.explain(flow, find_gateway([explainer.gateway], flow)[1])

    # --- faults

    def edge(self, name: str) -> Edge:
        """Return an edge, isolated ones with ``run``; LabError if there is none of that name."""
        if name not in self.edges:
            raise LabError(f"no edge {name!r}; there are {', '.join(self.edges)}")
        return self.edges[name]

    def fail_edge(self, edge: str, how: str = "power") -> float:
        """Break an edge and return the time (``time.monotonic()``) at which the fault was in effect.

        ``how`` is one of

        * ``link``: all its links lose carrier at both ends, but for the one to the controller;
        * ``power``: its namespace and processes vanish; the far ends of its links have no carrier;
        * ``crash``: ovs-vswitchd is killed; links stay up;
        * ``freeze``: ovs-vswitchd is stopped as by SIGSTOP; links stay up;
        * ``management``: the link to the controller loses carrier, and nothing else does;
        * ``port:NAME``: one link, named by the service router's port, loses carrier at both ends.

        Faults add up.  In a lab that is not isolated only ports with a cable can fail.  LabError for what is not
        possible.
        """
        return self.edge(edge).fail(how)

    def restore_edge(self, edge: str) -> None:
        """Mend everything that is broken at an edge.

        After ``power`` and ``crash`` its switches have neither flows nor connections, after ``power`` no database
        either; they are programmed by the controller again, which this does not wait for.  Until it has noticed,
        health still speaks of the connection before the fault: wait for what the switches have (``dump_flows``).
        """
        self.edge(edge).restore(self.net.controllers)

    # --- switches

    def switch(self, bridge: str) -> Any:
        """Return the switch of a bridge's name; LabError if there is none."""
        for switch in self.net.switches:
            if switch.name == bridge:
                return switch
        raise LabError(f"no bridge {bridge!r}; there are {', '.join(switch.name for switch in self.net.switches)}")

    @property
    def bridges(self) -> tuple[str, ...]:
        """Names of the bridges that the controller programs."""
        return self._topology.controlled

    def appctl(self, bridge: str, *arguments: str) -> str:
        """Run ``ovs-appctl ARGUMENTS`` on the Open vSwitch instance of a bridge and return its output."""
        return self.switch(bridge).ovs.appctl(*arguments)

    def vsctl(self, bridge: str, *arguments: str) -> str:
        """Run ``ovs-vsctl ARGUMENTS`` on the Open vSwitch instance of a bridge and return its output."""
        return self.switch(bridge).ovs.vsctl(*arguments)

    def ofctl(self, bridge: str, command: str, *arguments: str, stdin: str | None = None) -> str:
        """Run ``ovs-ofctl COMMAND BRIDGE ARGUMENTS`` (OpenFlow 1.5, names) and return its output."""
        return self.switch(bridge).ovs.ofctl(command, bridge, *arguments, stdin=stdin)

    def dump_flows(self, bridge: str) -> list[str]:
        """Return the flows of a bridge, one line each, without counters."""
        lines = self.ofctl(bridge, "dump-flows", "--no-stats").splitlines()
        return [line.strip() for line in lines if "actions=" in line]

    def counters(self, bridge: str) -> dict[str, PortCounters]:
        """Return the packet and byte counters of a bridge's ports by name (patch ports too)."""
        return parse_ports(self.ofctl(bridge, "dump-ports"))

    def conntrack(self, zone: int | None = None) -> list[dict[str, Any]]:
        """Return the tracked connections of all bridges, or of one zone (see parse_connections).

        An edge whose Open vSwitch does not answer contributes none.
        """
        found: list[dict[str, Any]] = []
        for ovs in dict.fromkeys(switch.ovs for switch in self.net.switches):
            if not ovs.answers:
                continue
            arguments = [ovs.datapath_name, *([] if zone is None else [f"zone={zone}"])]
            found += parse_connections(ovs.appctl("dpctl/dump-conntrack", *arguments))
        return found

    def capture(self, node: str, interface: str, expression: str = "") -> Capture:
        """Start tcpdump on a host's interface or a bridge's port and return the running Capture.

        ``expression`` is tcpdump's filter.  LabError for a patch port: it has no device; read its counters instead.
        """
        if any(switch.name == node for switch in self.net.switches):
            intf = self.switch(node).nameToIntf.get(interface)
            if intf is not None and intf.link is not None and intf.link.is_patch:
                raise LabError(f"{interface} is a patch port and has no device to capture on; use counters()")
            pipe = subprocess.PIPE
            namespace = self.switch(node).namespace
            return Capture(
                subprocess.Popen(
                    [*(namespace.enter if namespace else []), *tcpdump(interface, expression)],
                    stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True,
                    env=self._record.environment, start_new_session=True,
                )
            )
        return Capture(self.host(node).popen(tcpdump(interface, expression)))

    def cli(self) -> None:
        """Run Mininet's command line on the lab, with ``owner``, ``path``, ``explain`` and ``status``."""
        from topologies.cli import SagaCLI

        SagaCLI(self.net)


def _text_of(config: Path | str) -> str:
    """Return the text of a gateway file given as text (it has line ends) or by its path; LabError if not readable."""
    if isinstance(config, str) and "\n" in config:
        return config
    try:
        return Path(config).read_text()
    except OSError as error:
        raise LabError(f"cannot read the gateway file {config}: {error.strerror}") from error
