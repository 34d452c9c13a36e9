"""Rendezvous hashing, as the oracle has it: what the owner of an address depends on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from controller.explain.oracle import bucket_scores, owner, owner_of_pair

ADDRESSES = st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address))
SLOTS = st.sets(st.integers(1, 8), min_size=1).map(sorted)


@given(ADDRESSES, SLOTS, st.sets(st.integers(9, 12), min_size=1))
def test_more_slots_take_keys_and_move_none(address, slots: list[int], more: set[int]) -> None:
    before, after = owner(address, slots), owner(address, [*slots, *sorted(more)])
    assert before in slots and (after == before or after in more)


@given(ADDRESSES, SLOTS)
def test_only_the_keys_of_a_removed_slot_move(address, slots: list[int]) -> None:
    before = owner(address, slots)
    for removed in set(slots) - {before}:
        assert owner(address, [slot for slot in slots if slot != removed]) == before


@given(ADDRESSES, SLOTS, st.integers(0, 2**64 - 1))
def test_a_score_depends_on_address_slot_and_basis_alone(address, slots: list[int], basis: int) -> None:
    scores = bucket_scores(address, slots, basis)
    assert scores == {slot: bucket_scores(address, [slot], basis)[slot] for slot in slots}
    assert all(0 <= score <= 0xFFFF for score in scores.values())
    assert scores[owner(address, slots, basis)] == max(scores.values())


@given(ADDRESSES, st.data(), st.integers(1, 64))
def test_both_directions_of_a_conversation_have_one_owner(one, data: st.DataObject, links: int) -> None:
    bits = one.max_prefixlen
    other = type(one)(data.draw(st.integers(0, 2**bits - 1)))
    assert owner_of_pair(one, other, links) == owner_of_pair(other, one, links) in range(1, links + 1)
