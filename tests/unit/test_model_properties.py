"""Properties of the model, over generated and over damaged gateway files."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from controller.model import Config, ModelError, config_alarms, loads
from controller.model.names import MAX_PORT_NAME
from controller.model.schema import schema_text
from controller.model.view import natural_key

EXAMPLE = yaml.safe_load((Path(__file__).parents[2] / "etc" / "gateways" / "four_edge.yaml").read_text())
VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema_text()))

RICH = EXAMPLE | {
    "services": [{"id": "http", "service_entries": [{"protocol": "TCP", "destination_ports": ["80", "443-445"]}]}],
    "groups": [{"id": "admins", "ip_addresses": ["192.0.2.1", "192.0.2.8-192.0.2.11"]}],
}
"""The example with everything a file can have, as the ground for damage."""
RICH["tier0s"] = copy.deepcopy(RICH["tier0s"])
RICH["tier0s"][0]["gateway_firewall"]["rules"] += [
    {
        "id": "admin",
        "action": "REJECT",
        "sources": ["admins"],
        "services": ["http", {"protocol": "ICMPv4", "icmp_type": 8}],
    }
]
RICH["tier0s"][0]["nat_rules"] += [
    {"id": "both", "action": "REFLEXIVE", "source_network": "10.0.0.16/28", "translated_network": "198.51.100.16/28"},
    {"id": "spare", "action": "NO_SNAT", "scope": ["uplinks"], "destination_network": "192.0.2.0/24", "enabled": False},
]
RICH["tier0s"][0]["locale_service"]["service_routers"] = [{"edge": "edge1", "conntrack_zone": 7}]


def nodes(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every value inside a mapping or list."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from nodes(inner, (*path, key))


PATHS = sorted(nodes(RICH), key=str)
TEXTS = sorted({value for value in json.dumps(RICH).split('"') if value.strip(" ,:[]{}")}) + [
    "", "ANY", "any", "10.0.0.1\n", " 10.0.0.1", "10.0.0.0/255.255.255.0", "fe80::1%eth0", "1-2-3",
    "10.0.0.1 - 10.0.0.9", "::ffff:10.0.0.1/96", "0.0.0.0/0-1", "/", "-", "\u0661", "\ud800", "NONE", "SRC_DST_IP_HASH",
]  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, 2, 1280, 9000, 65535, 10**30]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(TEXTS),
    st.just([]),
    st.just({}),
    st.sampled_from(PATHS).map(lambda path: at(RICH, path)),
)


def at(value: Any, path: tuple) -> Any:
    """Return the value at a path."""
    for key in path:
        value = value[key]
    return value


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the rich example with up to three values deleted, doubled or replaced."""
    document = copy.deepcopy(RICH)
    for _ in range(draw(st.integers(1, 3))):
        if not document:
            break
        path = draw(st.sampled_from(sorted(nodes(document), key=str)))
        parent, kind = at(document, path[:-1]), draw(st.sampled_from(["delete", "replace", "append"]))
        if kind == "delete":
            parent.pop(path[-1])
        elif kind == "replace":
            parent[path[-1]] = copy.deepcopy(draw(VALUES))
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(draw(VALUES)))
        else:
            parent[draw(st.sampled_from(["id", "scope", "port", "number", "colour"]))] = copy.deepcopy(draw(VALUES))
    return document


@settings(max_examples=400, deadline=None)
@given(damaged())
def test_a_file_is_loaded_or_refused_with_a_path_and_what_is_loaded_fits_the_schema(document: dict[str, Any]) -> None:
    try:
        config = loads(json.dumps(document))
    except ModelError as error:
        assert error.problems
        assert all(problem.path and problem.message for problem in error.problems)
        assert len(set(error.problems)) == len(error.problems)
    else:
        VALIDATOR.validate(document)
        check_invariants(config)


@settings(max_examples=200, deadline=None)
@given(st.text())
@example("a: [")
@example("version: 1\nversion: 1")
def test_any_text_is_loaded_or_refused(text: str) -> None:
    try:
        loads(text)
    except ModelError as error:
        assert error.problems


