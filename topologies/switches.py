"""The Mininet switch class of the lab: a bridge of an Open vSwitch instance, private or the system's."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from mininet.link import Intf, OVSIntf
from mininet.node import Controller, Node, OVSSwitch

from topologies.namespaces import Namespace
from topologies.ovs import OpenVSwitch
from topologies.plan import Role


class SagaSwitch(OVSSwitch):
    """A bridge speaking OpenFlow 1.5, in the datapath its Open vSwitch instance has.

    Ports keep the names of the topology; a link to a bridge of the same instance is a pair of patch ports.  Where the
    instance has a network namespace of its own, the switch's ports and shell are in it.
    """

    _system: OpenVSwitch | None = None

    def __init__(
        self,
        name: str,
        ovs: OpenVSwitch | None = None,
        role: Role | None = None,
        edge: str | None = None,
        environment: Mapping[str, str] | None = None,
        **params: Any,
    ) -> None:
        """``ovs`` is the instance (default: the system's); ``role`` and ``edge`` say what the bridge is for."""
        if ovs is None:
            ovs = SagaSwitch._system = SagaSwitch._system or OpenVSwitch.system()
        self.ovs = ovs
        self.role = role
        self.edge = edge
        self._environment = environment
        self._pending: list[str] = []
        params.update(protocols="OpenFlow15", datapath="user" if ovs.datapath == "netdev" else "kernel")
        params["listenPort"] = None
        super().__init__(name, **params)

    @classmethod
    def setup(cls) -> None:
        """Do not look for the system's Open vSwitch (Mininet would): the instance has been checked by its owner."""

    @property
    def namespace(self) -> Namespace | None:
        """The network namespace of the switch's ports where it is not the lab's."""
        return self.ovs.namespace

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 (Mininet's name)
        """Start the shell where the ports are."""
        if self.namespace is not None:
            mnopts = f"-cda{self.namespace.pid}"
        super().startShell(mnopts)

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen:
        return super()._popen(cmd, **{"env": self._environment, **params})

    @classmethod
    def isOldOVS(cls) -> bool:  # noqa: N802 (Mininet's name)
        """Return False: OpenFlow 1.5 needs a recent Open vSwitch anyway."""
        return False

    def vsctl(self, *args: Any, **_kwargs: Any) -> str:
        """Run ``ovs-vsctl`` on this switch's instance; CommandError if it fails."""
        return self.ovs.vsctl(*(str(word) for arg in args for word in str(arg).split()))

    def dpctl(self, *args: Any) -> str:
        """Run ``ovs-ofctl COMMAND BRIDGE ARGS`` (Mininet's CLI command ``dpctl``)."""
        return self.ovs.ofctl(str(args[0]), self.name, *(str(arg) for arg in args[1:]))

    def connected(self) -> bool:
        """Tell whether the controller is connected (always true for a learning switch)."""
        return self.failMode == "standalone" or self.name in self._connected_bridges()

    def _connected_bridges(self) -> set[str]:
        """Return the bridges of this instance with a connected controller."""
        up = set(self.vsctl("--columns=_uuid", "--bare", "find", "controller", "is_connected=true").split())
        lines = self.vsctl("--columns=name,controller", "--format=csv", "--no-headings", "list", "bridge").splitlines()
        return {name for name, _, uuid in (line.partition(",") for line in lines) if uuid.strip('"[]') in up}

    def _port_arguments(self, intf: Intf) -> list[str]:
        """Return the part of the ovs-vsctl transaction that adds one port."""
        arguments = ["--", "add-port", self.name, intf.name, "--", "set", "Interface", intf.name]
        arguments.append(f"ofport_request={self.ports[intf]}")
        if isinstance(intf, OVSIntf):
            peer = intf.link.intf2 if intf.link.intf1 is intf else intf.link.intf1
            arguments += ["type=patch", f"options:peer={peer.name}"]
        return arguments

    def start(self, controllers: Sequence[Controller]) -> None:
        """Make the bridge with all its ports in one transaction (at once, or with its batch)."""
        self._settle_offloads()
        arguments = [
            "--", "--if-exists", "del-br", self.name, "--", "add-br", self.name, "--", "set", "bridge", self.name,
            f"datapath_type={self.ovs.datapath}", f"protocols={self.protocols}", f"fail_mode={self.failMode}",
            f"other_config:datapath-id={self.dpid}", "other_config:disable-in-band=true",
            f"other_config:dp-desc={self.name}",
        ]
        if self.failMode == "secure" and controllers:
            targets = [f"{controller.protocol}:{controller.IP()}:{controller.port}" for controller in controllers]
            arguments += ["--", "set-controller", self.name, *targets]
            arguments += ["--", "set", "controller", self.name, f"max_backoff={self.reconnectms}"]
        for intf in self.intfList():
            if intf.name != "lo":
                arguments += self._port_arguments(intf)
        self._pending = arguments
        if not self.batch:
            self.batchStartup([self])

    def _settle_offloads(self) -> None:
        """Turn off hosts' transmit checksum offload where the switch would send unfinished checksums on.

        This is the only place that decides about offloads (ovs-facts: userspace datapath without TSO).
        """
        for intf in self.intfList():
            peer = self._far_end(intf)
            if peer is not None and not self.ovs.takes_partial_checksums:
                peer.node.cmd(f"ethtool -K {peer.name} tx off")

    def _far_end(self, intf: Intf) -> Intf | None:
        """Return the other end of a veth link, None for patch ports and the loopback."""
        link = intf.link
        if link is None or isinstance(intf, OVSIntf):
            return None
        return link.intf2 if link.intf1 is intf else link.intf1

    @classmethod
    def batchStartup(  # noqa: N802 (Mininet's name)
        cls, switches: Sequence[SagaSwitch], run: object = None
    ) -> Sequence[SagaSwitch]:
        """Make all bridges of each instance in one transaction and return the switches."""
        for _, group in groupby(sorted(switches, key=lambda switch: id(switch.ovs)), lambda switch: id(switch.ovs)):
            members = list(group)
            members[0].ovs.vsctl(*(word for switch in members for word in switch._pending))
            members[0].ovs.prepare_datapath()
            for switch in members:
                switch._pending, switch.batch = [], False
        return switches

    @classmethod
    def batchShutdown(  # noqa: N802 (Mininet's name)
        cls, switches: Sequence[SagaSwitch], run: object = None
    ) -> Sequence[SagaSwitch]:
        """Delete all bridges of each instance in one transaction, end the switches' shells, return the switches."""
        for _, group in groupby(sorted(switches, key=lambda switch: id(switch.ovs)), lambda switch: id(switch.ovs)):
            members = list(group)
            if members[0].namespace is None:  # else they go with the namespace
                members[0].ovs.vsctl(*(w for switch in members for w in ("--", "--if-exists", "del-br", switch.name)))
        for switch in switches:
            switch.terminate()
        return switches

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 (Mininet's name)
        """Delete the bridge and end the switch's shell."""
        self.ovs.vsctl("--if-exists", "del-br", self.name)
        Node.stop(self, deleteIntfs)
