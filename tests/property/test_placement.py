"""Pairing of edges against a search of all pairings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.placement import Placement, form

Pairs = tuple[tuple[int, int], ...]
DOMAINS = st.dictionaries(st.integers(1, 8), st.sampled_from([None, "a", "b", "c", "d"]), max_size=8)
FULL = st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=5, max_size=8).map(
    lambda found: dict(enumerate(found, start=1)))


def pairings(slots: tuple[int, ...]) -> Iterator[tuple[Pairs, int | None]]:
    """Yield every way to pair ascending slots, with the slot left alone."""
    for alone in slots if len(slots) % 2 else (None,):
        for pairs in perfect(tuple(slot for slot in slots if slot != alone)):
            yield pairs, alone


def perfect(slots: tuple[int, ...]) -> Iterator[Pairs]:
    """Yield every way to pair an even number of ascending slots."""
    if not slots:
        yield ()
        return
    first, *others = slots
    for peer in others:
        for rest in perfect(tuple(slot for slot in others if slot != peer)):
            yield ((first, peer), *rest)


def sharing(pairs: Pairs, domains: dict[int, str | None]) -> list[tuple[int, int]]:
    return [(one, other) for one, other in pairs if domains[one] == domains[other] is not None]


def differing(pairs: Pairs, domains: dict[int, str | None]) -> int:
    return sum(None not in (domains[one], domains[other]) and domains[one] != domains[other] for one, other in pairs)


def best(slots: tuple[int, ...], domains: dict[int, str | None]) -> tuple[Pairs, int | None]:
    """Return the best pairing of ascending slots by trying all of them."""
    return min(pairings(slots), key=lambda found: (
        len(sharing(found[0], domains)), -differing(found[0], domains), -(found[1] or 0), found[0]))


@st.composite
def some_pairs(draw: st.DrawFn, slots: list[int]) -> list[tuple[int, int]]:
    """Draw pairs of different slots, either slot first, in any order."""
    shuffled = draw(st.permutations(slots))
    return list(zip(shuffled[::2], shuffled[1::2], strict=False))[: draw(st.integers(0, 2))]


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[int, str | None], list[tuple[int, int]], list[tuple[int, int]]]:
    """Draw failure domains, named pairs of their slots, and existing pairs, some with slots that are gone."""
    domains = draw(DOMAINS | FULL)
    return domains, draw(some_pairs(sorted(domains))), draw(some_pairs(sorted({*domains, 9, 10})))


def ordered(pairs: list[tuple[int, int]]) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in pairs}


def check_shape(found: Placement, domains: dict[int, str | None]) -> None:
    """Assert that every slot is in one pair or alone, and that exactly the shared domains are told."""
    slots = [*itertools.chain(*found.pairs), *([] if found.unpaired is None else [found.unpaired])]
    assert sorted(slots) == sorted(domains)
    assert all(low < high for low, high in found.pairs)
    assert list(found.pairs) == sorted(found.pairs)
    assert [entry.pair for entry in found.shared_domain] == sharing(found.pairs, domains)
    assert all(domains[entry.pair[0]] == entry.domain and entry.reason and entry.remedy
               for entry in found.shared_domain)


@settings(max_examples=400, deadline=None)
@given(DOMAINS | FULL)
def test_the_pairing_is_the_best_of_all(domains: dict[int, str | None]) -> None:
    found = form(domains)
    check_shape(found, domains)
    assert (found.pairs, found.unpaired) == best(tuple(sorted(domains)), domains)


def test_every_division_of_up_to_six_edges_into_domains() -> None:
    for count in range(7):
        for letters in itertools.product((None, "a", "b"), repeat=count):
            domains = dict(enumerate(letters, start=1))
            found = form(domains)
            assert (found.pairs, found.unpaired) == best(tuple(domains), domains), domains


@settings(max_examples=400, deadline=None)
@given(cases())
def test_named_and_existing_pairs_are_kept_and_the_rest_is_the_best(case: tuple) -> None:
    domains, named, existing = case
    found = form(domains, named, existing)
    check_shape(found, domains)
    taken = set(itertools.chain(*named))
    kept = {pair for pair in ordered(existing) if pair[1] <= 8 and set(pair) <= set(domains) and not taken & set(pair)}
    assert ordered(named) | kept <= set(found.pairs)
    free = tuple(sorted(set(domains) - taken - set(itertools.chain(*kept))))
    formed = tuple(pair for pair in found.pairs if pair not in ordered(named) | kept)
    assert (formed, found.unpaired) == best(free, domains)
    for entry in found.shared_domain:
        assert ("names this pair" in entry.reason) == (entry.pair in ordered(named))
        assert ("before" in entry.reason) == (entry.pair in kept)


@settings(max_examples=200, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(case: tuple, random: Any) -> None:
    domains, named, existing = case

    def shuffled(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        turned = [pair[::-1] if random.random() < 0.5 else pair for pair in pairs]
        return random.sample(turned, len(turned))

    other = dict(random.sample(list(domains.items()), len(domains)))
    assert form(other, shuffled(named), shuffled(existing)) == form(domains, named, existing)


@settings(max_examples=200, deadline=None)
@given(FULL, st.data())
def test_adding_edges_leaves_the_old_pairs(domains: dict[int, str | None], data: st.DataObject) -> None:
    old = data.draw(st.sets(st.sampled_from(sorted(domains)), min_size=1))
    before = form({slot: domain for slot, domain in domains.items() if slot in old})
    after = form(domains, existing=before.pairs)
    assert set(before.pairs) <= set(after.pairs)
    assert form(domains, existing=after.pairs) == form(domains, existing=after.pairs[::-1])
    assert form(domains, existing=after.pairs).pairs == after.pairs


@settings(max_examples=200, deadline=None)
@given(FULL)
def test_reading_the_same_again_changes_nothing(domains: dict[int, str | None]) -> None:
    first = form(domains)
    again = form(domains, existing=first.pairs)
    assert (again.pairs, again.unpaired) == (first.pairs, first.unpaired)
