"""The gateways as the compiler sees them: plain, frozen, fully resolved values.

The gateway file (``document.py``) is what a person writes; ``resolve.py`` turns it into these values, in which
every reference is followed and every default is filled in.  Nothing here does I/O or knows OpenFlow.

Vocabulary: slot *k* of the owner table belongs to service router *k*; a *remote address* is the destination when
going north and the source when coming south.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from controller.placement import SharedDomain

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
AddressOnLink = IPv4Interface | IPv6Interface


class HaMode(str, enum.Enum):
    """How many service routers of a gateway forward at once (NSX Policy API, ``Tier0.ha_mode``)."""

    ACTIVE_ACTIVE = "ACTIVE_ACTIVE"


class RedirectionPolicy(str, enum.Enum):
    """What chooses the owner of a packet (NSX Policy API, ``stateful_services.redirection_policy``)."""

    IP_HASH = "IP_HASH"
    NONE = "NONE"
    SRC_DST_IP_HASH = "SRC_DST_IP_HASH"


class DrEcmp(str, enum.Enum):
    """How the distributed router spreads north traffic: the NSX way, or by the owner table itself (ours)."""

    FIVE_TUPLE = "five-tuple"
    ALIGNED = "aligned"


class NatAction(str, enum.Enum):
    """Kinds of NAT rules (NSX Policy API, ``PolicyNatRule.action``)."""

    SNAT = "SNAT"
    DNAT = "DNAT"
    NO_SNAT = "NO_SNAT"
    NO_DNAT = "NO_DNAT"
    REFLEXIVE = "REFLEXIVE"


class FirewallAction(str, enum.Enum):
    """Verdicts of gateway firewall rules."""

    ALLOW = "ALLOW"
    DROP = "DROP"
    REJECT = "REJECT"


class RuleDirection(str, enum.Enum):
    """Direction of a firewall rule as seen from the uplinks: IN comes from outside (south), OUT goes north."""

    IN = "IN"
    OUT = "OUT"
    IN_OUT = "IN_OUT"


@dataclass(frozen=True)
class PortRange:
    """Inclusive range of TCP or UDP ports."""

    first: int
    last: int


@dataclass(frozen=True)
class Service:
    """One service entry.  ``protocol`` is "TCP", "UDP", "ICMPv4" or "ICMPv6"; empty port tuples mean any port."""

    protocol: str
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()
    icmp_type: int | None = None
    icmp_code: int | None = None


@dataclass(frozen=True)
class NatRule:
    """One NAT rule, in the order of evaluation (``Gateway.nat_rules`` is sorted).

    ``source``/``destination`` None means any; ``translated`` is an inclusive pair of addresses (None for NO_*).
    ``service`` None means any; ``translated_port`` (DNAT) None keeps the port.  ``scope`` holds interface group
    indexes; empty means every group.
    """

    id: str
    action: NatAction
    source: Network | None
    destination: Network | None
    translated: tuple[Address, Address] | None
    service: Service | None
    translated_port: int | None
    scope: frozenset[int]


@dataclass(frozen=True)
class FirewallRule:
    """One gateway firewall rule, in the order of evaluation.  Empty tuples mean any; scope as in NatRule."""

    id: str
    action: FirewallAction
    direction: RuleDirection
    stateful: bool
    sources: tuple[Network, ...]
    destinations: tuple[Network, ...]
    services: tuple[Service, ...]
    ip_versions: frozenset[int]
    scope: frozenset[int]


@dataclass(frozen=True)
class InterfaceGroup:
    """Equivalent uplinks, one per service router.  ``index`` (1..255) is the number frames and marks carry."""

    id: str
    index: int


@dataclass(frozen=True)
class Interface:
    """External interface of one service router; ``index`` (1..255) is unique in its service router."""

    id: str
    index: int
    port: str
    group: int
    addresses: tuple[AddressOnLink, ...]
    mtu: int


@dataclass(frozen=True)
class NextHop:
    """Next hop of a static route as one service router sees it: the address and the interface it is on."""

    address: Address
    interface: int


@dataclass(frozen=True)
class Route:
    """Static route of one service router; several next hops are equal-cost."""

    id: str
    network: Network
    next_hops: tuple[NextHop, ...]


@dataclass(frozen=True)
class ServiceRouter:
    """Service router of one slot: a bridge on one edge with a conntrack zone of its own."""

    slot: int
    edge: str
    failure_domain: str | None
    bridge: str
    zone: int
    backplane_address: IPv4Interface
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True)
class SubCluster:
    """Two service routers that hold the state of each other's connections; ``slots`` has the lower one first.

    ``shared_domain`` tells of the failure domain that both edges are in, None where they do not share one.
    """

    id: str
    slots: tuple[int, int]
    shared_domain: SharedDomain | None = None


@dataclass(frozen=True)
class Segment:
    """Logical switch behind the distributed router; ``index`` (1..255) is unique in its gateway."""

    id: str
    index: int
    port: str
    addresses: tuple[AddressOnLink, ...]


@dataclass(frozen=True)
class Gateway:
    """A Tier-0 gateway: its distributed router, service routers and rules.

    ``prefix`` starts the names of its bridges (``names.py``); ``number`` (1..255) is what frames carry.
    ``firewall_default`` is the verdict for new connections that no rule matches.  ``sub_clusters`` are in the order of
    their lower slots, empty in a gateway that is not stateful.
    """

    id: str
    number: int
    prefix: str
    ha_mode: HaMode
    stateful: bool
    redirection_policy: RedirectionPolicy
    dr_ecmp: DrEcmp
    transit: IPv4Network
    dr_backplane_address: IPv4Interface
    groups: tuple[InterfaceGroup, ...]
    routers: tuple[ServiceRouter, ...]
    segments: tuple[Segment, ...]
    nat_rules: tuple[NatRule, ...]
    firewall_rules: tuple[FirewallRule, ...]
    firewall_default: FirewallAction
    sub_clusters: tuple[SubCluster, ...] = ()

    def router(self, slot: int) -> ServiceRouter:
        """Return the service router of a slot; KeyError if there is none."""
        for router in self.routers:
            if router.slot == slot:
                return router
        raise KeyError(slot)

    def sub_cluster_of(self, slot: int) -> SubCluster | None:
        """Return the sub-cluster of a slot, None where its router has no backup; KeyError if there is no such slot."""
        self.router(slot)
        return next((found for found in self.sub_clusters if slot in found.slots), None)

    def peer_of(self, slot: int) -> int | None:
        """Return the other slot of the sub-cluster of a slot, None where there is none; KeyError as above."""
        found = self.sub_cluster_of(slot)
        return next(other for other in found.slots if other != slot) if found else None

    def group(self, index: int) -> InterfaceGroup:
        """Return the interface group of an index; KeyError if there is none."""
        for group in self.groups:
            if group.index == index:
                return group
        raise KeyError(index)


@dataclass(frozen=True)
class Config:
    """Everything one gateway file says, resolved."""

    gateways: tuple[Gateway, ...]
