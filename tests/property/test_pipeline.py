"""Cookies and Ethernet addresses: what goes in comes out, and no two are the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.pipeline import addresses, cookies
from controller.pipeline.cookies import Category, Cookie

BYTE = st.integers(0, 255)
ROUND = st.integers(0, 0xFFFF)
OBJECT = st.integers(0, 0xFFFFFFFF)


@given(st.sampled_from(Category), OBJECT, ROUND)
def test_a_cookie_says_what_went_in(category: Category, object_: int, round_: int) -> None:
    cookie = int(Cookie(category, object_, round_))
    assert cookie < 1 << 64 and cookies.is_ours(cookie)
    assert (cookies.category_of(cookie), cookies.object_of(cookie), cookies.round_of(cookie)) == (
        category, object_, round_)
    assert cookies.is_learned(cookie) == (category is Category.LEARNED)
    assert cookies.without_round(cookie) == int(Cookie(category, object_))


@given(st.integers(0, 2**64 - 1))
def test_whose_a_cookie_is(cookie: int) -> None:
    assert cookies.is_ours(cookie) == (cookie >> 56 == 0x5A)


FRAMES = st.tuples(st.just("frame"), BYTE, st.sampled_from(addresses.FrameKind), BYTE, BYTE)
UPLINKS = st.tuples(st.just("uplink"), BYTE, BYTE, BYTE)
BACKPLANES = st.tuples(st.just("backplane"), BYTE, BYTE)
ROUTERS = st.tuples(st.just("dr_backplane"), BYTE)
SEGMENTS = st.tuples(st.just("segment"), BYTE, BYTE)


@given(st.lists(st.one_of(FRAMES, UPLINKS, BACKPLANES, ROUTERS, SEGMENTS), unique=True, min_size=2, max_size=30))
def test_no_two_addresses_are_the_same(made: list[tuple]) -> None:
    found = [getattr(addresses, name)(*arguments) for name, *arguments in made]
    assert len(set(found)) == len(made)
    for address in found:
        assert not address & addresses.MULTICAST_BIT and address >> 40 & 0x02, "unicast, locally administered"
        assert int(addresses.text(address).replace(":", ""), 16) == address
