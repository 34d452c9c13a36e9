"""Packets that flows hand to the controller, as plain values."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from controller.compile.actions import Reason
from controller.openflow import encode
from controller.openflow.entries import conditions
from controller.pipeline import cookies
from controller.pipeline.fields import RegField

_NICIRA = 0x0001


@dataclass(frozen=True)
class PacketIn:
    """A packet with the reason it was handed over for and the registers it carried at that point."""

    reason: Reason
    registers: dict[int, int]
    data: bytes

    def value(self, field: RegField) -> int:
        """Return what a register field held."""
        if field.register.startswith("xxreg"):
            first = 4 * int(field.register.removeprefix("xxreg"))
            value = 0
            for number in range(first, first + 4):
                value = value << 32 | self.registers.get(number, 0)
        else:
            value = self.registers.get(int(field.register.removeprefix("reg")), 0)
        return value >> field.first & (1 << field.bits) - 1


def parse(message) -> PacketIn | None:
    """Return the packet of an OpenFlow packet-in message, or None where it did not come from a flow of ours."""
    if not cookies.is_ours(message.cookie) or cookies.category_of(message.cookie) != cookies.Category.TO_CONTROLLER:
        return None
    start = encode.ofp.OFP_PACKET_IN_SIZE - encode.ofp.OFP_MATCH_SIZE
    length = struct.unpack_from("!HH", message.buf, start)[1]
    found = conditions(bytes(message.buf[start + 4:start + length]))
    registers = {field: value for class_, field, value, _ in found if class_ == _NICIRA and field < 16}
    return PacketIn(Reason(cookies.object_of(message.cookie)), registers, bytes(message.data))
