"""What service routers and the distributed router have in common: answering for themselves, neighbours, leaving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from controller.compile import actions as a
from controller.compile.builder import ProgramBuilder, match
from controller.model.gateway import Address, AddressOnLink
from controller.pipeline import addresses, tables
from controller.pipeline import fields as f
from controller.pipeline.cookies import Category
from controller.pipeline.priorities import Band

NEIGHBOUR_IDLE_TIMEOUT = 600
"""Seconds after which a neighbour nobody sends to and nobody hears of is forgotten."""

NEVER_FORWARDED = (IPv4Network("224.0.0.0/4"), IPv4Network("255.255.255.255/32"), IPv6Network("ff00::/8"),
                   IPv6Network("fe80::/10"))


@dataclass(frozen=True)
class Leg:
    """One attachment of a router: index in INGRESS and EGRESS, port name, Ethernet address, addresses.

    ``answers`` are further addresses that this leg answers ARP for (translations that lie in its subnet);
    ``gateways`` says whether routes may have next hops on it.
    """

    index: int
    port: str
    mac: int
    addresses: tuple[AddressOnLink, ...]
    group: int = 0
    answers: tuple[IPv4Address, ...] = ()
    gateways: bool = False

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Subnets that are on this link."""
        return tuple(address.network for address in self.addresses)


def ip_match(*marks: f.Mark, source: Address | IPv4Network | IPv6Network | None = None,
             destination: Address | IPv4Network | IPv6Network | None = None, version: int | None = None,
             **more) -> tuple:
    """Match IP packets of the family that ``source``, ``destination`` or ``version`` (4 or 6) says."""
    family = version or (source or destination).version
    if family == 4:
        return match(*marks, eth_type=f.ETH_IPV4, ipv4_src=source, ipv4_dst=destination, **more)
    return match(*marks, eth_type=f.ETH_IPV6, ipv6_src=source, ipv6_dst=destination, **more)


def local(builder: ProgramBuilder, legs: Iterable[Leg], onward: tables.Table) -> None:
    """Fill LOCAL and ADVERTISE: answers for the router's own addresses; everything else goes ``onward``."""
    legs = tuple(legs)
    for leg in legs:
        _arp(builder, leg)
        _neighbour_discovery(builder, leg)
    for address in sorted({own.ip for leg in legs for own in leg.addresses}, key=lambda ip: (ip.version, int(ip))):
        _addressed_to(builder, address)
    for network in NEVER_FORWARDED:
        builder.flow(tables.LOCAL, Band.NORMAL + 1, ip_match(destination=network), (), Category.BASE,
                     note="link-local and multicast destinations are not routed")
    builder.flow(tables.LOCAL, Band.NORMAL + 1, ip_match(source=IPv6Network("fe80::/10")), (), Category.BASE,
                 note="link-local sources are not routed (RFC 4291, section 2.5.6)")
    for version in (4, 6):
        builder.flow(tables.LOCAL, Band.NORMAL, ip_match(version=version), [a.Goto(onward)], Category.BASE)


def _learn(leg: Leg, eth_type: int, address_field: str, mac_field: str) -> list[a.Action]:
    """Flows to learn that ``address_field`` of this packet is at ``mac_field``: on the link, and as a next hop."""
    destination, next_hop = (("ipv4_dst", f.NEXT_HOP_4) if eth_type == f.ETH_IPV4 else ("ipv6_dst", f.NEXT_HOP_6))
    common = (a.LearnMatch(f.EGRESS, value=leg.index), a.LearnMatch("eth_type", value=eth_type))
    sets = (a.LearnSet("eth_dst", source=mac_field), a.LearnSet(f.RESOLVED, value=1))

    def learn(*matches: a.LearnMatch) -> a.Learn:
        return a.Learn(tables.NEIGHBOUR, Band.NORMAL, NEIGHBOUR_IDLE_TIMEOUT, common + matches, sets)

    flows = [learn(a.LearnMatch(next_hop, value=0), a.LearnMatch(destination, source=address_field))]
    if leg.gateways:
        flows.append(learn(a.LearnMatch(next_hop, source=address_field)))
    return flows