@st.composite
def good(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a gateway file that has nothing wrong."""
    edges = draw(st.lists(st.from_regex(r"[a-z]{1,3}[0-9]{0,3}", fullmatch=True), min_size=8, max_size=8, unique=True))
    edges = edges[: draw(st.sampled_from([2, 4, 6, 8]))]
    groups = [f"g{number}" for number in range(1, draw(st.integers(1, 3)) + 1)]
    interfaces = [
        {"id": f"{group}-{slot}", "edge": edge, "subnets": [f"172.{16 + index}.{slot}.2/24"]}
        for index, group in enumerate(groups)
        for slot, edge in enumerate(edges)
    ]
    network = draw(st.sampled_from(["0.0.0.0/0", "203.0.113.0/24"]))
    hops = [{"ip_address": f"172.16.{slot}.1"} for slot in range(len(edges))]
    rules = [
        {
            "id": f"r{number}",
            "action": draw(st.sampled_from(["ALLOW", "DROP", "REJECT"])),
            "direction": draw(st.sampled_from(["IN", "OUT", "IN_OUT"])),
            "sources": draw(st.lists(st.sampled_from(["10.0.0.0/24", "10.0.0.5-10.0.0.77"]), min_size=1)),
            "sequence_number": draw(st.integers(0, 3)),
            "scope": draw(st.lists(st.sampled_from(groups))),
        }
        for number in range(draw(st.integers(0, 4)))
    ]
    return {
        "version": 1,
        "edge_clusters": [{"id": "ec", "edges": [{"id": edge} for edge in draw(st.permutations(edges))]}],
        "tier0s": [
            {
                "id": "t0",
                "number": draw(st.integers(1, 255)),
                "stateful_services": {"enabled": True},
                "locale_service": {
                    "edge_cluster": "ec",
                    "interfaces": draw(st.permutations(interfaces)),
                    "interface_groups": [
                        {"id": group, "members": [f"{group}-{slot}" for slot in range(len(edges))]} for group in groups
                    ],
                },
                "static_routes": [{"id": "north", "network": network, "next_hops": draw(st.permutations(hops))}],
                "gateway_firewall": {"rules": rules},
            }
        ],
        "segments": [{"id": "web", "gateway": "t0", "subnets": [{"gateway_address": "10.0.0.1/24"}]}],
    }


@settings(max_examples=100, deadline=None)
@given(good())
def test_good_files_are_loaded(document: dict[str, Any]) -> None:
    config = loads(json.dumps(document))
    VALIDATOR.validate(document)
    check_invariants(config)
    (t0,) = config.gateways
    edges = [edge["id"] for edge in document["edge_clusters"][0]["edges"]]
    assert [router.edge for router in t0.routers] == sorted(edges, key=natural_key)
    assert [router.slot for router in t0.routers] == list(range(1, len(edges) + 1))
    numbers = {rule["id"]: rule["sequence_number"] for rule in document["tier0s"][0]["gateway_firewall"]["rules"]}
    order = [(numbers[rule.id], list(numbers).index(rule.id)) for rule in t0.firewall_rules]
    assert order == sorted(order)
    for router in t0.routers:
        assert {entry.group for entry in router.interfaces} == {group.index for group in t0.groups}
        for route in router.routes:
            assert len(route.next_hops) == 1


@settings(max_examples=100, deadline=None)
@given(good(), st.randoms())
def test_order_of_edges_interfaces_and_members_does_not_matter(document: dict[str, Any], random: Any) -> None:
    shuffled = copy.deepcopy(document)
    service = shuffled["tier0s"][0]["locale_service"]
    for entries in (
        shuffled["edge_clusters"][0]["edges"],
        service["interfaces"],
        *(group["members"] for group in service["interface_groups"]),
    ):
        random.shuffle(entries)
    assume(shuffled != document)
    before, after = (loads(json.dumps(each)).gateways[0] for each in (document, shuffled))
    for one, other in zip(before.routers, after.routers, strict=True):
        assert (one.slot, one.edge, one.bridge, one.zone) == (other.slot, other.edge, other.bridge, other.zone)
        assert one.backplane_address == other.backplane_address
        ports = [{(entry.port, entry.group, entry.addresses) for entry in router.interfaces} for router in (one, other)]
        assert ports[0] == ports[1]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16),
)
def test_ranges_become_exactly_the_networks_that_cover_them(low: int, length: int) -> None:
    first, last = ip_address(low), ip_address(min(low + length, 2**32 - 1))
    document = copy.deepcopy(EXAMPLE)
    rule = {"id": "r", "action": "DROP", "sources": [f"{first}-{last}"]}
    document["tier0s"][0]["gateway_firewall"] = {"rules": [rule]}
    (found,) = loads(json.dumps(document)).gateways[0].firewall_rules
    assert found.sources[0][0] == first
    assert found.sources[-1][-1] == last
    assert sum(network.num_addresses for network in found.sources) == int(last) - int(first) + 1


def check_invariants(config: Config) -> None:
    """Assert what the compiler relies on for every configuration."""
    config_alarms(config)
    zones = [router.zone for gateway in config.gateways for router in gateway.routers]
    assert len(set(zones)) == len(zones)
    assert all(1 <= zone <= 65535 for zone in zones)
    ports = [entry.port for gateway in config.gateways for router in gateway.routers for entry in router.interfaces]
    ports += [segment.port for gateway in config.gateways for segment in gateway.segments]
    assert len(set(ports)) == len(ports)
    assert all(0 < len(port) <= MAX_PORT_NAME for port in ports)
    for gateway in config.gateways:
        indexes = {group.index for group in gateway.groups}
        assert {entry.group for router in gateway.routers for entry in router.interfaces} <= indexes
        for router in gateway.routers:
            own = {entry.index: [address.network for address in entry.addresses] for entry in router.interfaces}
            assert router.backplane_address.ip in gateway.transit
            for route in router.routes:
                assert route.next_hops
                assert all(any(hop.address in n for n in own[hop.interface]) for hop in route.next_hops)
                assert {hop.address.version for hop in route.next_hops} == {route.network.version}
        for rule in gateway.firewall_rules:
            assert rule.ip_versions
            assert rule.scope <= indexes
            for networks in (rule.sources, rule.destinations):
                assert not networks or {network.version for network in networks} == rule.ip_versions
                assert len(set(networks)) == len(networks)
        for nat in gateway.nat_rules:
            assert nat.scope <= indexes
            for network in (nat.source, nat.destination):
                assert network is None or network == ip_network(str(network))
