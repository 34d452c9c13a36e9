"""The tables of every bridge, declared once: number, purpose, and what flows may match, set and go to.

The flow builder (``compile/builder.py``) refuses whatever is not declared here; the pipeline document is generated
from here; the names are given to Open vSwitch, so that ``ovs-ofctl --names dump-flows`` prints them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from controller.pipeline import fields as f


class Kind(enum.Enum):
    """Kinds of bridges, each with a pipeline of its own."""

    SERVICE_ROUTER = "service router"
    DISTRIBUTED_ROUTER = "distributed router"
    BACKPLANE_SWITCH = "backplane switch"
    PUNT_SWITCH = "punt switch"


@dataclass(frozen=True)
class Table:
    """One flow table: its number, the kinds of bridges that have it, and the contract of its flows.

    ``matches`` and ``sets`` name packet fields and register fields; ``next`` names tables.  ``miss`` says in words
    what happens to a packet that no flow takes.
    """

    name: str
    number: int
    kinds: tuple[Kind, ...]
    purpose: str
    matches: tuple[str, ...]
    sets: tuple[str, ...]
    next: tuple[str, ...]
    miss: str = "drop"


def _names(*fields: str | f.RegField) -> tuple[str, ...]:
    return tuple(field if isinstance(field, str) else field.name for field in fields)


SR = Kind.SERVICE_ROUTER
DR = Kind.DISTRIBUTED_ROUTER

_L4 = ("ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "icmpv4_type", "icmpv4_code", "icmpv6_type",
       "icmpv6_code")
_FRAGMENT = ("ip_frag", "ct_state", "ct_nw_proto", "ct_tp_src", "ct_tp_dst")
_ADDRESSES = ("ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst")

CLASSIFY = Table(
    "CLASSIFY", 0, (SR, DR),
    "What a packet is, by the port it came in by: direction, interface, interface group; whether it was punted. "
    "A frame that is not addressed to the router, or not of the kind, gateway and slot of its port, or tagged with a "
    "VLAN, goes nowhere.",
    matches=_names("in_port", "vlan_vid", "eth_type", "eth_src", "eth_dst"),
    sets=_names(f.DIRECTION, f.PUNTED, f.INGRESS, f.INGRESS_GROUP),
    next=("LOCAL",))

LOCAL = Table(
    "LOCAL", 10, (SR, DR),
    "What is addressed to the router itself is answered here and never punted: ARP, neighbour discovery, ping. "
    "ARP and neighbour discovery also teach NEIGHBOUR, with learn().",
    matches=_names("eth_type", "arp_op", "arp_spa", "arp_tpa", "icmpv4_type", "icmpv6_type", "icmpv6_code", "ip_proto",
                   "nw_ttl", "ipv6_nd_target", "ipv4_dst", "ipv6_src", "ipv6_dst", f.INGRESS),
    sets=_names("eth_src", "eth_dst", "arp_op", "arp_sha", "arp_spa", "arp_tha", "arp_tpa", "icmpv4_type",
                "icmpv6_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "nd_reserved", "nd_options_type",
                "nw_ttl", "in_port_nxm", f.ORIGINATED),
    next=("ADVERTISE", "OWNER", "ROUTE"))

ADVERTISE = Table(
    "ADVERTISE", 15, (SR, DR),
    "Second half of a neighbour advertisement: Open vSwitch lets the target's link-layer address be set only in a flow "
    "that matches an advertisement, which LOCAL has just made of the solicitation.",
    matches=_names("eth_type", "ip_proto", "icmpv6_type", f.INGRESS),
    sets=_names("ipv6_nd_tll"),
    next=())

OWNER = Table(
    "OWNER", 20, (SR,),
    "The owner table: the select group of the direction hashes the remote address (destination going north, source "
    "coming south) to a slot. Punted packets and gateways that do not redirect pass by. An ICMP error from outside "
    "comes from anywhere on the way to the remote address: every router gets a copy, and the one that knows the "
    "connection takes it.",
    matches=_names("eth_type", "ip_proto", "icmpv4_type", "icmpv6_type", f.DIRECTION, f.PUNTED, f.INGRESS_GROUP),
    sets=_names("eth_src", "eth_dst", f.SLOT, f.LINK),
    next=("PUNT", "TRACK"))

PUNT = Table(
    "PUNT", 30, (SR,),
    "A slot held here is served here; any other slot's packet leaves by the punt switch of its direction in a frame "
    "addressed to that slot's shadow port, with the interface group.",
    matches=_names(f.DIRECTION, f.SLOT, f.LINK, f.INGRESS_GROUP),
    sets=_names("eth_src", "eth_dst"),
    next=("TRACK",))

TRACK = Table(
    "TRACK", 40, (SR,),
    "Expired packets are reported; the others pass the connection tracker in the router's own zone, which also "
    "applies the translations of known connections.",
    matches=_names("eth_type", "nw_ttl"),
    sets=(),
    next=("STATE",))

STATE = Table(
    "STATE", 50, (SR,),
    "By the tracker's verdict: known connections and their ICMP errors go on, new connections from outside are looked "
    "up in DNAT. Packets that cannot begin a connection end here, unless stateless rules are to judge them.",
    matches=_names("ct_state", "eth_type", "ip_proto", "icmpv4_type", "icmpv6_type", f.DIRECTION, f.PUNTED),
    sets=(),
    next=("DNAT", "ROUTE"))

DNAT = Table(
    "DNAT", 60, (SR,),
    "New connections from outside: the destination is rewritten, so that routing and firewall see the inside address; "
    "NAT undoes that before it commits the translation.",
    matches=_names("eth_type", "ipv4_src", "ipv4_dst", "ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst",
                   "icmpv4_type", "icmpv4_code", *_FRAGMENT, f.INGRESS_GROUP),
    sets=_names("ipv4_dst", "tcp_dst", "udp_dst", f.NAT_RULE, f.PORT_TRANSLATED),
    next=("ROUTE",),
    miss="go to ROUTE")

ROUTE = Table(
    "ROUTE", 70, (SR, DR),
    "Longest prefix first (the priority is the prefix length): interface, interface group and next hop. An external "
    "address that no translation claimed is dropped; where there is no route, an ICMP unreachable is made.",
    matches=_names("eth_type", "ipv4_dst", "ipv6_dst", f.ORIGINATED),
    sets=_names(f.EGRESS, f.EGRESS_GROUP, f.NEXT_HOP_4, f.NEXT_HOP_6, f.RESOLVED, "eth_dst"),
    next=("FIREWALL", "FORWARD"),
    miss="drop")

FIREWALL = Table(
    "FIREWALL", 80, (SR,),
    "Known connections pass. New ones meet the rules in the order of their sequence numbers, with inside addresses in "
    "both directions; what no rule takes gets the default verdict.",
    matches=_names("eth_type", *_ADDRESSES, *_L4, *_FRAGMENT, f.DIRECTION, f.INGRESS_GROUP, f.EGRESS_GROUP,
                   f.PORT_TRANSLATED, f.ORIGINATED),
    sets=_names(f.VERDICT),
    next=("NAT", "FORWARD", "NEIGHBOUR", "OUT"))

NAT = Table(
    "NAT", 90, (SR,),
    "New connections that the firewall let through are committed, with their translation; rejected ones are answered.",
    matches=_names("eth_type", "ipv4_src", "ipv4_dst", "ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst",
                   "icmpv4_type", "icmpv4_code", *_FRAGMENT, f.DIRECTION, f.VERDICT, f.NAT_RULE, f.EGRESS_GROUP),
    sets=_names("ipv4_dst", "tcp_dst", "udp_dst", f.TRANSLATION),
    next=("FORWARD",))

FORWARD = Table(
    "FORWARD", 100, (SR, DR),
    "What should have been translated or committed and was not is dropped; TTL or hop limit goes down by one.",
    matches=_names("eth_type", "ct_state", "nw_ttl", f.ORIGINATED, f.VERDICT, f.TRANSLATION),
    sets=(),
    next=("NEIGHBOUR", "OUT"))

NEIGHBOUR = Table(
    "NEIGHBOUR", 110, (SR, DR),
    "Ethernet addresses of neighbours, written by learn() from LOCAL: by interface and next hop, or by interface and "
    "destination where that is on the link. Used as a subroutine.",
    matches=_names("eth_type", "ipv4_dst", "ipv6_dst", f.EGRESS, f.NEXT_HOP_4, f.NEXT_HOP_6),
    sets=_names("eth_dst", f.RESOLVED),
    next=(),
    miss="return: the address is not known yet")

OUT = Table(
    "OUT", 120, (SR, DR),
    "The packet leaves by its interface; where the neighbour is not known it is handed to the controller, which asks.",
    matches=_names(f.EGRESS, f.RESOLVED),
    sets=_names("eth_src"),
    next=())

FRAMES = Table(
    "FRAMES", 0, (Kind.BACKPLANE_SWITCH, Kind.PUNT_SWITCH),
    "A logical switch: a frame passes only from the port its source address belongs to, to the port its destination "
    "address belongs to.",
    matches=_names("in_port", "eth_src", "eth_dst"),
    sets=(),
    next=())

TABLES = (CLASSIFY, LOCAL, ADVERTISE, OWNER, PUNT, TRACK, STATE, DNAT, ROUTE, FIREWALL, NAT, FORWARD, NEIGHBOUR, OUT,
          FRAMES)


def tables_of(kind: Kind) -> tuple[Table, ...]:
    """Tables of the bridges of a kind, in the order of their numbers."""
    return tuple(table for table in TABLES if kind in table.kinds)


def table_named(name: str) -> Table:
    """Return the table of a name; KeyError if none has it."""
    for table in TABLES:
        if table.name == name:
            return table
    raise KeyError(name)