def _arp(builder: ProgramBuilder, leg: Leg) -> None:
    arrived = f.INGRESS.at(leg.index)
    own = [address for address in leg.addresses if address.version == 4]
    answered = [address.ip for address in own] + list(leg.answers)
    for address in answered:
        builder.flow(tables.LOCAL, Band.GUARD, match(arrived, eth_type=f.ETH_ARP, arp_spa=address), (),
                     Category.LOCAL, note="somebody else claims an address of this router")
        reply = [a.Copy("eth_src", "eth_dst"), a.Set("eth_src", leg.mac), a.Set("arp_op", f.ARP_REPLY),
                 a.Copy("arp_sha", "arp_tha"), a.Copy("arp_spa", "arp_tpa"), a.Set("arp_sha", leg.mac),
                 a.Set("arp_spa", int(address)), a.OutputInPort()]
        builder.flow(tables.LOCAL, Band.NORMAL + 2,
                     match(arrived, eth_type=f.ETH_ARP, arp_op=f.ARP_REQUEST, arp_tpa=address, arp_spa=0), reply,
                     Category.LOCAL, note="ARP probe (RFC 5227) for an address of this router")
        for subnet in own:
            learn = _learn(leg, f.ETH_IPV4, "arp_spa", "arp_sha")
            request = dict(eth_type=f.ETH_ARP, arp_tpa=address, arp_spa=subnet.network)
            builder.flow(tables.LOCAL, Band.NORMAL + 2, match(arrived, arp_op=f.ARP_REQUEST, **request),
                         learn + reply, Category.LOCAL, note="who has: learn who asks, and answer")
            builder.flow(tables.LOCAL, Band.NORMAL + 2, match(arrived, arp_op=f.ARP_REPLY, **request),
                         [*learn, a.ToController(a.Reason.NEIGHBOUR_SEEN)], Category.LOCAL,
                         note="answer to a request of ours")
    for subnet in own:
        builder.flow(tables.LOCAL, Band.NORMAL + 1, match(arrived, eth_type=f.ETH_ARP, arp_spa=subnet.network),
                     _learn(leg, f.ETH_IPV4, "arp_spa", "arp_sha"), Category.LOCAL,
                     note="gratuitous ARP and what else neighbours tell of themselves")


def _neighbour_discovery(builder: ProgramBuilder, leg: Leg) -> None:
    arrived = f.INGRESS.at(leg.index)
    nd = dict(eth_type=f.ETH_IPV6, ip_proto=f.PROTO_ICMPV6, icmpv6_code=0, nw_ttl=f.ND_HOP_LIMIT)
    own = [address for address in leg.addresses if address.version == 6]
    if not own:
        return
    solicitation = nd | {"icmpv6_type": f.ICMPV6_NEIGHBOUR_SOLICITATION}
    advertisement = nd | {"icmpv6_type": f.ICMPV6_NEIGHBOUR_ADVERTISEMENT}
    for address in own:
        builder.flow(tables.LOCAL, Band.GUARD, match(arrived, **advertisement, ipv6_nd_target=address.ip), (),
                     Category.LOCAL, note="somebody else claims an address of this router")
        turn = [a.Copy("eth_src", "eth_dst"), a.Set("eth_src", leg.mac), a.Copy("ipv6_src", "ipv6_dst"),
                a.Set("ipv6_src", int(address.ip)), a.Set("nd_reserved", f.ND_FLAGS_ROUTER_SOLICITED_OVERRIDE),
                a.Set("nd_options_type", f.ND_OPTION_TARGET_ADDRESS),
                a.Set("icmpv6_type", f.ICMPV6_NEIGHBOUR_ADVERTISEMENT), a.Goto(tables.ADVERTISE)]
        learn = _learn(leg, f.ETH_IPV6, "ipv6_src", "eth_src")
        builder.flow(tables.LOCAL, Band.NORMAL + 5,
                     match(arrived, **solicitation, ipv6_nd_target=address.ip, ipv6_src=address.network),
                     learn + turn, Category.LOCAL, note="who has: learn who asks, and answer")
        builder.flow(tables.LOCAL, Band.NORMAL + 5,
                     match(arrived, **solicitation, ipv6_nd_target=address.ip, ipv6_src=IPv6Network("fe80::/10")),
                     turn, Category.LOCAL, note="who has, asked from a link-local address")
        builder.flow(tables.LOCAL, Band.NORMAL + 5,
                     match(arrived, **advertisement, ipv6_nd_target=address.network),
                     [*_learn(leg, f.ETH_IPV6, "ipv6_nd_target", "eth_src"),
                      a.ToController(a.Reason.NEIGHBOUR_SEEN)], Category.LOCAL, note="answer to a solicitation of ours")
    builder.flow(tables.ADVERTISE, Band.NORMAL,
                 match(arrived, eth_type=f.ETH_IPV6, ip_proto=f.PROTO_ICMPV6,
                       icmpv6_type=f.ICMPV6_NEIGHBOUR_ADVERTISEMENT),
                 [a.Set("ipv6_nd_tll", leg.mac), a.OutputInPort()], Category.LOCAL)


