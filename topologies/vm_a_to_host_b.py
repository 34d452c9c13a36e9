"""The smallest gateway: two edges (one sub-cluster), virtual machine A, physical router R, remote host B."""

from __future__ import annotations

from topologies.base import GATEWAY_FILES, GatewayTopo


class VmAToHostB(GatewayTopo):
    """Two service routers, one virtual machine, one remote host."""

    gateway_file = GATEWAY_FILES / "vm_a_to_host_b.yaml"


topos = {"vm_a_to_host_b": VmAToHostB}
