"""What a gateway file's network consists of: bridges, cables between them and the outside.  Pure; knows no Mininet.

How the parts are realised (patch ports in one Open vSwitch, veth between several) is decided by ``links.py``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import summarize_address_range

from controller.model import names
from controller.model.gateway import (
    Address,
    AddressOnLink,
    Config,
    Gateway,
    Interface,
    NatAction,
    Network,
    ServiceRouter,
)
from topologies.errors import LabError


class Role(enum.StrEnum):
    """What a bridge is.  The controller programs all but SEGMENT and EXTERNAL, which are plain learning switches."""

    DISTRIBUTED_ROUTER = "dr"
    SERVICE_ROUTER = "sr"
    LOGICAL_SWITCH = "switch"
    SEGMENT = "segment"
    EXTERNAL = "external"


@dataclass(frozen=True)
class Bridge:
    """A bridge; ``edge`` is set for service routers.  ``dpid`` is unique in the plan."""

    name: str
    role: Role
    dpid: int
    edge: str | None = None

    @property
    def controlled(self) -> bool:
        """Whether the controller programs this bridge."""
        return self.role not in (Role.SEGMENT, Role.EXTERNAL)


@dataclass(frozen=True)
class Cable:
    """A cable between two bridges, each end with the name of its port."""

    bridge1: str
    port1: str
    bridge2: str
    port2: str


@dataclass(frozen=True)
class SegmentNet:
    """A segment: its bridge and the gateway's addresses on it."""

    id: str
    bridge: str
    addresses: tuple[AddressOnLink, ...]


@dataclass(frozen=True)
class Uplink:
    """A service router's port towards the physical network and its addresses there."""

    id: str
    bridge: str
    port: str
    addresses: tuple[AddressOnLink, ...]


@dataclass(frozen=True)
class ExternalNet:
    """A network outside: the uplinks on it and, per physical router, that router's addresses.

    ``bridge`` is None for a cable between one uplink and one physical router, else the switch they all are on.
    """

    uplinks: tuple[Uplink, ...]
    routers: tuple[tuple[AddressOnLink, ...], ...]
    mtu: int
    bridge: str | None


@dataclass(frozen=True)
class Plan:
    """All parts of the network; ``inside`` are the prefixes that the physical network reaches over the gateways."""

    bridges: tuple[Bridge, ...]
    cables: tuple[Cable, ...]
    segments: tuple[SegmentNet, ...]
    external: tuple[ExternalNet, ...]
    inside: tuple[Network, ...]

    @property
    def edges(self) -> tuple[str, ...]:
        """The edges, in the order of their first service routers."""
        return tuple(dict.fromkeys(bridge.edge for bridge in self.bridges if bridge.edge is not None))

    @property
    def router_count(self) -> int:
        """Number of physical routers: as many as an external network has next hops of one address family."""
        return max((len(net.routers) for net in self.external), default=0)

    def routes(self, router: int) -> dict[Network, tuple[tuple[Address, int], ...]]:
        """Return, for a physical router (from 0), the next hops of every inside prefix.

        A next hop is a service router's address and the position in ``external`` of the network it is on.
        """
        hops = [
            (on_link.ip, position)
            for position, net in enumerate(self.external)
            if router < len(net.routers)
            for uplink in net.uplinks
            for on_link in uplink.addresses
        ]
        found = {prefix: tuple(hop for hop in hops if hop[0].version == prefix.version) for prefix in self.inside}
        return {prefix: hops for prefix, hops in found.items() if hops}


def interface_name(name: str, what: str) -> str:
    """Return ``name``; LabError if Linux does not take it for an interface (15 characters)."""
    if len(name) > names.MAX_PORT_NAME:
        raise LabError(f"{what} gives the interface name {name!r}; Linux allows {names.MAX_PORT_NAME} characters")
    return name


def plan(config: Config) -> Plan:
    """Return the network of a gateway file; LabError if a name gets too long for an interface."""
    bridges: list[tuple[str, Role, str | None]] = []
    cables: list[Cable] = []
    segments: list[SegmentNet] = []
    for gateway in config.gateways:
        _add_gateway(gateway, bridges, cables)
        for segment in gateway.segments:
            bridge = interface_name(f"seg-{segment.id}", f"segment {segment.id}")
            port = interface_name(f"{bridge}-dr", f"segment {segment.id}")
            bridges.append((bridge, Role.SEGMENT, None))
            cables.append(Cable(names.dr_bridge(gateway.prefix), segment.port, bridge, port))
            segments.append(SegmentNet(segment.id, bridge, segment.addresses))
    external = _external_nets(config)
    for net in external:
        if net.bridge:
            bridges.append((net.bridge, Role.EXTERNAL, None))
            cables += [
                Cable(uplink.bridge, uplink.port, net.bridge, f"{net.bridge}-p{number}")
                for number, uplink in enumerate(net.uplinks, 1)
            ]
    return Plan(
        bridges=tuple(Bridge(name, role, dpid, edge) for dpid, (name, role, edge) in enumerate(bridges, 1)),
        cables=tuple(cables),
        segments=tuple(segments),
        external=external,
        inside=_inside(config, external),
    )


