"""Alarms about configurations that load but are unwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.model import ConfigAlarm, config_alarms, loads

EXAMPLE = Path(__file__).parents[2] / "etc" / "gateways" / "four_edge.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    return yaml.safe_load(EXAMPLE.read_text())


def alarms(document: dict[str, Any]) -> tuple[ConfigAlarm, ...]:
    return config_alarms(loads(json.dumps(document)))


def shadowed(document: dict[str, Any], earlier: dict[str, Any], later: dict[str, Any]) -> list[str]:
    """Return the ids of the alarms about two firewall rules."""
    rules = [{"id": "first", "action": "ALLOW"} | earlier, {"id": "second", "action": "DROP"} | later]
    document["tier0s"][0]["gateway_firewall"]["rules"] = rules
    return [alarm.id for alarm in alarms(document)]


def test_example_has_none(document: dict[str, Any]) -> None:
    assert alarms(document) == ()


@pytest.mark.parametrize("services", [{"enabled": False}, {"enabled": True, "redirection_policy": "NONE"}])
def test_stateful_rules_where_nothing_is_redirected(document: dict[str, Any], services: dict[str, Any]) -> None:
    document["tier0s"][0]["stateful_services"] = services
    firewall, nat = alarms(document)
    assert (firewall.id, firewall.gateway, firewall.severity) == ("stateful_firewall_without_redirection", "t0", "HIGH")
    assert "outbound, web-in" in firewall.cause
    assert "answers that return over another router are dropped" in firewall.cause
    assert (nat.id, nat.entity, nat.severity) == ("nat_without_redirection", "nat_rules", "HIGH")
    assert "web (DNAT), out (SNAT)" in nat.cause
    assert ("NONE" in nat.cause) is services["enabled"]


def test_reflexive_nat_needs_redirection_too(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    tier0["stateful_services"]["enabled"] = False
    tier0["gateway_firewall"] = {}
    nat = {"id": "both", "action": "REFLEXIVE", "source_network": "10.0.0.2", "translated_network": "198.51.100.2"}
    tier0["nat_rules"] = [nat]
    (alarm,) = alarms(document)
    assert alarm.id == "nat_without_redirection"
    assert "both (REFLEXIVE)" in alarm.cause


def test_stateless_rules_need_no_redirection(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    tier0["stateful_services"]["enabled"] = False
    tier0["nat_rules"] = [{"id": "none", "action": "NO_SNAT"}]
    for rule in tier0["gateway_firewall"]["rules"]:
        rule["stateful"] = False
    assert alarms(document) == ()


def test_one_router_needs_no_redirection(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    tier0["stateful_services"]["enabled"] = False
    del document["edge_clusters"][0]["edges"][1:]
    del tier0["locale_service"]["interfaces"][1:]
    tier0["locale_service"]["interface_groups"][0]["members"] = ["up1"]
    for route in tier0["static_routes"]:
        del route["next_hops"][1:]
    assert alarms(document) == ()


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({}, {}),
        ({}, {"sources": ["10.0.0.0/24"], "services": [{"protocol": "TCP"}], "direction": "IN", "scope": ["uplinks"]}),
        ({"sources": ["10.0.0.0/8", "2001:db8::/32"]}, {"sources": ["10.0.0.0/24", "2001:db8:a::/64"]}),
        ({"sources": ["10.0.0.0/25", "10.0.0.128/25"]}, {"sources": ["10.0.0.0/24"]}),
        ({"sources": ["0.0.0.0/0"]}, {"ip_protocol": "IPV4"}),
        (
            {"services": [{"protocol": "TCP", "destination_ports": ["80-90"]}]},
            {"services": [{"protocol": "TCP", "destination_ports": ["80", "88-90"], "source_ports": ["1024-2048"]}]},
        ),
        ({"services": [{"protocol": "ICMPv4"}]}, {"services": [{"protocol": "ICMPv4", "icmp_type": 8}]}),
        ({"direction": "OUT"}, {"direction": "OUT"}),
    ],
)
def test_shadowed_rule(document: dict[str, Any], earlier: dict[str, Any], later: dict[str, Any]) -> None:
    assert shadowed(document, earlier, later) == ["firewall_rule_shadowed"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"sources": ["10.0.0.0/24"]}, {}),
        ({"sources": ["0.0.0.0/0"]}, {}),
        ({"ip_protocol": "IPV4"}, {}),
        ({"direction": "IN"}, {"direction": "IN_OUT"}),
        ({"direction": "IN"}, {"direction": "OUT"}),
        ({"scope": ["uplinks"]}, {}),
        ({"services": [{"protocol": "TCP"}]}, {"services": [{"protocol": "UDP"}]}),
        ({"services": [{"protocol": "TCP"}]}, {}),
        ({"services": [{"protocol": "ICMPv4", "icmp_type": 8}]}, {"services": [{"protocol": "ICMPv4"}]}),
        (
            {"services": [{"protocol": "TCP", "destination_ports": ["80"]}]},
            {"services": [{"protocol": "TCP", "destination_ports": ["80-81"]}]},
        ),
        ({"destinations": ["10.0.0.0/25"]}, {"destinations": ["10.0.0.0/24"]}),
        ({"disabled": True}, {}),
        ({"sequence_number": 2, "sources": ["10.0.0.1"]}, {"sequence_number": 1, "sources": ["10.0.0.2"]}),
    ],
)
def test_rule_that_is_not_shadowed(document: dict[str, Any], earlier: dict[str, Any], later: dict[str, Any]) -> None:
    assert shadowed(document, earlier, later) == []


def test_shadowing_follows_the_order_of_evaluation(document: dict[str, Any]) -> None:
    narrow, wide = {"sequence_number": 9, "sources": ["10.0.0.1"]}, {"sequence_number": 1}
    assert shadowed(document, narrow, wide) == ["firewall_rule_shadowed"]
    (alarm,) = alarms(document)
    assert alarm.entity == "gateway_firewall.rules.first"


@pytest.mark.parametrize(
    "nat",
    [
        {"action": "DNAT", "destination_network": "198.51.100.80", "translated_network": "10.9.0.2"},
        {"action": "REFLEXIVE", "source_network": "10.9.0.2", "translated_network": "198.51.100.80"},
    ],
)
def test_nat_of_an_address_in_no_segment(document: dict[str, Any], nat: dict[str, Any]) -> None:
    document["tier0s"][0]["nat_rules"] = [{"id": "lost"} | nat]
    (alarm,) = alarms(document)
    assert (alarm.id, alarm.entity) == ("nat_inside_address_unknown", "nat_rules.lost")
    assert "10.9.0.2/32" in alarm.cause


def with_domains(document: dict[str, Any], *domains: str | None) -> None:
    """Give the edges these failure domains."""
    for edge, domain in zip(document["edge_clusters"][0]["edges"], domains, strict=True):
        edge["failure_domain"] = domain


SHARED, UNKNOWN = "sub_cluster_shares_failure_domain", "sub_cluster_failure_domain_unknown"


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        (["a", "a", "a", "b"], [(SHARED, "sub_clusters.1-2")]),
        (["a", "a", "a", "a"], [(SHARED, "sub_clusters.1-2"), (SHARED, "sub_clusters.3-4")]),
        (["a", "a", "b", "b"], []),
        ([None, None, None, "b"], [(UNKNOWN, "sub_clusters.1-2"), (UNKNOWN, "sub_clusters.3-4")]),
        (["a", "a", "b", None], [(UNKNOWN, "sub_clusters.2-4")]),
        ([None, None, None, None], []),
    ],
)
def test_failure_domains_of_sub_clusters(document: dict[str, Any], domains: list, expected: list) -> None:
    with_domains(document, *domains)
    assert [(alarm.id, alarm.entity) for alarm in alarms(document)] == expected


def test_a_shared_failure_domain_is_told_with_its_reason(document: dict[str, Any]) -> None:
    with_domains(document, "a", "a", "a", "b")
    (alarm,) = alarms(document)
    assert (alarm.gateway, alarm.severity) == ("t0", "MEDIUM")
    assert alarm.cause == (
        "Edges edge1 and edge2, which back each other up in sub-cluster 1-2, are both in failure domain a: 3 of the 4"
        " edges that are not in pairs already are in this failure domain. Its failure ends their connections."
    )
    assert alarm.remedy == "Spread the edges so that no failure domain has more than half of them."


def test_named_pairs_that_share_failure_domains(document: dict[str, Any]) -> None:
    document["tier0s"][0]["sub_clusters"] = [{"edges": ["edge4", "edge2"]}]
    named, rest = alarms(document)
    assert (named.entity, rest.entity) == ("sub_clusters.1-3", "sub_clusters.2-4")
    assert "rack-a: 2 of the 2 edges that are not in pairs already" in named.cause
    assert "Edges edge2 and edge4" in rest.cause
    assert "rack-b: the gateway file names this pair." in rest.cause
    assert rest.remedy == "Name pairs of different failure domains in sub_clusters, or none."


def test_pairs_kept_of_a_running_gateway_that_share_failure_domains(document: dict[str, Any]) -> None:
    running = loads(json.dumps(document))
    with_domains(document, "a", "a", "b", "b")
    first, second = config_alarms(loads(json.dumps(document), running=running))
    assert (first.id, first.entity, second.entity) == (SHARED, "sub_clusters.1-2", "sub_clusters.3-4")
    assert "failure domain a: the pair was there before and is kept." in first.cause
    assert first.remedy.startswith("Name other pairs in sub_clusters;")


def test_unknown_failure_domain_is_told_with_its_edges(document: dict[str, Any]) -> None:
    with_domains(document, None, None, "a", "b")
    (alarm,) = alarms(document)
    assert (alarm.gateway, alarm.severity, alarm.entity) == ("t0", "LOW", "sub_clusters.1-2")
    assert "for edge1, edge2, so both edges of sub-cluster 1-2 may" in alarm.cause


def test_an_edge_without_backup(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    del document["edge_clusters"][0]["edges"][3]
    tier0["allow_unpaired"] = True
    del tier0["locale_service"]["interfaces"][3]
    tier0["locale_service"]["interface_groups"][0]["members"] = ["up1", "up2", "up3"]
    for route in tier0["static_routes"]:
        del route["next_hops"][3]
    (alarm,) = alarms(document)
    assert (alarm.id, alarm.gateway, alarm.severity) == ("edge_without_backup", "t0", "MEDIUM")
    assert alarm.entity == "edges.edge3"
    assert "number of edges is 3, so edge3 (slot 3) is in no sub-cluster" in alarm.cause
    assert alarm.remedy == "Add an edge, or remove edge3."


def test_a_gateway_that_is_not_stateful_needs_no_backups(document: dict[str, Any]) -> None:
    tier0 = document["tier0s"][0]
    tier0 |= {"stateful_services": {"enabled": False}, "nat_rules": [], "gateway_firewall": {}}
    with_domains(document, "a", "a", "a", "a")
    assert alarms(document) == ()


def test_mtu_differs_in_a_group(document: dict[str, Any]) -> None:
    document["tier0s"][0]["locale_service"]["interfaces"][2]["mtu"] = 9000
    (alarm,) = alarms(document)
    assert (alarm.id, alarm.entity) == ("interface_group_mtu_differs", "interface_groups.uplinks")
    assert "up3 9000" in alarm.cause
