"""Packet fields and register fields, each declared once by name.

A packet field carries the name that OpenFlow libraries use and the name that ``ovs-ofctl`` prints.  Registers are
never used bare: every range of register bits that means something is a ``RegField``, every value that has a name is
a ``Mark`` (after Antrea's naming).
"""

from __future__ import annotations

from dataclasses import dataclass

ETH_IPV4 = 0x0800
ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD
ETH_LLDP = 0x88CC

VLAN_PRESENT = (0x1000, 0x1000)
"""Value and mask in ``vlan_vid`` of any tagged frame (OpenFlow 1.5, section 7.2.3.7)."""

PROTO_ICMP = 1
PROTO_TCP = 6
PROTO_UDP = 17
PROTO_ICMPV6 = 58

ARP_REQUEST = 1
ARP_REPLY = 2

ICMP_ECHO_REPLY = 0
ICMP_ECHO_REQUEST = 8
ICMPV6_ECHO_REQUEST = 128
ICMPV6_ECHO_REPLY = 129
ICMPV6_NEIGHBOUR_SOLICITATION = 135
ICMPV6_NEIGHBOUR_ADVERTISEMENT = 136

ICMP_ERRORS = (3, 4, 11, 12)
"""Destination unreachable, source quench, time exceeded, parameter problem (RFC 792)."""
ICMPV6_ERRORS = (1, 2, 3, 4)
"""Destination unreachable, packet too big, time exceeded, parameter problem (RFC 4443)."""

NO_FRAGMENT = 0
FIRST_FRAGMENT = 1
LATER_FRAGMENT = 3
"""Values of ``ip_frag``: bit 0 is set for any fragment, bit 1 for those with an offset."""

DEFAULT_TTL = 64
"""TTL or hop limit of what a router sends itself."""
ND_HOP_LIMIT = 255
"""RFC 4861, section 7.1: a neighbour discovery message that crossed a router is not valid."""
ND_OPTION_TARGET_ADDRESS = 2
ND_FLAGS_ROUTER_SOLICITED_OVERRIDE = 0xE0000000


@dataclass(frozen=True)
class Field:
    """A packet or metadata field: library name, name in Open vSwitch, width in bits, and what it needs.

    ``needs`` are alternatives: a match on the field must fix one of these (field name, value) pairs too
    (OpenFlow 1.5, section 7.2.3.6, prerequisites).
    """

    name: str
    ovs: str
    bits: int
    needs: tuple[tuple[str, int], ...] = ()


_IPV4 = (("eth_type", ETH_IPV4),)
_IPV6 = (("eth_type", ETH_IPV6),)
_IP = _IPV4 + _IPV6
_ARP = (("eth_type", ETH_ARP),)
_TCP = (("ip_proto", PROTO_TCP),)
_UDP = (("ip_proto", PROTO_UDP),)
_ICMP = (("ip_proto", PROTO_ICMP),)
_ICMPV6 = (("ip_proto", PROTO_ICMPV6),)
_TRACKED = tuple(("ct_nw_proto", proto) for proto in (PROTO_TCP, PROTO_UDP, PROTO_ICMP, PROTO_ICMPV6))
_NS = (("icmpv6_type", ICMPV6_NEIGHBOUR_SOLICITATION),)
_NA = (("icmpv6_type", ICMPV6_NEIGHBOUR_ADVERTISEMENT),)

FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("in_port", "in_port", 32),
        Field("in_port_nxm", "in_port", 16),
        Field("eth_type", "dl_type", 16),
        Field("eth_src", "dl_src", 48),
        Field("eth_dst", "dl_dst", 48),
        Field("vlan_vid", "vlan_vid", 13),
        Field("ip_proto", "nw_proto", 8, _IP),
        Field("nw_ttl", "nw_ttl", 8, _IP),
        Field("ipv4_src", "nw_src", 32, _IPV4),
        Field("ipv4_dst", "nw_dst", 32, _IPV4),
        Field("ipv6_src", "ipv6_src", 128, _IPV6),
        Field("ipv6_dst", "ipv6_dst", 128, _IPV6),
        Field("tcp_src", "tcp_src", 16, _TCP),
        Field("tcp_dst", "tcp_dst", 16, _TCP),
        Field("udp_src", "udp_src", 16, _UDP),
        Field("udp_dst", "udp_dst", 16, _UDP),
        Field("icmpv4_type", "icmp_type", 8, _ICMP),
        Field("icmpv4_code", "icmp_code", 8, _ICMP),
        Field("icmpv6_type", "icmpv6_type", 8, _ICMPV6),
        Field("icmpv6_code", "icmpv6_code", 8, _ICMPV6),
        Field("ipv6_nd_target", "nd_target", 128, _NS + _NA),
        Field("ipv6_nd_tll", "nd_tll", 48, _NA),
        Field("nd_reserved", "nd_reserved", 32, _NS + _NA),
        Field("nd_options_type", "nd_options_type", 8, _NS + _NA),
        Field("arp_op", "arp_op", 16, _ARP),
        Field("arp_spa", "arp_spa", 32, _ARP),
        Field("arp_tpa", "arp_tpa", 32, _ARP),
        Field("arp_sha", "arp_sha", 48, _ARP),
        Field("arp_tha", "arp_tha", 48, _ARP),
        Field("ip_frag", "nw_frag", 8, _IP),
        Field("ct_state", "ct_state", 32),
        Field("ct_nw_proto", "ct_nw_proto", 8, _IP),
        Field("ct_tp_src", "ct_tp_src", 16, _TRACKED),
        Field("ct_tp_dst", "ct_tp_dst", 16, _TRACKED),
        Field("reg0", "reg0", 32),
        Field("reg1", "reg1", 32),
        Field("reg2", "reg2", 32),
        Field("reg3", "reg3", 32),
        Field("reg4", "reg4", 32),
        Field("xxreg2", "xxreg2", 128),
    )
}


