"""How a link is realised: patch ports between bridges of one Open vSwitch, a veth pair everywhere else."""

from __future__ import annotations

from typing import Any

from mininet.link import Intf, Link, OVSIntf
from mininet.node import Node, Switch

from topologies.errors import LabError


class VethIntf(Intf):
    """One end of a veth pair, with its MTU set and its own kernel kept silent where it is a switch's port."""

    def config(self, mtu: int = 1500, up: bool = True, **_params: Any) -> dict[str, Any]:
        """Set the MTU in bytes and bring the interface up.

        A switch's end must not speak: with the userspace datapath its kernel sees every frame too, so ARP and IPv6
        are turned off there.
        """
        switch = isinstance(self.node, Switch)
        silence = f"echo 1 > /proc/sys/net/ipv6/conf/{self.name}/disable_ipv6; " if switch else ""
        self.cmd(f"{silence}ip link set {self.name} mtu {mtu} {'arp off ' if switch else ''}{'up' if up else 'down'}")
        return {}


class SagaLink(Link):
    """A link between two nodes; the names of its interfaces are given.

    Bridges of the same Open vSwitch instance are joined by patch ports (one pass of the datapath for both),
    everything else by veth.
    """

    def __init__(self, node1: Node, node2: Node, **options: Any) -> None:
        """``options``: see mininet.link.Link, and ``mtu`` in bytes."""
        instances = [getattr(node, "ovs", None) for node in (node1, node2)]
        self.is_patch = instances[0] is not None and instances[0] is instances[1]
        kind = OVSIntf if self.is_patch else VethIntf
        options.update(cls1=kind, cls2=kind)
        super().__init__(node1, node2, **options)

    def makeIntfPair(  # noqa: N802 (Mininet's name)
        self, intfname1: str, intfname2: str, addr1: str | None = None, addr2: str | None = None,
        node1: Node | None = None, node2: Node | None = None, deleteIntfs: bool = False,  # noqa: N803
    ) -> None:
        """Make the veth pair, each end in its node's namespace; patch ports are made by the switches."""
        if self.is_patch:
            return
        end1 = f"{intfname1} address {addr1} netns {node1.pid}"
        end2 = f"{intfname2} address {addr2} netns {node2.pid}"
        output = node1.cmd(f"ip link add name {end1} type veth peer name {end2}")
        if output:
            raise LabError(f"cannot make the link {intfname1} - {intfname2}: {output.strip()}")

    def stop(self) -> None:
        """Remove the link; deleting one end of a veth pair removes the other.

        A link to an isolated edge goes with the edge's namespace, which may be gone already.
        """
        ends = [intf.node for intf in (self.intf1, self.intf2) if intf]
        if not self.is_patch and ends and not any(getattr(node, "namespace", None) for node in ends):
            self.intf1.node.cmd(f"ip link del {self.intf1.name}")
        self.intf1 = self.intf2 = None

    delete = stop
