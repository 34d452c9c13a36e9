"""A document seen by gateway and service router: slots, numbers, names and indexes, with the path of everything.

The checks and ``resolve.py`` read it; building it needs a document whose identifiers are unique and whose references
all lead somewhere (``check_identity.py``, ``check_references.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from controller.model import names
from controller.model.document import Document, Edge, EdgeCluster, Interface, Segment, Tier0
from controller.model.gateway import AddressOnLink
from controller.model.problems import join

DEFAULT_GROUP = "default"
"""Interface group of the interfaces that are in none; only without stateful services."""


@dataclass(frozen=True)
class InterfaceView:
    """External interface: ``index`` from 1 within its service router."""

    path: str
    interface: Interface
    slot: int
    index: int
    port: str


@dataclass(frozen=True)
class RouterView:
    """Service router of one slot.  ``zone_path`` is where its zone is set, None where it is the default."""

    slot: int
    edge: Edge
    zone: int
    zone_path: str | None
    interfaces: tuple[InterfaceView, ...]


@dataclass(frozen=True)
class SegmentView:
    """Segment of a gateway: ``index`` from 1 within the gateway."""

    path: str
    segment: Segment
    index: int
    port: str


@dataclass(frozen=True)
class GatewayView:
    """Gateway with its service routers by slot, its interfaces by position in the file, and its segments."""

    path: str
    tier0: Tier0
    number: int
    prefix: str
    cluster: EdgeCluster
    cluster_path: str
    routers: tuple[RouterView, ...]
    interfaces: tuple[InterfaceView, ...]
    segments: tuple[SegmentView, ...]

    @property
    def stateful(self) -> bool:
        """Whether both directions of a connection are brought to one service router."""
        return self.tier0.stateful_services.enabled

    def uplink_addresses(self) -> Iterator[tuple[str, InterfaceView, AddressOnLink]]:
        """Yield path, interface and address of every address of every external interface."""
        for view in self.interfaces:
            for position, address in enumerate(view.interface.subnets):
                yield f"{view.path}.subnets[{position}]", view, address

    def segment_addresses(self) -> Iterator[tuple[str, SegmentView, AddressOnLink]]:
        """Yield path, segment and gateway address of every subnet of every segment."""
        for view in self.segments:
            for position, subnet in enumerate(view.segment.subnets):
                yield f"{view.path}.subnets[{position}].gateway_address", view, subnet.gateway_address


@dataclass(frozen=True)
class View:
    """All gateways of a document."""

    document: Document
    gateways: tuple[GatewayView, ...]


def natural_key(identifier: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return the key by which edge2 comes before edge10; identifiers that differ never compare equal."""
    parts = re.findall(r"[0-9]+|[^0-9]+", identifier)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts], identifier


def slots(cluster: EdgeCluster) -> dict[str, int]:
    """Return edge id to slot: its member_index, or its place in the natural order of the ids, from 1."""
    given = {edge.id: edge.member_index for edge in cluster.edges if edge.member_index is not None}
    if given:
        return given
    ordered = sorted((edge.id for edge in cluster.edges), key=natural_key)
    return {edge: slot for slot, edge in enumerate(ordered, start=1)}


def gateway_number(document: Document, position: int) -> int:
    """Return the number of the Tier-0 gateway at a position: as given, or 1 + position."""
    return document.tier0s[position].number or position + 1


def interface_group_ids(tier0: Tier0) -> tuple[str, ...]:
    """Return the ids of the interface groups in the order of their indexes (from 1).

    Without stateful services, interfaces in no group share the group "default", which comes last if it is not declared.
    """
    declared = tuple(group.id for group in tier0.locale_service.interface_groups)
    grouped = {member for group in tier0.locale_service.interface_groups for member in group.members}
    rest = any(interface.id not in grouped for interface in tier0.locale_service.interfaces)
    if tier0.stateful_services.enabled or not rest or DEFAULT_GROUP in declared:
        return declared
    return (*declared, DEFAULT_GROUP)


def build(document: Document) -> View:
    """Return the view of a document whose identifiers are unique and whose references lead somewhere."""
    return View(document, tuple(_gateway(document, position) for position in range(len(document.tier0s))))


def _gateway(document: Document, position: int) -> GatewayView:
    tier0 = document.tier0s[position]
    path = f"tier0s[{position}]"
    number = gateway_number(document, position)
    prefix = tier0.bridge_prefix or tier0.id
    cluster_ids = [cluster.id for cluster in document.edge_clusters]
    cluster_position = cluster_ids.index(tier0.locale_service.edge_cluster)
    cluster = document.edge_clusters[cluster_position]
    slot_of = slots(cluster)
    interfaces = _interfaces(tier0, path, prefix, slot_of)
    routers = tuple(
        _router(tier0, path, edge, slot_of[edge.id], number, interfaces)
        for edge in sorted(cluster.edges, key=lambda edge: slot_of[edge.id])
    )
    segments = _segments(document, tier0, prefix)
    cluster_path = f"edge_clusters[{cluster_position}]"
    return GatewayView(path, tier0, number, prefix, cluster, cluster_path, routers, interfaces, segments)


def _interfaces(tier0: Tier0, path: str, prefix: str, slot_of: dict[str, int]) -> tuple[InterfaceView, ...]:
    counts = dict.fromkeys(slot_of.values(), 0)
    views = []
    for position, interface in enumerate(tier0.locale_service.interfaces):
        slot = slot_of[interface.edge]
        counts[slot] += 1
        port = interface.port or names.default_uplink_port(prefix, interface.id)
        views.append(
            InterfaceView(f"{path}.locale_service.interfaces[{position}]", interface, slot, counts[slot], port)
        )
    return tuple(views)


def _router(
    tier0: Tier0, path: str, edge: Edge, slot: int, number: int, interfaces: tuple[InterfaceView, ...]
) -> RouterView:
    zone, zone_path = number * 256 + slot, None
    for position, settings in enumerate(tier0.locale_service.service_routers):
        if settings.edge == edge.id:
            zone = settings.conntrack_zone
            zone_path = join(f"{path}.locale_service.service_routers[{position}]", "conntrack_zone")
    return RouterView(slot, edge, zone, zone_path, tuple(view for view in interfaces if view.slot == slot))


def _segments(document: Document, tier0: Tier0, prefix: str) -> tuple[SegmentView, ...]:
    views: list[SegmentView] = []
    for position, segment in enumerate(document.segments):
        if segment.gateway == tier0.id:
            port = segment.port or names.default_segment_port(prefix, segment.id)
            views.append(SegmentView(f"segments[{position}]", segment, len(views) + 1, port))
    return tuple(views)