def _addressed_to(builder: ProgramBuilder, address: Address) -> None:
    if address.version == 4:
        source, destination, proto, kind = "ipv4_src", "ipv4_dst", f.PROTO_ICMP, "icmpv4_type"
        request, reply = f.ICMP_ECHO_REQUEST, f.ICMP_ECHO_REPLY
    else:
        source, destination, proto, kind = "ipv6_src", "ipv6_dst", f.PROTO_ICMPV6, "icmpv6_type"
        request, reply = f.ICMPV6_ECHO_REQUEST, f.ICMPV6_ECHO_REPLY
    builder.flow(tables.LOCAL, Band.NORMAL + 4, ip_match(destination=address, ip_proto=proto, **{kind: request}),
                 [a.Copy(source, destination), a.Set(source, int(address)), a.Set("nw_ttl", f.DEFAULT_TTL),
                  a.Set(kind, reply), a.Set("in_port_nxm", 0), a.SetMark(f.ORIGINATED.at(1)), a.Goto(tables.ROUTE)],
                 Category.LOCAL, note="ping of an address of this router; in_port 0 lets the answer go back there")
    for closed in (f.PROTO_TCP, f.PROTO_UDP):
        builder.flow(tables.LOCAL, Band.NORMAL + 4, ip_match(destination=address, ip_proto=closed),
                     [a.ToController(a.Reason.PORT_CLOSED)], Category.LOCAL, note="the router itself has no open port")
    builder.flow(tables.LOCAL, Band.NORMAL + 3, ip_match(destination=address), (), Category.LOCAL)


def forward(builder: ProgramBuilder) -> None:
    """Fill FORWARD with what all routers do: lower the TTL, look the neighbour up, leave."""
    for version in (4, 6):
        builder.flow(tables.FORWARD, Band.NORMAL, ip_match(version=version),
                     [a.DecTtl(), a.Resubmit(tables.NEIGHBOUR), a.Goto(tables.OUT)], Category.BASE)


def out(builder: ProgramBuilder, legs: Iterable[Leg]) -> None:
    """Fill OUT: one flow per leg to leave by, and one to ask for a neighbour that is not known."""
    for leg in legs:
        port = builder.port(leg.port)
        if port is None:
            continue
        builder.flow(tables.OUT, Band.NORMAL, match(f.EGRESS.at(leg.index), f.RESOLVED.at(1)),
                     [a.Set("eth_src", leg.mac), a.Output(port)], Category.BASE, note=f"leave by {leg.port}")
        builder.flow(tables.OUT, Band.NORMAL, match(f.EGRESS.at(leg.index), f.RESOLVED.at(0)),
                     [a.ToController(a.Reason.RESOLVE)], Category.BASE, note=f"ask for the neighbour on {leg.port}")


def refuse_tagged(builder: ProgramBuilder) -> None:
    """Let no frame with a VLAN tag in, by whatever port."""
    builder.flow(tables.CLASSIFY, Band.GUARD + 1, match(vlan_vid=f.VLAN_PRESENT), (), Category.BASE,
                 note="interfaces are untagged")


def classify(builder: ProgramBuilder, leg: Leg, *marks: f.Mark, source: int | None = None) -> None:
    """Let frames addressed to a leg in: to its address, ARP broadcasts, IPv6 multicasts.

    ``marks`` are set on them; with ``source`` only frames from that Ethernet address are taken.
    """
    port = builder.port(leg.port)
    if port is None:
        return
    take = [a.SetMark(mark) for mark in (*marks, f.INGRESS.at(leg.index))] + [a.Goto(tables.LOCAL)]
    builder.flow(tables.CLASSIFY, Band.GUARD,
                 match(in_port=port, eth_src=(addresses.FRAME_PREFIX << 32, addresses.PREFIX_MASK)), (),
                 Category.FRAME, note="a frame between service routers has no business here")
    builder.flow(tables.CLASSIFY, Band.NORMAL, match(in_port=port, eth_src=source, eth_dst=leg.mac), take,
                 Category.BASE, note=f"addressed to {leg.port}")
    builder.flow(tables.CLASSIFY, Band.NORMAL,
                 match(in_port=port, eth_src=source, eth_dst=addresses.BROADCAST, eth_type=f.ETH_ARP), take,
                 Category.BASE)
    builder.flow(tables.CLASSIFY, Band.NORMAL,
                 match(in_port=port, eth_src=source, eth_type=f.ETH_IPV6,
                       eth_dst=(addresses.IPV6_MULTICAST, addresses.IPV6_MULTICAST_MASK)), take, Category.BASE)
