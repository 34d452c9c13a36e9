"""Figures 1 to 4 of the white paper: four edges, VMs A and C on one segment, physical router R, remote host B."""

from __future__ import annotations

from topologies.base import GATEWAY_FILES, GatewayTopo


class FourEdge(GatewayTopo):
    """Four service routers in two sub-clusters; every uplink is a routed link to R."""

    gateway_file = GATEWAY_FILES / "four_edge.yaml"
    vms = {"A": 2, "C": 3}


topos = {"four_edge": FourEdge}
