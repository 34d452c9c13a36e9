"""Gateways for the tests of the core: the examples, and variants that use every feature of the gateway file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from controller.compile.gateway import bridges, compile_bridge
from controller.compile.values import Program
from controller.model import loads
from controller.model.gateway import Gateway

EXAMPLES = Path(__file__).parents[2] / "etc" / "gateways"

Document = dict[str, Any]


def example(name: str = "four_edge") -> Document:
    """Return an example gateway file as JSON values."""
    return yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())


def gateway(document: Document | None = None) -> Gateway:
    """Return the only gateway of a document (default: the example with four edges)."""
    (only,) = loads(json.dumps(example() if document is None else document)).gateways
    return only


def with_rules(*rules: Document, default: str = "DROP", document: Document | None = None) -> Document:
    """Return a document with these firewall rules; ids are given where they lack."""
    document = document or example()
    document["tier0s"][0]["gateway_firewall"] = {
        "default_action": default, "rules": [{"id": f"rule{n}"} | rule for n, rule in enumerate(rules)]}
    return document


def with_nat(*rules: Document, document: Document | None = None) -> Document:
    """Return a document with these NAT rules; ids are given where they lack."""
    document = document or example()
    document["tier0s"][0]["nat_rules"] = [{"id": f"nat{n}"} | rule for n, rule in enumerate(rules)]
    return document


def policy(name: str) -> Document:
    """Return the example with a redirection policy (and without NAT where that does not go together)."""
    document = with_nat() if name == "SRC_DST_IP_HASH" else example()
    document["tier0s"][0]["stateful_services"]["redirection_policy"] = name
    return document


def stateless() -> Document:
    """Return the example without stateful services."""
    document = example()
    document["tier0s"][0]["stateful_services"]["enabled"] = False
    return document


def aligned() -> Document:
    """Return the example whose distributed router hashes like the owner table."""
    document = example()
    document["tier0s"][0]["dr_ecmp"] = "aligned"
    return document


def with_edges(count: int) -> Document:
    """Return the example with another even number of edges."""
    document = example()
    numbers = range(1, count + 1)
    tier0 = document["tier0s"][0]
    document["edge_clusters"][0]["edges"] = [
        {"id": f"edge{n}", "failure_domain": "rack-a" if n % 2 else "rack-b"} for n in numbers]
    tier0["locale_service"]["interfaces"] = [
        {"id": f"up{n}", "edge": f"edge{n}", "subnets": [f"172.16.{n}.2/24", f"2001:db8:{n}::2/64"]} for n in numbers]
    tier0["locale_service"]["interface_groups"][0]["members"] = [f"up{n}" for n in numbers]
    for route, form in zip(tier0["static_routes"], ("172.16.{}.1", "2001:db8:{}::1"), strict=True):
        route["next_hops"] = [{"ip_address": form.format(n)} for n in numbers]
    return document


def two_groups() -> Document:
    """Return the example with a second interface group on a subnet that all its members share, and a second segment.

    Rules are bound to groups; some translations lie in the shared subnet.
    """
    document = with_nat(
        {"action": "DNAT", "destination_network": "192.168.9.80", "translated_network": "10.0.0.2", "scope": ["dmz"]},
        {"action": "SNAT", "source_network": "10.0.0.0/24", "translated_network": "192.168.9.90-192.168.9.91",
         "scope": ["dmz"]},
        {"action": "SNAT", "source_network": "10.0.0.0/23", "translated_network": "198.51.100.1", "scope": ["uplinks"]},
        document=with_rules(
            {"action": "ALLOW", "direction": "OUT", "scope": ["uplinks", "dmz"]},
            {"action": "ALLOW", "direction": "IN", "scope": ["dmz"], "destinations": ["10.0.0.2"]}))
    locale = document["tier0s"][0]["locale_service"]
    locale["interfaces"] += [{"id": f"dmz{n}", "edge": f"edge{n}", "subnets": [f"192.168.9.{n + 1}/24"]}
                             for n in (1, 2, 3, 4)]
    locale["interface_groups"].append({"id": "dmz", "members": ["dmz1", "dmz2", "dmz3", "dmz4"]})
    subnets = [{"gateway_address": address} for address in ("10.0.1.1/24", "10.0.2.1/24", "2001:db8:b::1/64")]
    document["segments"].append({"id": "db", "gateway": "t0", "subnets": subnets})
    return document


def every_nat() -> Document:
    """Return the example with NAT rules of every kind."""
    tcp = {"protocol": "TCP", "destination_ports": ["443", "8000-8003"]}
    return with_nat(
        {"action": "NO_DNAT", "destination_network": "198.51.100.16/30", "source_network": "192.0.2.7",
         "sequence_number": 1},
        {"action": "NO_DNAT", "destination_network": "198.51.100.16/30", "sequence_number": 1,
         "service": {"protocol": "ICMPv4", "icmp_type": 13, "icmp_code": 0}},
        {"action": "NO_DNAT", "destination_network": "198.51.100.16/30", "sequence_number": 1,
         "service": {"protocol": "TCP", "source_ports": ["9"]}},
        {"action": "NO_SNAT", "source_network": "10.0.0.0/24", "destination_network": "172.16.0.0/16",
         "sequence_number": 2},
        {"action": "NO_SNAT", "source_network": "10.0.0.0/24", "sequence_number": 2,
         "service": {"protocol": "UDP", "source_ports": ["500"], "destination_ports": ["500"]}},
        {"action": "NO_SNAT", "source_network": "10.0.0.0/24", "sequence_number": 2,
         "service": {"protocol": "TCP", "source_ports": ["500"], "destination_ports": ["500"]}},
        {"action": "NO_SNAT", "source_network": "10.0.0.0/24", "sequence_number": 2,
         "service": {"protocol": "ICMPv4", "icmp_type": 13, "icmp_code": 0}},
        {"action": "DNAT", "destination_network": "198.51.100.80", "service": tcp, "translated_network": "10.0.0.2",
         "translated_port": 8443, "sequence_number": 3},
        {"action": "DNAT", "destination_network": "198.51.100.80", "translated_network": "10.0.0.3",
         "service": {"protocol": "UDP", "destination_ports": ["53"], "source_ports": ["1024-65535"]},
         "translated_port": 5353, "sequence_number": 4},
        {"action": "DNAT", "destination_network": "198.51.100.16/30", "translated_network": "10.0.0.16/30",
         "sequence_number": 5},
        {"action": "REFLEXIVE", "source_network": "10.0.0.8/31", "translated_network": "198.51.100.8/31",
         "sequence_number": 6},
        {"action": "SNAT", "source_network": "10.0.0.0/25", "destination_network": "192.0.2.128/25",
         "service": {"protocol": "ICMPv4", "icmp_type": 8}, "translated_network": "198.51.100.32/29",
         "sequence_number": 7},
        {"action": "SNAT", "translated_network": "198.51.100.1", "sequence_number": 100})


def every_rule() -> Document:
    """Return the example with firewall rules of every kind."""
    return with_rules(
        {"action": "REJECT", "direction": "IN", "services": [{"protocol": "TCP", "destination_ports": ["25"]}]},
        {"action": "DROP", "sources": ["192.0.2.66", "2001:db8:ffff::/48"]},
        {"action": "ALLOW", "direction": "IN", "stateful": False, "destinations": ["10.0.0.53"],
         "services": [{"protocol": "UDP", "destination_ports": ["53"]}]},
        {"action": "ALLOW", "direction": "OUT", "scope": ["uplinks"], "sources": ["10.0.0.0/24"],
         "services": [{"protocol": "TCP", "source_ports": ["1024-65535"], "destination_ports": ["80", "8000-9000"]},
                      {"protocol": "ICMPv4", "icmp_type": 3, "icmp_code": 4}, {"protocol": "ICMPv6"}]},
        {"action": "ALLOW", "ip_protocol": "IPV6", "destinations": ["2001:db8:a::/64"],
         "services": [{"protocol": "ICMPv6", "icmp_type": 128, "icmp_code": 0}]},
        {"action": "ALLOW", "services": [{"protocol": "UDP", "source_ports": ["67"], "destination_ports": ["68"]}]},
        default="REJECT")


VARIANTS: dict[str, Callable[[], Document]] = {
    "four_edge": example,
    "ecmp": lambda: example("ecmp"),
    "vm_a_to_host_b": lambda: example("vm_a_to_host_b"),
    "no_redirection": lambda: policy("NONE"),
    "both_addresses": lambda: policy("SRC_DST_IP_HASH"),
    "stateless": stateless,
    "aligned": aligned,
    "six_edges": lambda: with_edges(6),
    "two_groups": two_groups,
    "every_nat": every_nat,
    "every_rule": every_rule,
}


def programs(of: Gateway) -> dict[str, Program]:
    """Return the programs of all bridges of a gateway whose ports are all there."""
    compiled = {}
    for bridge in bridges(of):
        wanted = compile_bridge(of, bridge, {}).missing
        compiled[bridge] = compile_bridge(of, bridge, {name: number for number, name in enumerate(wanted, start=1)})
    return compiled
