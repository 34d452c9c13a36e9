"""Proof of the checksums of a frame."""

from __future__ import annotations

from scapy.layers.l2 import Ether
from scapy.packet import Packet


def assert_checksums(frame: Packet) -> None:
    """Fail unless every checksum in a frame is what scapy computes for the same frame."""
    raw = bytes(frame)
    fresh = Ether(raw)
    layer, checked = fresh, 0
    while layer and layer.name not in ("IP in ICMP", "IPv6 in ICMPv6"):
        for field in ("chksum", "cksum"):
            if field in layer.fields:
                delattr(layer, field)
                checked += 1
        layer = layer.payload
    assert bytes(fresh) == raw, f"{checked} checksums: {Ether(raw)!r}, right would be {Ether(bytes(fresh))!r}"
