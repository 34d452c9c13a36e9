"""Sub-clusters: which edges back each other up, in values and from a gateway file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.model import Config, ModelError, loads
from controller.model.gateway import Gateway, SubCluster
from controller.placement import Placement, SharedDomain, form

EXAMPLE = Path(__file__).parents[2] / "etc" / "gateways" / "four_edge.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    return yaml.safe_load(EXAMPLE.read_text())


def domains(text: str) -> dict[int, str | None]:
    """Return slots from 1 with a letter each as failure domain; a full stop stands for none."""
    return {slot: None if letter == "." else letter for slot, letter in enumerate(text, start=1)}


def with_edges(document: dict[str, Any], edges: dict[str, str | None], **keys: Any) -> dict[str, Any]:
    """Return the example with other edges (id to failure domain), each with an uplink of its own."""
    changed = copy.deepcopy(document)
    changed["edge_clusters"][0]["edges"] = [{"id": edge, "failure_domain": domain} for edge, domain in edges.items()]
    tier0 = changed["tier0s"][0] | keys
    changed["tier0s"] = [tier0]
    interfaces = [{"id": f"up-{edge}", "edge": edge, "subnets": [f"172.16.{number}.2/24"]}
                  for number, edge in enumerate(edges)]
    tier0["locale_service"] |= {"interfaces": interfaces, "interface_groups": [
        {"id": "uplinks", "members": [interface["id"] for interface in interfaces]}]}
    tier0["static_routes"] = [{"id": "north", "network": "0.0.0.0/0",
                               "next_hops": [{"ip_address": f"172.16.{number}.1"} for number in range(len(edges))]}]
    return changed


def gateway(document: dict[str, Any], running: Config | None = None) -> Gateway:
    return loads(json.dumps(document), running=running).gateways[0]


def pairs_of_edges(found: Gateway) -> list[tuple[str, ...]]:
    return [tuple(found.router(slot).edge for slot in entry.slots) for entry in found.sub_clusters]


@pytest.mark.parametrize(
    ("given", "pairs", "unpaired"),
    [
        ("", [], None),
        ("a", [], 1),
        ("aa", [(1, 2)], None),
        ("abab", [(1, 2), (3, 4)], None),
        ("aabb", [(1, 3), (2, 4)], None),
        ("aaab", [(1, 2), (3, 4)], None),
        ("....", [(1, 2), (3, 4)], None),
        ("a..a", [(1, 2), (3, 4)], None),
        (".ab.", [(1, 4), (2, 3)], None),  # not (1, 2): it would leave no pair known to differ
        ("aa.b", [(1, 3), (2, 4)], None),
        ("aaa..b", [(1, 4), (2, 5), (3, 6)], None),
        ("aaaabbbc", [(1, 5), (2, 6), (3, 7), (4, 8)], None),
        ("abc", [(1, 2)], 3),
        ("aab", [(1, 3)], 2),
        ("baa", [(1, 2)], 3),
        ("aba.b", [(1, 2), (3, 5)], 4),  # 5 alone would leave 3 or 1 with a slot of which nothing is known
        ("aaaab", [(1, 2), (3, 5)], 4),
        ("abcdefg", [(1, 2), (3, 4), (5, 6)], 7),
    ],
)
def test_pairs(given: str, pairs: list[tuple[int, int]], unpaired: int | None) -> None:
    found = form(domains(given))
    assert (list(found.pairs), found.unpaired) == (pairs, unpaired)


def test_slots_need_not_be_successive() -> None:
    assert form({8: "a", 1: "a", 5: "b", 2: None}) == Placement(((1, 2), (5, 8)), None, ())


def test_why_a_failure_domain_is_shared() -> None:
    found = form(domains("aabbccca"), named=[(2, 1)], existing=[(4, 3)])
    assert found.pairs == ((1, 2), (3, 4), (5, 6), (7, 8))
    named, kept, crowded = found.shared_domain
    assert (named.pair, named.domain, named.reason) == ((1, 2), "a", "the gateway file names this pair")
    assert (kept.pair, kept.domain, kept.reason) == ((3, 4), "b", "the pair was there before and is kept")
    assert crowded == SharedDomain(
        (5, 6), "c", "3 of the 4 edges that are not in pairs already are in this failure domain",
        "spread the edges so that no failure domain has more than half of them",
    )
    assert len({named.remedy, kept.remedy, crowded.remedy}) == 3


def test_only_slots_that_were_free_are_counted_in_the_reason() -> None:
    (crowded,) = form(domains("cacc"), named=[(1, 2)]).shared_domain
    assert crowded.reason.startswith("2 of the 2 edges")


def test_existing_pairs_that_cannot_be_kept() -> None:
    # 1-9: no slot 9; 3-4: 3 is named with 2; so 4 is free again; 5-6 stays.
    found = form(domains("ababab"), named=[(3, 2)], existing=[(1, 9), (3, 4), (6, 5)])
    assert found.pairs == ((1, 4), (2, 3), (5, 6))


def test_a_slot_left_alone_gets_the_slot_that_is_added() -> None:
    before = form(domains("aba"))
    assert (before.pairs, before.unpaired) == (((1, 2),), 3)
    after = form(domains("abab"), existing=before.pairs)
    assert (after.pairs, after.unpaired) == (((1, 2), (3, 4)), None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"named": [(1, 5)]}, "there is no slot 5"),
        ({"named": [(1, 1)]}, "slot 1 is in two pairs, or twice in one"),
        ({"named": [(1, 2), (3, 1)]}, "slot 1 is in two pairs"),
        ({"existing": [(1, 2), (2, 3)]}, "slot 2 is in two pairs"),
    ],
)
def test_pairs_that_make_no_sense(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        form(domains("abab"), **arguments)


def test_the_sub_clusters_of_the_example(document: dict[str, Any]) -> None:
    t0 = gateway(document)
    assert t0.sub_clusters == (SubCluster("1-2", (1, 2)), SubCluster("3-4", (3, 4)))
    assert [t0.peer_of(slot) for slot in (1, 2, 3, 4)] == [2, 1, 4, 3]
    assert [t0.sub_cluster_of(slot) for slot in (2, 3)] == list(t0.sub_clusters)
    with pytest.raises(KeyError):
        t0.peer_of(5)


def test_named_sub_clusters(document: dict[str, Any]) -> None:
    document["tier0s"][0]["sub_clusters"] = [{"edges": ["edge4", "edge1"]}]
    assert pairs_of_edges(gateway(document)) == [("edge1", "edge4"), ("edge2", "edge3")]


def test_the_sub_cluster_knows_its_shared_domain(document: dict[str, Any]) -> None:
    document["tier0s"][0]["sub_clusters"] = [{"edges": ["edge1", "edge3"]}]
    first, second = gateway(document).sub_clusters
    assert first.shared_domain and (first.shared_domain.pair, first.shared_domain.domain) == ((1, 3), "rack-a")
    assert second.shared_domain and second.shared_domain.domain == "rack-b"


def test_a_gateway_that_is_not_stateful_has_none(document: dict[str, Any]) -> None:
    document["tier0s"][0]["stateful_services"]["enabled"] = False
    t0 = gateway(document)
    assert (t0.sub_clusters, t0.peer_of(1)) == ((), None)


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_an_odd_number_of_edges(document: dict[str, Any], count: int) -> None:
    edges = {f"edge{number}": "ab"[number % 2] for number in range(1, count + 1)}
    with pytest.raises(ModelError, match=f"the number of edges is {count}, .* and with allow_unpaired: true 1 to 8"):
        gateway(with_edges(document, edges))
    found = gateway(with_edges(document, edges, allow_unpaired=True))
    assert len(found.sub_clusters) == count // 2
    assert [slot for slot in range(1, count + 1) if found.peer_of(slot) is None] == [count]


@pytest.mark.parametrize("count", [2, 4, 6, 8])
def test_an_even_number_leaves_none_alone(document: dict[str, Any], count: int) -> None:
    edges = {f"edge{number}": "ab"[number % 2] for number in range(1, count + 1)}
    found = gateway(with_edges(document, edges, allow_unpaired=True))
    assert None not in [found.peer_of(router.slot) for router in found.routers]


def test_the_order_in_the_file_does_not_matter(document: dict[str, Any]) -> None:
    edges = {"edge1": "a", "edge2": "a", "edge3": "b", "edge4": None, "edge10": "a", "edge11": "c"}
    one = gateway(with_edges(document, edges))
    other = gateway(with_edges(document, dict(reversed(edges.items()))))
    assert one.sub_clusters == other.sub_clusters
    assert pairs_of_edges(one) == [("edge1", "edge3"), ("edge2", "edge4"), ("edge10", "edge11")]


def test_a_running_gateway_keeps_its_pairs_when_slots_move(document: dict[str, Any]) -> None:
    old = {"edge3": "a", "edge4": "a", "edge5": "b", "edge6": "b"}
    running = loads(json.dumps(with_edges(document, old)))
    assert pairs_of_edges(running.gateways[0]) == [("edge3", "edge5"), ("edge4", "edge6")]
    grown = with_edges(document, {"edge1": "b", "edge2": "a"} | old)
    assert pairs_of_edges(gateway(grown)) == [("edge1", "edge2"), ("edge3", "edge5"), ("edge4", "edge6")]
    relabelled = with_edges(document, {"edge1": "x", "edge2": "y"} | dict.fromkeys(old, "x") | {"edge3": "y"})
    assert pairs_of_edges(gateway(relabelled)) != pairs_of_edges(gateway(grown))
    assert pairs_of_edges(gateway(relabelled, running)) == pairs_of_edges(gateway(grown))


def test_a_running_gateway_gives_up_a_pair_that_is_named_otherwise_or_lacks_an_edge(document: dict[str, Any]) -> None:
    running = loads(json.dumps(with_edges(document, {f"edge{number}": "ab"[number % 2] for number in range(1, 7)})))
    assert pairs_of_edges(running.gateways[0]) == [("edge1", "edge2"), ("edge3", "edge4"), ("edge5", "edge6")]
    left = with_edges(document, {"edge2": "x", "edge3": "x", "edge4": "x", "edge5": "y"})
    assert pairs_of_edges(gateway(left, running)) == [("edge2", "edge5"), ("edge3", "edge4")]
    left["tier0s"][0]["sub_clusters"] = [{"edges": ["edge4", "edge5"]}]
    assert pairs_of_edges(gateway(left, running)) == [("edge2", "edge3"), ("edge4", "edge5")]


def test_a_running_gateway_of_another_name_keeps_nothing(document: dict[str, Any]) -> None:
    running = loads(json.dumps(document).replace('"t0"', '"t9"'))
    changed = with_edges(document, {"edge1": "a", "edge2": "a", "edge3": "b", "edge4": "b"})
    assert pairs_of_edges(gateway(changed, running)) == [("edge1", "edge3"), ("edge2", "edge4")]
