"""The gateway file as a person writes it: pydantic classes with the names of the NSX Policy API in snake_case.

Unknown keys and wrong types are refused here; what needs more than one object to be judged is in ``check_*.py``.
Values are frozen.  References are identifiers; ``resolve.py`` follows them.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Literal

from pydantic import Field

from controller.model.document_base import MAX_INDEX, Base
from controller.model.document_rules import MAX_RULES, AddressGroup, GatewayFirewall, NatRule, ServiceDefinition
from controller.model.fields import (
    AddressField,
    BridgePrefix,
    HaModeField,
    Id,
    Network4Field,
    NetworkField,
    OnLinkField,
    PortName,
    VersionField,
)
from controller.model.gateway import DrEcmp, HaMode, RedirectionPolicy

MAX_EDGES = 8
"""Edges of an active/active Tier-0 gateway: NSX's limit (nsx.md 2.3)."""


class Edge(Base):
    """Edge node: a host with Open vSwitch."""

    id: Id
    failure_domain: Id | None = None
    """What fails together: the two edges of a sub-cluster are taken from different failure domains."""
    member_index: int | None = Field(default=None, ge=1, le=MAX_EDGES)
    """Slot of the edge; on all edges of a cluster or on none.  Default: by natural order of the ids, from 1."""


class EdgeCluster(Base):
    """Edge nodes that carry gateways together."""

    id: Id
    edges: tuple[Edge, ...] = Field(min_length=1, max_length=MAX_INDEX)


class StatefulServices(Base):
    """Whether both directions of a connection are brought to one service router, and by which hash."""

    enabled: bool = False
    redirection_policy: RedirectionPolicy = RedirectionPolicy.IP_HASH


class Interface(Base):
    """External interface (uplink) of the service router on one edge."""

    id: Id
    edge: str
    """Id of an edge of the gateway's edge cluster."""
    type: Literal["EXTERNAL"] = "EXTERNAL"
    subnets: tuple[OnLinkField, ...] = Field(min_length=1, max_length=MAX_INDEX)
    """Addresses of the interface with their prefix lengths, one per subnet."""
    mtu: int = Field(default=1500, ge=1280, le=9000)
    port: PortName | None = None
    """Name of the switch port.  Default: bridge prefix, a hyphen and the interface's id."""


class InterfaceGroup(Base):
    """Equivalent external interfaces, one of every service router."""

    id: Id
    members: tuple[str, ...] = Field(min_length=1, max_length=MAX_INDEX)
    """Ids of interfaces."""


class ServiceRouterSettings(Base):
    """Settings of the service router on one edge."""

    edge: str
    """Id of an edge of the gateway's edge cluster."""
    conntrack_zone: int = Field(ge=1, le=65535)
    """Connection tracking zone.  Default: the gateway's number times 256 plus the slot."""


class LocaleService(Base):
    """Where the service routers of a gateway are, and their external interfaces."""

    id: Id = "default"
    edge_cluster: str
    """Id of an edge cluster."""
    interfaces: tuple[Interface, ...] = Field(default=(), max_length=MAX_INDEX)
    interface_groups: tuple[InterfaceGroup, ...] = Field(default=(), max_length=MAX_INDEX - 1)
    """A stateful gateway needs every interface in one.  Without stateful services, interfaces in none share the
    group "default"."""
    service_routers: tuple[ServiceRouterSettings, ...] = Field(default=(), max_length=MAX_INDEX)


class SubCluster(Base):
    """Two edges that back each other up."""

    edges: tuple[str, ...] = Field(min_length=2, max_length=2)
    """Ids of two edges of the gateway's edge cluster."""


class NextHop(Base):
    """Next hop of a static route."""

    ip_address: AddressField
    scope: tuple[str, ...] = ()
    """Ids of the interfaces through which it is used.  Default: those in whose subnet the address is."""


class StaticRoute(Base):
    """Static route; the next hops of one service router are equal-cost."""

    id: Id
    network: NetworkField
    next_hops: tuple[NextHop, ...] = Field(min_length=1)


class Tier0(Base):
    """Tier-0 gateway."""

    id: Id
    number: int | None = Field(default=None, ge=1, le=MAX_INDEX)
    """Number of the gateway in frames between service routers.  Default: its position in the file, from 1."""
    bridge_prefix: BridgePrefix | None = None
    """Start of the names of its bridges.  Default: the gateway's id."""
    ha_mode: HaModeField = HaMode.ACTIVE_ACTIVE
    stateful_services: StatefulServices = StatefulServices()
    dr_ecmp: DrEcmp = DrEcmp.FIVE_TUPLE
    """How the distributed router chooses a service router: five-tuple as in NSX, or aligned with the owner table."""
    internal_transit_subnet: Network4Field = IPv4Network("169.254.0.0/24")
    """Addresses of the backplane between distributed router and service routers."""
    locale_service: LocaleService
    sub_clusters: tuple[SubCluster, ...] = Field(default=(), max_length=MAX_EDGES // 2)
    """Pairs of edges that back each other up (NSX lets nobody choose them).  Default, and for edges in none of them:
    formed from the failure domains."""
    allow_unpaired: bool = False
    """Whether a stateful gateway may have an odd number of edges, one of which has no backup then."""
    static_routes: tuple[StaticRoute, ...] = ()
    nat_rules: tuple[NatRule, ...] = Field(default=(), max_length=MAX_RULES)
    """Evaluated by sequence_number, then by position."""
    gateway_firewall: GatewayFirewall = GatewayFirewall()


class SegmentSubnet(Base):
    """Subnet of a segment, given by the gateway's address in it."""

    gateway_address: OnLinkField


class Segment(Base):
    """Logical switch behind a gateway's distributed router."""

    id: Id
    gateway: str
    """Id of a Tier-0 gateway."""
    subnets: tuple[SegmentSubnet, ...] = Field(min_length=1, max_length=MAX_INDEX)
    port: PortName | None = None
    """Name of the distributed router's port.  Default: bridge prefix, "-dr-" and the segment's id."""


class Document(Base):
    """Gateway file of Saga."""

    version: VersionField
    """Version of the format."""
    edge_clusters: tuple[EdgeCluster, ...] = Field(min_length=1)
    tier0s: tuple[Tier0, ...] = Field(min_length=1, max_length=MAX_INDEX)
    segments: tuple[Segment, ...] = Field(default=(), max_length=MAX_INDEX)
    services: tuple[ServiceDefinition, ...] = ()
    groups: tuple[AddressGroup, ...] = ()
