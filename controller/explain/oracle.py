"""The owner of a remote address, computed without a switch: Open vSwitch's choice of a bucket in plain Python.

Open vSwitch 3.1 hashes the bytes of the address, not the name of the field, and gives every bucket a score by
rendezvous hashing over its bucket_id (``ofproto/ofproto-dpif-xlate.c``, selection method "hash"; ``lib/hash.h``).  So
the answer is the same on every bridge and in both directions.

The hash is fixed when Open vSwitch is compiled.  This is its portable one (MurmurHash3's mixing on a little-endian
machine), which Debian's packages use: on amd64 they are built for the base instruction set, without SSE 4.2, and on
arm64 for plain ARMv8-A, without the CRC extension (``__ARM_FEATURE_CRC32``).  A build with ``-march=native`` or the
like hashes with CRC32 instructions and chooses other owners: all edges of a gateway must run builds with the same
hash.  ``ofproto/trace`` prints the scores of a choice: where they are not ``bucket_scores``, the build is another one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from controller.model.gateway import Address
from controller.pipeline.fields import ETH_IPV4, ETH_IPV6

HRW_LINKS = 64
"""Most links for which multipath() hashes by rendezvous; above it Open vSwitch takes another algorithm."""

_WORD = 0xFFFFFFFF
_JENKINS_MIX = ((0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4))
_JENKINS_FINAL = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


def _rotate(word: int, bits: int) -> int:
    word &= _WORD
    return (word << bits | word >> 32 - bits) & _WORD


def _add(state: int, word: int) -> int:
    """Mix one 32-bit word in (hash_add)."""
    state ^= _rotate(word * 0xCC9E2D51, 15) * 0x1B873593 & _WORD
    return (_rotate(state, 13) * 5 + 0xE6546B64) & _WORD


def _finish(state: int, length: int) -> int:
    """Final mixing after ``length`` bytes (hash_finish)."""
    state ^= length
    state = (state ^ state >> 16) * 0x85EBCA6B & _WORD
    state = (state ^ state >> 13) * 0xC2B2AE35 & _WORD
    return state ^ state >> 16


def _hash_words(words: Iterable[int], state: int) -> int:
    words = tuple(words)
    for word in words:
        state = _add(state, word)
    return _finish(state, 4 * len(words))


def _hash_int(number: int, basis: int) -> int:
    """Hash of a number with a basis (hash_int, which is hash_2words)."""
    return _finish(_add(_add(number, 0), basis), 8)


def _little_endian_words(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 4}I", data)


def bucket_scores(address: Address, slots: Iterable[int], basis: int = 0) -> dict[int, int]:
    """Return the score of every slot (bucket_id, weight 1) for a remote address, as ``ofproto/trace`` prints them.

    ``basis`` is the selection method's parameter.
    """
    state = _hash_words((basis & _WORD, basis >> 32), 0)
    state = _hash_words(_little_endian_words(address.packed), state)
    return {slot: _hash_int(slot, state) & 0xFFFF for slot in slots}


def owner(address: Address, slots: Iterable[int], basis: int = 0) -> int:
    """Return the slot that owns a remote address: the highest score, of equal ones the last in the order given.

    ``slots`` are in the order of the group's buckets.  ValueError if there are none.
    """
    scores = bucket_scores(address, slots, basis)
    if not scores:
        raise ValueError("no slots to choose from")
    return max(reversed(scores), key=scores.__getitem__)


def owner_of_pair(source: Address, destination: Address, links: int) -> int:
    """Return the slot (1 to ``links``) that ``multipath(symmetric_l3,0,hrw,links,…)`` chooses for a conversation.

    The action numbers its links from 0, slots are one more.  The same for both directions.  ValueError for addresses
    of two families and for numbers of links that are not hashed by rendezvous (``lib/multipath.c``).
    """
    if source.version != destination.version:
        raise ValueError(f"{source} and {destination} are of two families")
    if not 1 <= links <= HRW_LINKS:
        raise ValueError(f"{links} links, allowed are 1 to {HRW_LINKS}")
    both = int(source) ^ int(destination)
    packed = both.to_bytes(len(source.packed), "big").ljust(16, b"\0")
    state = _jenkins(packed + struct.pack("!H2x", ETH_IPV4 if source.version == 4 else ETH_IPV6))
    return 1 + max(range(links), key=lambda link: _hash_int(state, link))


def _jenkins(data: bytes) -> int:
    """Bob Jenkins' lookup3 of 20 bytes with basis 0 (``lib/jhash.c``): one full round of 12 bytes, and the rest."""
    words = _little_endian_words(data)
    state = [0xDEADBEEF + len(data) + word & _WORD for word in words[:3]]
    for changed, by, third, bits in _JENKINS_MIX:
        state[changed] = (state[changed] - state[by] & _WORD) ^ _rotate(state[by], bits)
        state[by] = state[by] + state[third] & _WORD
    state[0] = state[0] + words[3] & _WORD
    state[1] = state[1] + words[4] & _WORD
    for changed, by, bits in _JENKINS_FINAL:
        state[changed] = (state[changed] ^ state[by]) - _rotate(state[by], bits) & _WORD
    return state[2]