def _add_gateway(gateway: Gateway, bridges: list[tuple[str, Role, str | None]], cables: list[Cable]) -> None:
    """Add the bridges of one gateway and the cables between them (``names.py``)."""
    prefix = gateway.prefix
    switches = (names.BACKPLANE, names.PUNT_NORTH, names.PUNT_SOUTH)
    bridges.append((names.dr_bridge(prefix), Role.DISTRIBUTED_ROUTER, None))
    bridges += [(router.bridge, Role.SERVICE_ROUTER, router.edge) for router in gateway.routers]
    bridges += [(names.switch_bridge(prefix, switch), Role.LOGICAL_SWITCH, None) for switch in switches]
    backplane = names.switch_bridge(prefix, names.BACKPLANE)
    cables.append(Cable(names.dr_bridge(prefix), names.dr_port(prefix), backplane, names.switch_port_of_dr(prefix)))
    for router in gateway.routers:
        cables += [
            Cable(
                router.bridge,
                names.sr_port(prefix, router.slot, switch),
                names.switch_bridge(prefix, switch),
                names.switch_port_of_sr(prefix, switch, router.slot),
            )
            for switch in switches
        ]


def _external_nets(config: Config) -> tuple[ExternalNet, ...]:
    """Group the external interfaces of all service routers by network."""
    groups: list[list[tuple[ServiceRouter, Interface]]] = []
    for gateway in config.gateways:
        for router in gateway.routers:
            for interface in router.interfaces:
                networks = {address.network for address in interface.addresses}
                for group in groups:
                    if any(address.network in networks for _, other in group for address in other.addresses):
                        group.append((router, interface))
                        break
                else:
                    groups.append([(router, interface)])
    nets = []
    for number, group in enumerate(groups, 1):
        routers = _physical_addresses(group)
        nets.append(
            ExternalNet(
                uplinks=tuple(Uplink(i.id, r.bridge, i.port, i.addresses) for r, i in group),
                routers=routers,
                mtu=min(interface.mtu for _, interface in group),
                bridge=None if len(group) == len(routers) == 1 else f"ext{number}",
            )
        )
    return tuple(nets)


def _physical_addresses(group: list[tuple[ServiceRouter, Interface]]) -> tuple[tuple[AddressOnLink, ...], ...]:
    """Return, per physical router, its addresses on one external network.

    The n-th router has the n-th next hop of each network that a static route uses; a network without next hops gets
    the first free host address, so that the physical router can reach the service router at all.
    """
    own = [address for _, interface in group for address in interface.addresses]
    per_network: list[list[AddressOnLink]] = []
    for network in dict.fromkeys(address.network for address in own):
        used = {address.ip for address in own}
        hops = [
            hop.address
            for router, interface in group
            for route in router.routes
            for hop in route.next_hops
            if hop.interface == interface.index and hop.address in network
        ]
        hops = list(dict.fromkeys(hops)) or [next(host for host in network.hosts() if host not in used)]
        interface_class = type(own[[address.network for address in own].index(network)])
        per_network.append([interface_class((hop, network.prefixlen)) for hop in hops])
    count = max(len(hops) for hops in per_network)
    return tuple(tuple(hops[number] for hops in per_network if number < len(hops)) for number in range(count))


def _inside(config: Config, external: tuple[ExternalNet, ...]) -> tuple[Network, ...]:
    """Return the prefixes behind the gateways: segments, and NAT addresses that are on no external network.

    NAT addresses are rounded up to a /24 (IPv6: /64), as a provider would route a block, so that a changed rule does
    not need a changed physical network.
    """
    on_link = [address.network for net in external for uplink in net.uplinks for address in uplink.addresses]
    segments = [a.network for gateway in config.gateways for segment in gateway.segments for a in segment.addresses]
    blocks: list[Network] = []
    for gateway in config.gateways:
        for rule in gateway.nat_rules:
            outside: list[Network] = []
            if rule.action in (NatAction.SNAT, NatAction.REFLEXIVE) and rule.translated:
                outside += summarize_address_range(*rule.translated)
            if rule.action is NatAction.DNAT and rule.destination:
                outside.append(rule.destination)
            for network in outside:
                length = 24 if network.version == 4 else 64
                block = network if network.prefixlen <= length else network.supernet(new_prefix=length)
                known = [other for other in (*on_link, *segments, *blocks) if other.version == block.version]
                if not any(network.subnet_of(other) for other in known):
                    blocks.append(block)
    return tuple(dict.fromkeys([*segments, *blocks]))
