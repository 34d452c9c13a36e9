"""Two edges whose service routers each have two next hops of equal cost: physical routers R1 and R2, B behind both."""

from __future__ import annotations

from topologies.base import GATEWAY_FILES, GatewayTopo


class Ecmp(GatewayTopo):
    """Two service routers; R1 and R2 are both on each of the two uplink networks."""

    gateway_file = GATEWAY_FILES / "ecmp.yaml"


topos = {"ecmp": Ecmp}
