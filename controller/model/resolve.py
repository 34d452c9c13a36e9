"""From a document to the resolved configuration: every reference followed, every default filled in, all checked."""

from __future__ import annotations

from ipaddress import IPv4Interface

from controller.model import gateway, names, routes, rules
from controller.model.check import checked
from controller.model.document import Document, Tier0
from controller.model.document_rules import NatRule
from controller.model.view import DEFAULT_GROUP, GatewayView, RouterView, interface_group_ids
from controller.placement import form


def resolve(document: Document, running: gateway.Config | None = None) -> gateway.Config:
    """Return what a document means; ModelError with the problems if it cannot mean anything.

    ``running`` is the configuration in force, of which sub-clusters are kept.
    """
    view = checked(document)
    before = {entry.id: entry for entry in running.gateways} if running else {}
    return gateway.Config(tuple(_gateway(owner, document, before.get(owner.tier0.id)) for owner in view.gateways))


def _gateway(owner: GatewayView, document: Document, before: gateway.Gateway | None) -> gateway.Gateway:
    tier0 = owner.tier0
    indexes = {group: index for index, group in enumerate(interface_group_ids(tier0), start=1)}
    return gateway.Gateway(
        id=tier0.id,
        number=owner.number,
        prefix=owner.prefix,
        ha_mode=tier0.ha_mode,
        stateful=owner.stateful,
        redirection_policy=tier0.stateful_services.redirection_policy,
        dr_ecmp=tier0.dr_ecmp,
        transit=tier0.internal_transit_subnet,
        dr_backplane_address=_backplane_address(tier0, 0),
        groups=tuple(gateway.InterfaceGroup(group, index) for group, index in indexes.items()),
        routers=tuple(_router(owner, router, indexes) for router in owner.routers),
        segments=tuple(
            gateway.Segment(
                view.segment.id,
                view.index,
                view.port,
                tuple(subnet.gateway_address for subnet in view.segment.subnets),
            )
            for view in owner.segments
        ),
        nat_rules=tuple(_nat_rule(rule, document, indexes) for rule in rules.in_order(tier0.nat_rules) if rule.enabled),
        firewall_rules=tuple(
            resolved
            for rule in rules.in_order(tier0.gateway_firewall.rules)
            if not rule.disabled and (resolved := rules.firewall_rule(rule, document, indexes))
        ),
        firewall_default=tier0.gateway_firewall.default_action,
        sub_clusters=_sub_clusters(owner, before) if owner.stateful else (),
    )


def _sub_clusters(owner: GatewayView, before: gateway.Gateway | None) -> tuple[gateway.SubCluster, ...]:
    """Return the sub-clusters; those of the running gateway ``before`` by their edges, as slots may have moved."""
    slot_of = {router.edge.id: router.slot for router in owner.routers}
    named = [(slot_of[first], slot_of[second]) for first, second in (entry.edges for entry in owner.tier0.sub_clusters)]
    edges = [tuple(before.router(slot).edge for slot in entry.slots) for entry in before.sub_clusters] if before else []
    existing = [(slot_of[first], slot_of[second]) for first, second in edges if {first, second} <= slot_of.keys()]
    placement = form({router.slot: router.edge.failure_domain for router in owner.routers}, named, existing)
    shared = {entry.pair: entry for entry in placement.shared_domain}
    return tuple(gateway.SubCluster(f"{low}-{high}", (low, high), shared.get((low, high)))
                 for low, high in placement.pairs)


def _backplane_address(tier0: Tier0, slot: int) -> IPv4Interface:
    """Return a backplane address: the distributed router (slot 0) has the first host address, slot k the k-th after."""
    transit = tier0.internal_transit_subnet
    return IPv4Interface((transit.network_address + 1 + slot, transit.prefixlen))


def _router(owner: GatewayView, router: RouterView, indexes: dict[str, int]) -> gateway.ServiceRouter:
    group_of = {
        member: indexes[group.id] for group in owner.tier0.locale_service.interface_groups for member in group.members
    }
    resolved_routes = (
        gateway.Route(route.id, route.network, routes.next_hops(router, route)) for route in owner.tier0.static_routes
    )
    return gateway.ServiceRouter(
        slot=router.slot,
        edge=router.edge.id,
        failure_domain=router.edge.failure_domain,
        bridge=names.sr_bridge(owner.prefix, router.slot),
        zone=router.zone,
        backplane_address=_backplane_address(owner.tier0, router.slot),
        interfaces=tuple(
            gateway.Interface(
                view.interface.id,
                view.index,
                view.port,
                group_of.get(view.interface.id) or indexes[DEFAULT_GROUP],
                view.interface.subnets,
                view.interface.mtu,
            )
            for view in router.interfaces
        ),
        routes=tuple(route for route in resolved_routes if route.next_hops),
    )


def _nat_rule(rule: NatRule, document: Document, indexes: dict[str, int]) -> gateway.NatRule:
    entries = rules.service_entries(rule.service, document) if rule.service is not None else ()
    return gateway.NatRule(
        id=rule.id,
        action=rule.action,
        source=rule.source_network,
        destination=rule.destination_network,
        translated=rule.translated_network,
        service=rules.service(entries[0]) if entries else None,
        translated_port=rule.translated_port,
        scope=frozenset(indexes[group] for group in rule.scope),
    )
