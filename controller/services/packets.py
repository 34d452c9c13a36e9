"""Packets that routers make themselves: ICMP errors, TCP resets, ARP requests and neighbour solicitations.

Pure functions from bytes to bytes; Ethernet addresses of routed answers are filled in by the pipeline.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ryu.lib.packet import arp, ethernet, icmp, icmpv6, ipv4, ipv6, packet, tcp

from controller.model.gateway import Address
from controller.pipeline import addresses
from controller.pipeline import fields as f

UNSET_MAC = "00:00:00:00:00:00"
ICMP_QUOTE = 548
"""Bytes of the original datagram in an ICMP error: as much as fits in 576 (RFC 1812, section 4.3.2.3)."""
ICMPV6_QUOTE = 1232
"""Bytes of the original packet in an ICMPv6 error: as much as fits in 1280 (RFC 4443, section 2.4 (c))."""
TTL = 64
ND_HOP_LIMIT = 255

TIME_EXCEEDED = (11, 0)
NET_UNREACHABLE = (3, 0)
HOST_UNREACHABLE = (3, 1)
PORT_UNREACHABLE = (3, 3)
ADMIN_PROHIBITED = (3, 13)
V6_TIME_EXCEEDED = (3, 0)
V6_NO_ROUTE = (1, 0)
V6_ADDRESS_UNREACHABLE = (1, 3)
V6_PORT_UNREACHABLE = (1, 4)
V6_ADMIN_PROHIBITED = (1, 1)

_ICMP_ERRORS = frozenset((3, 4, 5, 11, 12))
_ETHERNET_HEADER = 14


def _network(data: bytes):
    """Return (parsed packet, IPv4 or IPv6 header) of a frame; header None for anything else."""
    parsed = packet.Packet(data)
    return parsed, parsed.get_protocol(ipv4.ipv4) or parsed.get_protocol(ipv6.ipv6)


def destination(data: bytes) -> Address | None:
    """Return the IP destination of a frame, or None where it is no IP packet."""
    _, header = _network(data)
    if header is None:
        return None
    return IPv4Address(header.dst) if isinstance(header, ipv4.ipv4) else IPv6Address(header.dst)


def _may_be_answered(parsed: packet.Packet, header) -> bool:
    """No error about an error, a fragment that is not the first, or a packet without a single sender.

    RFC 1812, section 4.3.2.7; RFC 4443, section 2.4 (e).
    """
    if isinstance(header, ipv4.ipv4):
        source = IPv4Address(header.src)
        message = parsed.get_protocol(icmp.icmp)
        is_error = message is not None and message.type in _ICMP_ERRORS
        single = not (source.is_multicast or source.is_unspecified or source.is_loopback or int(source) == 0xFFFFFFFF)
        return single and not is_error and header.offset == 0 and not IPv4Address(header.dst).is_multicast
    source = IPv6Address(header.src)
    message = parsed.get_protocol(icmpv6.icmpv6)
    is_error = message is not None and message.type_ < 128
    return not (source.is_multicast or source.is_unspecified or is_error or IPv6Address(header.dst).is_multicast)


def icmp_error(data: bytes, source4: IPv4Address | None, source6: IPv6Address | None, kind4: tuple[int, int],
               kind6: tuple[int, int]) -> bytes | None:
    """Return the ICMP error about a frame, to be routed; None where none may be sent.

    ``source4`` and ``source6`` are the router's own addresses, ``kind4`` and ``kind6`` type and code.
    """
    parsed, header = _network(data)
    if header is None or not _may_be_answered(parsed, header):
        return None
    quoted = data[_ETHERNET_HEADER:]
    if isinstance(header, ipv4.ipv4):
        if source4 is None:
            return None
        body = icmp.TimeExceeded(data=quoted[:ICMP_QUOTE]) if kind4[0] == 11 else icmp.dest_unreach(
            data=quoted[:ICMP_QUOTE])
        return _frame(f.ETH_IPV4, ipv4.ipv4(src=str(source4), dst=header.src, proto=f.PROTO_ICMP, ttl=TTL),
                      icmp.icmp(type_=kind4[0], code=kind4[1], data=body))
    if source6 is None:
        return None
    unused = icmpv6.icmpv6(type_=kind6[0], code=kind6[1], data=bytes(4) + quoted[:ICMPV6_QUOTE])
    return _frame(f.ETH_IPV6, ipv6.ipv6(src=str(source6), dst=header.src, nxt=f.PROTO_ICMPV6, hop_limit=TTL), unused)


def reset(data: bytes) -> bytes | None:
    """Return the TCP reset that answers a segment, to be routed; None where there is none (RFC 9293, section 3.5.2)."""
    parsed, header = _network(data)
    segment = parsed.get_protocol(tcp.tcp)
    if header is None or segment is None or segment.bits & tcp.TCP_RST:
        return None
    payload = len(parsed.protocols[-1]) if isinstance(parsed.protocols[-1], bytes | bytearray) else 0
    length = payload + bool(segment.bits & tcp.TCP_SYN) + bool(segment.bits & tcp.TCP_FIN)
    if segment.bits & tcp.TCP_ACK:
        answer = tcp.tcp(src_port=segment.dst_port, dst_port=segment.src_port, seq=segment.ack, bits=tcp.TCP_RST,
                         window_size=0)
    else:
        answer = tcp.tcp(src_port=segment.dst_port, dst_port=segment.src_port, seq=0,
                         ack=(segment.seq + length) & 0xFFFFFFFF, bits=tcp.TCP_RST | tcp.TCP_ACK, window_size=0)
    if isinstance(header, ipv4.ipv4):
        return _frame(f.ETH_IPV4, ipv4.ipv4(src=header.dst, dst=header.src, proto=f.PROTO_TCP, ttl=TTL), answer)
    return _frame(f.ETH_IPV6, ipv6.ipv6(src=header.dst, dst=header.src, nxt=f.PROTO_TCP, hop_limit=TTL), answer)


def is_tcp(data: bytes) -> bool:
    """True where a frame holds a TCP segment."""
    return packet.Packet(data).get_protocol(tcp.tcp) is not None


def solicitation(target: Address, source: Address, mac: int) -> bytes:
    """Return the broadcast ARP request (RFC 826) or neighbour solicitation (RFC 4861, section 4.3) for a target."""
    if target.version == 4:
        return _frame(f.ETH_ARP, arp.arp(opcode=f.ARP_REQUEST, src_mac=addresses.text(mac), src_ip=str(source),
                                         dst_mac=UNSET_MAC, dst_ip=str(target)),
                      source=addresses.text(mac), target=addresses.text(addresses.BROADCAST))
    low = int(target) & 0xFFFFFF
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | low)
    option = icmpv6.nd_option_sla(hw_src=addresses.text(mac))
    return _frame(f.ETH_IPV6,
                  ipv6.ipv6(src=str(source), dst=str(group), nxt=f.PROTO_ICMPV6, hop_limit=ND_HOP_LIMIT),
                  icmpv6.icmpv6(type_=f.ICMPV6_NEIGHBOUR_SOLICITATION, code=0,
                                data=icmpv6.nd_neighbor(dst=str(target), option=option)),
                  source=addresses.text(mac), target=addresses.text(0x3333FF000000 | low))


def told_neighbour(data: bytes) -> Address | None:
    """Return the address that an ARP reply or neighbour advertisement speaks for."""
    parsed = packet.Packet(data)
    reply = parsed.get_protocol(arp.arp)
    if reply is not None:
        return IPv4Address(reply.src_ip)
    advertisement = parsed.get_protocol(icmpv6.icmpv6)
    if advertisement is not None and isinstance(advertisement.data, icmpv6.nd_neighbor):
        return IPv6Address(advertisement.data.dst)
    return None


def _frame(eth_type: int, *layers, source: str = UNSET_MAC, target: str = UNSET_MAC) -> bytes:
    built = packet.Packet()
    built.add_protocol(ethernet.ethernet(ethertype=eth_type, src=source, dst=target))
    for layer in layers:
        built.add_protocol(layer)
    built.serialize()
    return bytes(built.data)
