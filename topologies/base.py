"""The Mininet topology of any gateway file: every bridge and cable of the plan, VMs, physical routers, host B."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network
from pathlib import Path
from typing import Any, ClassVar

from mininet.topo import Topo

from controller.model import load
from controller.model.gateway import Config
from topologies.errors import LabError
from topologies.hosts import VM, PhysicalRouter, RemoteHost, Route
from topologies.links import SagaLink
from topologies.plan import ExternalNet, Plan, interface_name, plan

GATEWAY_FILES = Path(__file__).resolve().parent.parent / "etc" / "gateways"

# Between the physical routers and B; nobody else sees them (RFC 6598 and RFC 3849).
TRANSIT4 = IPv4Network("100.64.0.0/16")
TRANSIT6 = IPv6Network("2001:db8:ffff::/48")


class GatewayTopo(Topo):
    """Everything a gateway file describes, with hosts around it.

    ``vms`` maps the names of the virtual machines on the first segment to their host numbers there (2 is 10.0.0.2 in
    10.0.0.0/24).  The physical routers are called R, or R1, R2 … where uplinks have several next hops; B is behind all
    of them and answers for every address of ``remote_prefixes``.  Nodes carry what they are as options: switches
    ``role`` and ``edge``.  After building, ``config`` and ``plan`` hold what was built.
    """

    gateway_file: ClassVar[Path]
    vms: ClassVar[Mapping[str, int]] = {"A": 2}
    remote: ClassVar[str] = "B"
    remote_addresses: ClassVar[tuple[str, ...]] = ("192.0.2.2", "2001:db8:b::2")
    remote_prefixes: ClassVar[tuple[str, ...]] = ("192.0.2.0/24", "203.0.113.0/24", "198.18.0.0/15", "2001:db8:b::/64")

    config: Config
    plan: Plan

    def build(  # type: ignore[override]
        self,
        config: Config | Path | str | None = None,
        hash_policy: int = PhysicalRouter.HASH_FLOW,
        vms: Mapping[str, int] | None = None,
        **_params: Any,
    ) -> None:
        """Add all nodes and links.

        ``config`` is a resolved Config or the path of a gateway file (default: the topology's own); ``hash_policy`` is
        that of the physical routers; ``vms`` replaces the class's.  Raises ModelError for a bad file.
        """
        if config is None or isinstance(config, (str, Path)):
            config = load(Path(config or self.gateway_file))
        self.config = config
        self.plan = plan(config)
        self._links = 0
        for bridge in self.plan.bridges:
            self.addSwitch(
                bridge.name,
                dpid=f"{bridge.dpid:016x}",
                failMode="secure" if bridge.controlled else "standalone",
                role=bridge.role,
                edge=bridge.edge,
            )
        for cable in self.plan.cables:
            self._cable(cable.bridge1, cable.port1, cable.bridge2, cable.port2)
        self._add_vms(self.vms if vms is None else vms)
        self._add_outside(hash_policy)

    @property
    def controlled(self) -> tuple[str, ...]:
        """Names of the bridges that the controller programs."""
        return tuple(bridge.name for bridge in self.plan.bridges if bridge.controlled)

    def interfaces(self) -> set[str]:
        """Return the names of all interfaces that may appear in the network namespace of the switches."""
        found = set(self.switches())
        for _, _, info in self.links(withInfo=True):
            found.update(info[key] for node, key in (("node1", "intfName1"), ("node2", "intfName2"))
                         if self.isSwitch(info[node]))
        return found

    def _cable(self, node1: str, port1: str, node2: str, port2: str, mtu: int = 1500) -> None:
        """Add one link with the given interface names, and MAC addresses that are the same in every run."""
        self._links += 1
        addresses = [f"06:00:00:00:{self._links:02x}:{end:02x}" for end in (1, 2)]
        self.addLink(
            node1, node2, cls=SagaLink, intfName1=port1, intfName2=port2,
            addr1=addresses[0], addr2=addresses[1], mtu=mtu,
        )

    def _add_vms(self, vms: Mapping[str, int]) -> None:
        """Add the virtual machines to the first segment."""
        if not self.plan.segments:
            raise LabError("the gateway file has no segment to attach a virtual machine to")
        segment = self.plan.segments[0]
        for name, number in vms.items():
            addresses = [
                f"{gateway.network.network_address + number}/{gateway.network.prefixlen}"
                for gateway in segment.addresses
            ]
            gateways = [str(gateway.ip) for gateway in segment.addresses]
            intf = f"{name}-eth0"
            self.addHost(name, cls=VM, interface=intf, addresses=addresses, gateways=gateways)
            self._cable(name, intf, segment.bridge, interface_name(f"{name}-{segment.id}", f"host {name}"))

    def _add_outside(self, hash_policy: int) -> None:
        """Add the physical routers, their uplinks, and the remote host behind them."""
        count = self.plan.router_count
        routers = ["R"] if count == 1 else [f"R{number}" for number in range(1, count + 1)]
        mtu = max((net.mtu for net in self.plan.external), default=1500)
        transit: list[tuple[str, str, list[IPv4Interface | IPv6Interface], list[IPv4Interface | IPv6Interface]]] = []
        for number, router in enumerate(routers):
            outside4 = TRANSIT4.network_address + 4 * number
            outside6 = TRANSIT6.network_address + (number << 64)
            ends = [
                [IPv4Interface((outside4 + end, 30)), IPv6Interface((outside6 + end, 64))] for end in (1, 2)
            ]
            transit.append((f"{router}-{self.remote}", f"{self.remote}-{router}", *ends))
            self._add_router(router, number, transit[-1], hash_policy)
        defaults = [
            Route(network, tuple((str(near[family].ip), intf) for _, intf, near, _ in transit))
            for family, network in enumerate(("0.0.0.0/0", "::/0"))
        ]
        self.addHost(
            self.remote,
            cls=RemoteHost,
            interfaces={intf: [str(address) for address in far] for _, intf, _, far in transit},
            routes=defaults,
            addresses=list(self.remote_addresses),
            prefixes=list(self.remote_prefixes),
        )
        for router, (near_intf, far_intf, _, _) in zip(routers, transit, strict=True):
            self._cable(router, near_intf, self.remote, far_intf, mtu)

    def _add_router(self, router: str, number: int, transit: tuple, hash_policy: int) -> None:
        """Add one physical router: on every external network where it has an address, and towards B."""
        near_intf, _, near, far = transit
        interfaces: dict[str, list[str]] = {near_intf: [str(address) for address in near]}
        cables = []
        for net in self.plan.external:
            if number < len(net.routers):
                intf = interface_name(_router_interface(router, net), f"router {router}")
                interfaces[intf] = [str(address) for address in net.routers[number]]
                uplink = net.uplinks[0]
                end = (net.bridge, f"{net.bridge}-{router}") if net.bridge else (uplink.bridge, uplink.port)
                cables.append((router, intf, *end, net.mtu))
        towards = {4: str(far[0].ip), 6: str(far[1].ip)}
        routes = self.routes_inside(self.plan, number, router)
        for prefix in self.remote_prefixes:
            routes.append(Route(prefix, ((towards[ip_network(prefix).version], near_intf),)))
        self.addHost(router, cls=PhysicalRouter, interfaces=interfaces, routes=routes, hash_policy=hash_policy)
        for cable in cables:
            self._cable(*cable)

    def routes_inside(self, wanted: Plan, number: int, router: str) -> list[Route]:
        """Return a physical router's routes to what is inside of a plan, by the interfaces that were built."""
        built = {_router_interface(router, net) for net in self.plan.external if number < len(net.routers)}
        found = []
        for prefix, hops in wanted.routes(number).items():
            named = [(str(address), _router_interface(router, wanted.external[position])) for address, position in hops]
            usable = tuple(hop for hop in named if hop[1] in built)
            if usable:
                found.append(Route(str(prefix), usable))
        return found


def _router_interface(router: str, net: ExternalNet) -> str:
    """Return the name of a physical router's interface on an external network."""
    return f"{router}-{net.bridge or net.uplinks[0].id}"
