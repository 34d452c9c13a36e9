"""What gateway files mean: the resolved values."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.model import Config, ModelError, load, loads
from controller.model.gateway import (
    DrEcmp,
    FirewallAction,
    FirewallRule,
    Gateway,
    HaMode,
    Interface,
    InterfaceGroup,
    NatAction,
    NatRule,
    NextHop,
    PortRange,
    RedirectionPolicy,
    Route,
    RuleDirection,
    Segment,
    Service,
)

EXAMPLE = Path(__file__).parents[2] / "etc" / "gateways" / "four_edge.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    return yaml.safe_load(EXAMPLE.read_text())


def resolved(document: dict[str, Any]) -> Config:
    return loads(json.dumps(document))


def gateway(document: dict[str, Any]) -> Gateway:
    return resolved(document).gateways[0]


def rule(document: dict[str, Any], **fields: Any) -> FirewallRule:
    """Return the gateway's only firewall rule, made of the fields."""
    document["tier0s"][0]["gateway_firewall"] = {"rules": [{"id": "r", "action": "ALLOW"} | fields]}
    (only,) = gateway(document).firewall_rules
    return only


def test_example_gateway() -> None:
    (t0,) = load(EXAMPLE).gateways
    assert (t0.id, t0.number, t0.prefix, t0.ha_mode, t0.stateful) == ("t0", 1, "t0", HaMode.ACTIVE_ACTIVE, True)
    assert (t0.redirection_policy, t0.dr_ecmp) == (RedirectionPolicy.IP_HASH, DrEcmp.FIVE_TUPLE)
    assert (t0.transit, t0.dr_backplane_address) == (ip_network("169.254.0.0/24"), ip_interface("169.254.0.1/24"))
    assert t0.groups == (InterfaceGroup("uplinks", 1),)
    assert t0.firewall_default is FirewallAction.DROP


def test_example_routers() -> None:
    (t0,) = load(EXAMPLE).gateways
    assert [(r.slot, r.edge, r.failure_domain, r.bridge, r.zone) for r in t0.routers] == [
        (1, "edge1", "rack-a", "t0-sr1", 257),
        (2, "edge2", "rack-b", "t0-sr2", 258),
        (3, "edge3", "rack-a", "t0-sr3", 259),
        (4, "edge4", "rack-b", "t0-sr4", 260),
    ]
    assert [str(router.backplane_address) for router in t0.routers] == [f"169.254.0.{k}/24" for k in (2, 3, 4, 5)]
    addresses = (ip_interface("172.16.3.2/24"), ip_interface("2001:db8:3::2/64"))
    assert t0.router(3).interfaces == (Interface("up3", 1, "t0-up3", 1, addresses, 1500),)
    assert t0.router(3).routes == (
        Route("default4", ip_network("0.0.0.0/0"), (NextHop(ip_address("172.16.3.1"), 1),)),
        Route("default6", ip_network("::/0"), (NextHop(ip_address("2001:db8:3::1"), 1),)),
    )


def test_example_segments_and_rules() -> None:
    (t0,) = load(EXAMPLE).gateways
    addresses = (ip_interface("10.0.0.1/24"), ip_interface("2001:db8:a::1/64"))
    assert t0.segments == (Segment("web", 1, "t0-dr-web", addresses),)
    http = Service("TCP", destination_ports=(PortRange(80, 80),))
    inside, outside = ip_address("10.0.0.2"), ip_address("198.51.100.1")
    assert t0.nat_rules == (
        NatRule("web", NatAction.DNAT, None, ip_network("198.51.100.80"), (inside, inside), http, 8080, frozenset()),
        NatRule("out", NatAction.SNAT, ip_network("10.0.0.0/24"), None, (outside, outside), None, None, frozenset()),
    )
    outbound, web_in = t0.firewall_rules
    assert (outbound.id, outbound.direction, outbound.stateful) == ("outbound", RuleDirection.OUT, True)
    assert outbound.sources == (ip_network("10.0.0.0/24"), ip_network("2001:db8:a::/64"))
    assert (outbound.destinations, outbound.services, outbound.ip_versions) == ((), (), frozenset((4, 6)))
    assert web_in.destinations == (ip_network("10.0.0.2"),)
    assert web_in.services == (Service("TCP", destination_ports=(PortRange(8080, 8080),)),)
    assert web_in.ip_versions == frozenset((4,))


def test_slots_follow_the_natural_order_of_edges(document: dict[str, Any]) -> None:
    text = json.dumps(document).replace('"edge1"', '"edge10"')
    assert [router.edge for router in loads(text).gateways[0].routers] == ["edge2", "edge3", "edge4", "edge10"]