@dataclass(frozen=True)
class RegField:
    """A named range of bits of a register: bits ``first`` to ``first + bits - 1``."""

    name: str
    register: str
    first: int
    bits: int
    purpose: str

    @property
    def mask(self) -> int:
        """Mask of the range within its register."""
        return ((1 << self.bits) - 1) << self.first

    @property
    def whole(self) -> bool:
        """True where the range is the whole register."""
        return self.first == 0 and self.bits == FIELDS[self.register].bits

    def at(self, value: int) -> Mark:
        """Return the mark of a value.  ValueError if it does not fit."""
        if not 0 <= value < 1 << self.bits:
            raise ValueError(f"{value} does not fit in {self.name} ({self.bits} bits)")
        return Mark(self, value)


@dataclass(frozen=True)
class Mark:
    """A value of a register field, for matching and for setting."""

    field: RegField
    value: int


DIRECTION = RegField("DIRECTION", "reg0", 0, 2, "which way the packet goes: NORTH or SOUTH")
PUNTED = RegField("PUNTED", "reg0", 2, 1, "came through a shadow port, is never hashed again")
ORIGINATED = RegField("ORIGINATED", "reg0", 3, 1, "made by this router itself: neither filtered nor translated")
RESOLVED = RegField("RESOLVED", "reg0", 4, 1, "the Ethernet destination is known")
VERDICT = RegField("VERDICT", "reg0", 8, 2, "what the firewall said of a new connection")
PORT_TRANSLATED = RegField("PORT_TRANSLATED", "reg0", 5, 1, "the destination port was translated in DNAT")
TRANSLATION = RegField("TRANSLATION", "reg0", 10, 2, "which address the tracker must have translated")
INGRESS_GROUP = RegField("INGRESS_GROUP", "reg0", 16, 8, "interface group of the uplink, travels with a punted packet")
INGRESS = RegField("INGRESS", "reg0", 24, 8, "interface the packet came in by (index, or BACKPLANE)")
SLOT = RegField("SLOT", "reg1", 0, 16, "slot of the owner table that the hash chose")
LINK = RegField("LINK", "reg1", 16, 16, "the same as chosen by multipath(): row of the owner table, from 0")
EGRESS = RegField("EGRESS", "reg2", 0, 8, "interface the packet leaves by (index, or BACKPLANE)")
EGRESS_GROUP = RegField("EGRESS_GROUP", "reg2", 8, 8, "interface group of that uplink: scope of rules going north")
NEXT_HOP_4 = RegField("NEXT_HOP_4", "reg3", 0, 32, "IPv4 next hop; 0: the destination is on the link")
NAT_RULE = RegField("NAT_RULE", "reg4", 0, 32, "translation of the destination that was looked up, to be committed")
NEXT_HOP_6 = RegField("NEXT_HOP_6", "xxreg2", 0, 128, "IPv6 next hop; 0: the destination is on the link")

REG_FIELDS = (DIRECTION, PUNTED, ORIGINATED, RESOLVED, PORT_TRANSLATED, VERDICT, TRANSLATION, INGRESS_GROUP, INGRESS,
              SLOT, LINK, EGRESS, EGRESS_GROUP, NEXT_HOP_4, NAT_RULE, NEXT_HOP_6)

NORTH = DIRECTION.at(1)
SOUTH = DIRECTION.at(2)
ALLOW = VERDICT.at(1)
ALLOW_STATELESS = VERDICT.at(2)
REJECT = VERDICT.at(3)
SOURCE_TRANSLATED = TRANSLATION.at(1)
DESTINATION_TRANSLATED = TRANSLATION.at(2)

MARKS = {"NORTH": NORTH, "SOUTH": SOUTH, "ALLOW": ALLOW, "ALLOW_STATELESS": ALLOW_STATELESS, "REJECT": REJECT,
         "SOURCE_TRANSLATED": SOURCE_TRANSLATED, "DESTINATION_TRANSLATED": DESTINATION_TRANSLATED}

BACKPLANE_INTERFACE = 255
"""Index in INGRESS and EGRESS of a service router's backplane port, and of the distributed router's."""


@dataclass(frozen=True)
class CtState:
    """A match on the connection tracker's verdict: flags that must be set, and flags that must not be."""

    set: tuple[str, ...]
    clear: tuple[str, ...] = ()

    BITS = {"new": 0x01, "est": 0x02, "rel": 0x04, "rpl": 0x08, "inv": 0x10, "trk": 0x20, "snat": 0x40,
            "dnat": 0x80}

    @property
    def value(self) -> int:
        """Bits that must be set."""
        return sum(self.BITS[flag] for flag in self.set)

    @property
    def mask(self) -> int:
        """Bits that are looked at."""
        return self.value | sum(self.BITS[flag] for flag in self.clear)
