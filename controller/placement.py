"""Which two edges back each other up: sub-clusters over failure domains.

Both edges of a sub-cluster hold the state of each other's connections, so they should not fail together
(Broadcom, "Key Concepts Stateful Services": sub-clusters, failure domain).  Values in, values out; slots stand for
edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx

Pair = tuple[int, int]
"""Two slots, the lower one first."""

_NAMED = ("the gateway file names this pair", "name pairs of different failure domains in sub_clusters, or none")
_KEPT = (
    "the pair was there before and is kept",
    "name other pairs in sub_clusters; both edges then copy their connections to other peers",
)
_SPREAD = "spread the edges so that no failure domain has more than half of them"


@dataclass(frozen=True)
class SharedDomain:
    """A pair whose slots are both in ``domain``: why that is so, and what can be done about it."""

    pair: Pair
    domain: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Placement:
    """Pairs in the order of their lower slots, the slot left alone if there is one, and pairs that share a domain."""

    pairs: tuple[Pair, ...]
    unpaired: int | None
    shared_domain: tuple[SharedDomain, ...]


def form(
    domains: Mapping[int, str | None], named: Sequence[Pair] = (), existing: Sequence[Pair] = ()
) -> Placement:
    """Pair the slots that are the keys of ``domains``; each value is the failure domain, None where it is not known.

    ``named`` pairs are taken as they are.  ``existing`` pairs, those of a running gateway, are kept where both slots
    are still there and neither is in a named pair.  The other slots are paired so that, in this order,

    1. as few pairs as possible share a failure domain (a slot whose domain is not known shares none),
    2. as many pairs as possible are of two domains known to differ,
    3. the slot left alone, where their number is odd, is as high as possible,
    4. the list of pairs is the lexicographically smallest.

    Exactly one pairing is the best, so the result does not depend on the order of the arguments.  Raises ValueError
    for a named pair with a slot that is not there, and for pairs of the same kind that have a slot in common.
    """
    named = _ordered(named)
    unknown = {slot for pair in named for slot in pair} - set(domains)
    if unknown:
        raise ValueError(f"there is no slot {min(unknown)}")
    taken = {slot for pair in named for slot in pair}
    kept = [pair for pair in _ordered(existing) if set(pair) <= set(domains) and not taken & set(pair)]
    taken |= {slot for pair in kept for slot in pair}
    free = sorted(set(domains) - taken)
    formed, unpaired = _match(free, domains)
    why = dict.fromkeys(named, _NAMED) | dict.fromkeys(kept, _KEPT)
    pairs = tuple(sorted([*named, *kept, *formed]))
    return Placement(pairs, unpaired, tuple(
        SharedDomain(pair, domain, *why.get(pair, (_crowded(domain, free, domains), _SPREAD)))
        for pair in pairs if (domain := _shared(pair, domains)) is not None
    ))


def _ordered(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs with the lower slot first; ValueError where a slot is there twice."""
    found: set[int] = set()
    for pair in pairs:
        for slot in pair:
            if slot in found:
                raise ValueError(f"slot {slot} is in two pairs, or twice in one")
            found.add(slot)
    return [(min(pair), max(pair)) for pair in pairs]


def _shared(pair: Pair, domains: Mapping[int, str | None]) -> str | None:
    first, second = (domains[slot] for slot in pair)
    return first if first == second else None


def _crowded(domain: str, free: Sequence[int], domains: Mapping[int, str | None]) -> str:
    count = sum(domains[slot] == domain for slot in free)
    return f"{count} of the {len(free)} edges that are not in pairs already are in this failure domain"


def _match(slots: Sequence[int], domains: Mapping[int, str | None]) -> tuple[list[Pair], int | None]:
    """Return the best pairs of ascending slots and the slot left alone, as ``form`` defines them.

    One number holds the four criteria as digits of falling weight, so that only one matching is the heaviest.
    """
    # The slot that is paired with nobody (a place behind the last one) is the one left alone.
    places: list[int | None] = [*slots, *([None] if len(slots) % 2 else [])]
    size = len(places)
    # In the order of the list, a pair's higher place is a digit at the position of its lower place.
    order = size ** size
    alone = order * size
    graph = networkx.Graph()
    for low in range(size):
        for high in range(low + 1, size):
            weight = -high * size ** (size - 1 - low)
            if places[high] is None:
                weight += low * order
            else:
                weight += alone * _separation(domains[places[low]], domains[places[high]], size)
            graph.add_edge(low, high, weight=weight)
    matching = networkx.max_weight_matching(graph, maxcardinality=True)
    found = [tuple(places[place] for place in sorted(pair)) for pair in matching]
    lonely = next((low for low, high in found if high is None), None)
    return [pair for pair in found if None not in pair], lonely


def _separation(first: str | None, second: str | None, size: int) -> int:
    """Return how good a pair is: one not shared outweighs any number known to differ."""
    if first is None or second is None:
        return size
    return 0 if first == second else size + 1