def test_slots_by_member_index(document: dict[str, Any]) -> None:
    for edge, index in zip(document["edge_clusters"][0]["edges"], (8, 2, 1, 5), strict=True):
        edge["member_index"] = index
    t0 = gateway(document)
    assert [(router.slot, router.edge) for router in t0.routers] == [
        (1, "edge3"),
        (2, "edge2"),
        (5, "edge4"),
        (8, "edge1"),
    ]
    assert str(t0.router(8).backplane_address) == "169.254.0.9/24"
    assert (t0.router(8).zone, t0.router(8).bridge) == (264, "t0-sr8")


def test_numbers_prefixes_zones_and_ports_as_given(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    tier0 |= {"number": 9, "bridge_prefix": "west"}
    tier0["locale_service"]["service_routers"] = [{"edge": "edge2", "conntrack_zone": 7}]
    tier0["locale_service"]["interfaces"][0] |= {"port": "eth1", "mtu": 9000}
    document["segments"][0]["port"] = "vlan10"
    t0 = gateway(document)
    assert (t0.number, t0.prefix, t0.router(1).bridge) == (9, "west", "west-sr1")
    assert [router.zone for router in t0.routers] == [9 * 256 + 1, 7, 9 * 256 + 3, 9 * 256 + 4]
    assert (t0.router(1).interfaces[0].port, t0.router(1).interfaces[0].mtu) == ("eth1", 9000)
    assert (t0.router(2).interfaces[0].port, t0.segments[0].port) == ("west-up2", "vlan10")


def test_defaults_of_a_short_file() -> None:
    text = """
version: 1
edge_clusters: [{id: ec, edges: [{id: edge1}]}]
tier0s: [{id: t0, locale_service: {edge_cluster: ec}}]
"""
    (t0,) = loads(text).gateways
    assert (t0.stateful, t0.dr_ecmp, str(t0.transit)) == (False, DrEcmp.FIVE_TUPLE, "169.254.0.0/24")
    assert (t0.groups, t0.segments, t0.nat_rules, t0.firewall_rules) == ((), (), (), ())
    assert t0.firewall_default is FirewallAction.ALLOW
    assert t0.router(1).failure_domain is None


def test_two_gateways_on_one_cluster(document: dict[str, Any]) -> None:
    document["tier0s"].append({"id": "t1", "locale_service": {"edge_cluster": "ec1"}})
    document["segments"].append({"id": "lab", "gateway": "t1", "subnets": [{"gateway_address": "10.0.0.1/24"}]})
    t0, t1 = resolved(document).gateways
    assert ([s.id for s in t0.segments], [s.id for s in t1.segments]) == (["web"], ["lab"])
    assert (t1.number, t1.router(4).zone, t1.segments[0].index) == (2, 516, 1)


def test_several_interface_groups(document: dict[str, Any]) -> None:
    service = document["tier0s"][0]["locale_service"]
    for k in (1, 2, 3, 4):
        service["interfaces"].append({"id": f"dmz{k}", "edge": f"edge{k}", "subnets": [f"172.17.{k}.2/24"]})
    service["interface_groups"].append({"id": "dmz", "members": ["dmz4", "dmz3", "dmz2", "dmz1"]})
    document["tier0s"][0]["nat_rules"][1]["scope"] = ["dmz"]
    document["tier0s"][0]["gateway_firewall"]["rules"][0]["scope"] = ["dmz", "uplinks"]
    t0 = gateway(document)
    assert t0.groups == (InterfaceGroup("uplinks", 1), InterfaceGroup("dmz", 2))
    assert [(i.id, i.index, i.group) for i in t0.router(2).interfaces] == [("up2", 1, 1), ("dmz2", 2, 2)]
    assert t0.nat_rules[1].scope == frozenset((2,))
    assert t0.firewall_rules[0].scope == frozenset((1, 2))


@pytest.mark.parametrize(
    ("groups", "expected", "of_up2"),
    [
        ([], (("default", 1),), 1),
        ([{"id": "a", "members": ["up1"]}], (("a", 1), ("default", 2)), 2),
        ([{"id": "default", "members": ["up1"]}, {"id": "b", "members": ["up3"]}], (("default", 1), ("b", 2)), 1),
        ([{"id": "a", "members": ["up4", "up3", "up2", "up1"]}], (("a", 1),), 1),
    ],
)
def test_groups_of_a_stateless_gateway(document: dict[str, Any], groups: list, expected: tuple, of_up2: int) -> None:
    document["tier0s"][0]["stateful_services"]["enabled"] = False
    document["tier0s"][0]["locale_service"]["interface_groups"] = groups
    t0 = gateway(document)
    assert tuple((group.id, group.index) for group in t0.groups) == expected
    assert t0.router(2).interfaces[0].group == of_up2


def test_a_stateless_gateway_may_be_uneven(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    tier0["stateful_services"]["enabled"] = False
    del document["edge_clusters"][0]["edges"][3]
    service = tier0["locale_service"]
    service["interfaces"] = service["interfaces"][:2]
    service["interface_groups"] = []
    tier0["static_routes"] = [
        {
            "id": "north",
            "network": "0.0.0.0/0",
            "next_hops": [{"ip_address": "172.16.1.1"}, {"ip_address": "172.16.1.9"}],
        }
    ]
    t0 = gateway(document)
    hops = (NextHop(ip_address("172.16.1.1"), 1), NextHop(ip_address("172.16.1.9"), 1))
    assert t0.router(1).routes == (Route("north", ip_network("0.0.0.0/0"), hops),)
    assert [(router.interfaces, router.routes) for router in t0.routers[2:]] == [((), ())]
    assert t0.router(2).routes == ()


def test_next_hop_on_a_shared_uplink_subnet_serves_every_router(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    for k, interface in enumerate(tier0["locale_service"]["interfaces"], start=1):
        interface["subnets"] = [f"172.16.0.{k}/24"]
    tier0["static_routes"] = [{"id": "north", "network": "0.0.0.0/0", "next_hops": [{"ip_address": "172.16.0.254"}]}]
    expected = (Route("north", ip_network("0.0.0.0/0"), (NextHop(ip_address("172.16.0.254"), 1),)),)
    assert [router.routes for router in gateway(document).routers] == [expected] * 4


def test_next_hop_scope_limits_the_routers(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    tier0["stateful_services"]["enabled"] = False
    for k, interface in enumerate(tier0["locale_service"]["interfaces"], start=1):
        interface["subnets"] = [f"172.16.0.{k}/24"]
    hop = {"ip_address": "172.16.0.254", "scope": ["up1", "up4"]}
    tier0["static_routes"] = [{"id": "north", "network": "0.0.0.0/0", "next_hops": [hop]}]
    assert [len(router.routes) for router in gateway(document).routers] == [1, 0, 0, 1]


def test_rules_are_ordered_by_sequence_number_then_position(document: dict[str, Any]) -> None:
    numbers = {"a": 20, "b": 5, "c": 20, "d": 0, "e": 5}
    document["tier0s"][0]["gateway_firewall"]["rules"] = [
        {"id": name, "action": "DROP", "sequence_number": number} for name, number in numbers.items()
    ]
    document["tier0s"][0]["nat_rules"] = [
        {"id": name, "action": "NO_SNAT", "sequence_number": number} for name, number in numbers.items()
    ]
    t0 = gateway(document)
    assert "".join(entry.id for entry in t0.firewall_rules) == "dbeac"
    assert "".join(entry.id for entry in t0.nat_rules) == "dbeac"


def test_rules_that_are_switched_off_are_left_out(document: dict[str, Any]) -> None:
    document["tier0s"][0]["gateway_firewall"]["rules"][0]["disabled"] = True
    document["tier0s"][0]["nat_rules"][0]["enabled"] = False
    t0 = gateway(document)
    assert ([entry.id for entry in t0.firewall_rules], [entry.id for entry in t0.nat_rules]) == (["web-in"], ["out"])


def test_rules_refer_to_groups_and_services(document: dict[str, Any]) -> None:
    document["groups"] = [{"id": "admins", "ip_addresses": ["192.0.2.1", "192.0.2.8-192.0.2.11", "2001:db8:ff::/64"]}]
    document["services"] = [
        {
            "id": "web",
            "service_entries": [
                {"protocol": "TCP", "destination_ports": ["443-445", "80", "444-450"]},
                {"protocol": "UDP", "destination_ports": [443], "source_ports": ["1024-65535"]},
            ],
        }
    ]
    found = rule(
        document,
        sources=["admins", "203.0.113.0/25", "203.0.113.128/25"],
        services=["web", {"protocol": "TCP", "destination_ports": ["22"]}],
    )
    assert found.sources == tuple(
        ip_network(text) for text in ("192.0.2.1", "192.0.2.8/30", "203.0.113.0/24", "2001:db8:ff::/64")
    )
    assert found.services == (
        Service("TCP", destination_ports=(PortRange(80, 80), PortRange(443, 450))),
        Service("UDP", (PortRange(1024, 65535),), (PortRange(443, 443),)),
        Service("TCP", destination_ports=(PortRange(22, 22),)),
    )
    assert found.ip_versions == frozenset((4, 6))


def test_nat_rule_refers_to_a_service(document: dict[str, Any]) -> None:
    document["services"] = [{"id": "ping", "service_entries": [{"protocol": "ICMPv4", "icmp_type": 8}]}]
    document["tier0s"][0]["nat_rules"] = [
        {
            "id": "pool",
            "action": "SNAT",
            "service": "ping",
            "destination_network": "192.0.2.0/24",
            "translated_network": "198.51.100.1-198.51.100.9",
        }
    ]
    (nat,) = gateway(document).nat_rules
    assert nat.service == Service("ICMPv4", icmp_type=8)
    assert nat.translated == (ip_address("198.51.100.1"), ip_address("198.51.100.9"))
    assert (nat.source, nat.destination) == (None, ip_network("192.0.2.0/24"))


@pytest.mark.parametrize(
    ("action", "inside_or_match", "outside", "first", "last"),
    [
        ("DNAT", {"destination_network": "198.51.100.0/28"}, "10.0.0.16/28", "10.0.0.16", "10.0.0.31"),
        ("DNAT", {"destination_network": "198.51.100.0/28"}, "10.0.0.16", "10.0.0.16", "10.0.0.16"),
        ("REFLEXIVE", {"source_network": "10.0.0.16/28"}, "198.51.100.16/28", "198.51.100.16", "198.51.100.31"),
    ],
)
def test_translations_of_networks(
    document: dict[str, Any], action: str, inside_or_match: dict, outside: str, first: str, last: str
) -> None:
    nat = {"id": "n", "action": action, "translated_network": outside} | inside_or_match
    document["tier0s"][0]["nat_rules"] = [nat]
    assert gateway(document).nat_rules[0].translated == (ip_address(first), ip_address(last))


@pytest.mark.parametrize(
    ("fields", "versions"),
    [
        ({}, {4, 6}),
        ({"ip_protocol": "IPV6"}, {6}),
        ({"ip_protocol": "IPV4"}, {4}),
        ({"sources": ["10.0.0.0/24"]}, {4}),
        ({"destinations": ["2001:db8::/32"]}, {6}),
        ({"sources": ["10.0.0.0/24", "2001:db8::/32"]}, {4, 6}),
        ({"sources": ["10.0.0.0/24", "2001:db8::/32"], "destinations": ["192.0.2.1"]}, {4}),
        ({"services": [{"protocol": "ICMPv6"}]}, {6}),
        ({"services": [{"protocol": "ICMPv4"}]}, {4}),
        ({"services": [{"protocol": "ICMPv4"}, {"protocol": "ICMPv6"}]}, {4, 6}),
        ({"services": [{"protocol": "ICMPv4"}, {"protocol": "TCP"}]}, {4, 6}),
    ],
)
def test_ip_versions_of_a_rule(document: dict[str, Any], fields: dict[str, Any], versions: set[int]) -> None:
    assert rule(document, **fields).ip_versions == frozenset(versions)


def test_what_a_rule_cannot_match_is_left_out(document: dict[str, Any]) -> None:
    found = rule(
        document,
        ip_protocol="IPV4",
        sources=["10.0.0.0/24", "2001:db8::/32"],
        services=[{"protocol": "ICMPv6"}, {"protocol": "UDP"}],
    )
    assert (found.sources, found.services) == ((ip_network("10.0.0.0/24"),), (Service("UDP"),))


def test_point_to_point_links_have_no_special_addresses(document: dict[str, Any]) -> None:
    interface = document["tier0s"][0]["locale_service"]["interfaces"][0]
    interface["subnets"] = ["172.16.1.0/31", "2001:db8:1::/127"]
    hops = [route["next_hops"] for route in document["tier0s"][0]["static_routes"]]
    assert hops[0][0]["ip_address"] == "172.16.1.1"
    hops[1][0]["ip_address"] = "2001:db8:1::1"
    assert gateway(document).router(1).interfaces[0].addresses[0] == ip_interface("172.16.1.0/31")


def test_all_problems_of_a_stage_are_reported(document: dict[str, Any]) -> None:
    document["tier0s"][0]["locale_service"]["interfaces"][0]["mtu"] = 1
    document["tier0s"][0]["locale_service"]["colour"] = "red"
    document["segments"][0]["subnets"][0]["gateway_address"] = "10.0.0.1"
    with pytest.raises(ModelError) as caught:
        resolved(document)
    assert [problem.path for problem in caught.value.problems] == [
        "tier0s[0].locale_service.interfaces[0].mtu",
        "tier0s[0].locale_service.colour",
        "segments[0].subnets[0].gateway_address",
    ]


def test_symmetric_hash_is_allowed_without_nat_and_unused_without_stateful_services(document: dict[str, Any]) -> None:
    stateful = document["tier0s"][0]["stateful_services"]
    stateful["redirection_policy"] = "SRC_DST_IP_HASH"
    for nat in document["tier0s"][0]["nat_rules"]:
        nat["enabled"] = False
    assert gateway(document).redirection_policy is RedirectionPolicy.SRC_DST_IP_HASH
    document["tier0s"][0]["nat_rules"][0]["enabled"] = True
    stateful["enabled"] = False
    assert len(gateway(document).nat_rules) == 1
