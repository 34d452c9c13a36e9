"""Packets that routers make themselves: ICMP errors, TCP resets, ARP requests and neighbour solicitations.

Pure functions from bytes to bytes; Ethernet addresses of routed answers are filled in by the pipeline.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from ryu.lib.packet import arp, ethernet, icmp, icmpv6, ipv4, ipv6, packet, packet_utils, tcp

from controller.model.gateway import Address
from controller.pipeline import addresses
from controller.pipeline import fields as f

UNSET_MAC = "00:00:00:00:00:00"
ICMP_QUOTE = 548
"""Bytes of the original datagram in an ICMP error: as much as fits in 576 (RFC 1812, section 4.3.2.3)."""
ICMPV6_QUOTE = 1232
"""Bytes of the original packet in an ICMPv6 error: as much as fits in 1280 (RFC 4443, section 2.4 (c))."""

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

_ICMP_REDIRECT = 5
_ICMPV6_REDIRECT = 137
_ETHERNET_HEADER = 14
_IPV6_HEADER = 40
_MORE_FRAGMENTS = 1
_CHECKSUMS = {f.PROTO_TCP: 16, f.PROTO_UDP: 6}
"""Where the checksum is in a segment or datagram."""
_ND_TARGET = slice(8, 24)
"""Where the target address is in a neighbour advertisement (RFC 4861, section 4.4)."""


@dataclass(frozen=True)
class _Datagram:
    """IP packet of a frame: header, the whole packet without Ethernet padding, and the protocol it carries.

    ``protocol`` is None where ``payload`` is not the beginning of that protocol's message: a later fragment.
    ``fragment`` is True for any fragment.
    """

    header: ipv4.ipv4 | ipv6.ipv6
    whole: bytes
    protocol: int | None
    fragment: bool
    payload: bytes


def _datagram(data: bytes) -> _Datagram | None:
    """Return the IP packet of a frame, None for anything else and for what cannot be parsed.

    Only headers are parsed: Ryu's parsers of applications raise on what is on their ports and not of their kind.
    """
    try:
        frame, _, rest = ethernet.ethernet.parser(data)
        if frame.ethertype == f.ETH_IPV4:
            header, _, payload = ipv4.ipv4.parser(rest)
            protocol, length, later = header.proto, header.total_length, header.offset
            fragment = bool(later or header.flags & _MORE_FRAGMENTS)
        elif frame.ethertype == f.ETH_IPV6:
            header, _, payload = ipv6.ipv6.parser(rest)
            last = header.ext_hdrs[-1] if header.ext_hdrs else header
            protocol, length = last.nxt, _IPV6_HEADER + header.payload_length
            pieces = [extension for extension in header.ext_hdrs if isinstance(extension, ipv6.fragment)]
            fragment, later = bool(pieces), any(piece.offset for piece in pieces)
        else:
            return None
    except Exception:  # Ryu's parsers raise nearly anything on what hostile hosts send
        return None
    if header.version != (4 if frame.ethertype == f.ETH_IPV4 else 6):
        return None
    return _Datagram(header, rest[:length], None if later else protocol, fragment, payload)


def destination(data: bytes) -> Address | None:
    """Return the IP destination of a frame, or None where it is no IP packet."""
    datagram = _datagram(data)
    return ip_address(datagram.header.dst) if datagram else None


def _may_be_answered(datagram: _Datagram) -> bool:
    """No error about an error, a fragment that is not the first, or a packet without a single sender.

    RFC 1812, section 4.3.2.7; RFC 4443, section 2.4 (e).
    """
    source, target = ip_address(datagram.header.src), ip_address(datagram.header.dst)
    if source.is_multicast or source.is_unspecified or source.is_loopback or int(source) == 0xFFFFFFFF:
        return False
    if target.is_multicast or datagram.protocol is None:
        return False
    kind = datagram.payload[0] if datagram.payload else None
    if datagram.protocol == f.PROTO_ICMP:
        return kind not in (*f.ICMP_ERRORS, _ICMP_REDIRECT)
    if datagram.protocol == f.PROTO_ICMPV6:
        return kind is not None and kind >= 128 and kind != _ICMPV6_REDIRECT
    return True


def icmp_error(data: bytes, source4: IPv4Address | None, source6: IPv6Address | None, kind4: tuple[int, int],
               kind6: tuple[int, int]) -> bytes | None:
    """Return the ICMP error about a frame, to be routed; None where none may be sent.

    ``source4`` and ``source6`` are the router's own addresses, ``kind4`` and ``kind6`` type and code.
    """
    datagram = _datagram(data)
    if datagram is None or not _may_be_answered(datagram):
        return None
    header, quoted = datagram.header, datagram.whole
    if isinstance(header, ipv4.ipv4):
        if source4 is None:
            return None
        body = icmp.TimeExceeded(data=quoted[:ICMP_QUOTE]) if kind4[0] == 11 else icmp.dest_unreach(
            data=quoted[:ICMP_QUOTE])
        return _to_sender(header, str(source4), f.PROTO_ICMP, icmp.icmp(type_=kind4[0], code=kind4[1], data=body))
    if source6 is None:
        return None
    unused = icmpv6.icmpv6(type_=kind6[0], code=kind6[1], data=bytes(4) + quoted[:ICMPV6_QUOTE])
    return _to_sender(header, str(source6), f.PROTO_ICMPV6, unused)


def reset(data: bytes) -> bytes | None:
    """Return the TCP reset that answers a segment, to be routed; None where there is none.

    RFC 9293, section 3.10.7.1 (a segment for a connection that does not exist).
    """
    datagram = _datagram(data)
    if datagram is None or datagram.protocol != f.PROTO_TCP or len(datagram.payload) < tcp.tcp._MIN_LEN:
        return None
    header = datagram.header
    source, target, sequence, acknowledged, offset, flags = struct.unpack_from("!HHIIBB", datagram.payload)
    if flags & tcp.TCP_RST:
        return None
    if flags & tcp.TCP_ACK:
        answer = tcp.tcp(src_port=target, dst_port=source, seq=acknowledged, bits=tcp.TCP_RST, window_size=0)
    else:
        length = max(len(datagram.payload) - 4 * (offset >> 4), 0)
        length += bool(flags & tcp.TCP_SYN) + bool(flags & tcp.TCP_FIN)
        answer = tcp.tcp(src_port=target, dst_port=source, seq=0, ack=(sequence + length) & 0xFFFFFFFF,
                         bits=tcp.TCP_RST | tcp.TCP_ACK, window_size=0)
    return _to_sender(header, header.dst, f.PROTO_TCP, answer)


def is_tcp(data: bytes) -> bool:
    """True where a frame holds the beginning of a TCP segment."""
    datagram = _datagram(data)
    return datagram is not None and datagram.protocol == f.PROTO_TCP


def with_checksum(data: bytes) -> bytes:
    """Return a frame with the checksum of its TCP segment or UDP datagram computed.

    A virtual interface leaves that to the hardware (``tx-checksumming``); a switch that knows keeps note of it beside
    the packet, and the note is lost on the way over the controller.  Fragments are returned as they are.
    """
    datagram = _datagram(data)
    place = _CHECKSUMS.get(datagram.protocol) if datagram else None
    if place is None or datagram.fragment or getattr(datagram.header, "ext_hdrs", None):
        return data
    payload = bytearray(datagram.payload)
    old = bytes(payload[place:place + 2])
    if len(old) < 2 or (datagram.protocol == f.PROTO_UDP and old == bytes(2)):
        return data
    payload[place:place + 2] = bytes(2)
    checksum = packet_utils.checksum_ip(datagram.header, len(payload), payload) or 0xFFFF
    first = _ETHERNET_HEADER + len(datagram.whole) - len(payload) + place
    return data[:first] + checksum.to_bytes(2, "big") + data[first + 2:]


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
                  ipv6.ipv6(src=str(source), dst=str(group), nxt=f.PROTO_ICMPV6, hop_limit=f.ND_HOP_LIMIT),
                  icmpv6.icmpv6(type_=f.ICMPV6_NEIGHBOUR_SOLICITATION, code=0,
                                data=icmpv6.nd_neighbor(dst=str(target), option=option)),
                  source=addresses.text(mac), target=addresses.text(0x3333FF000000 | low))


def told_neighbour(data: bytes) -> Address | None:
    """Return the address that an ARP reply or neighbour advertisement speaks for."""
    try:
        frame, _, rest = ethernet.ethernet.parser(data)
        if frame.ethertype == f.ETH_ARP:
            return IPv4Address(arp.arp.parser(rest)[0].src_ip)
    except (struct.error, ValueError):
        return None
    datagram = _datagram(data)
    if datagram is None or datagram.protocol != f.PROTO_ICMPV6 or len(datagram.payload) < _ND_TARGET.stop:
        return None
    if datagram.payload[0] != f.ICMPV6_NEIGHBOUR_ADVERTISEMENT:
        return None
    return IPv6Address(datagram.payload[_ND_TARGET])


def _to_sender(header: ipv4.ipv4 | ipv6.ipv6, source: str, protocol: int, message) -> bytes:
    """Return a message of a protocol to the sender of a packet, from an address of the same family."""
    if isinstance(header, ipv4.ipv4):
        return _frame(f.ETH_IPV4, ipv4.ipv4(src=source, dst=header.src, proto=protocol, ttl=f.DEFAULT_TTL), message)
    return _frame(f.ETH_IPV6, ipv6.ipv6(src=source, dst=header.src, nxt=protocol, hop_limit=f.DEFAULT_TTL), message)


def _frame(eth_type: int, *layers, source: str = UNSET_MAC, target: str = UNSET_MAC) -> bytes:
    built = packet.Packet()
    built.add_protocol(ethernet.ethernet(ethertype=eth_type, src=source, dst=target))
    for layer in layers:
        built.add_protocol(layer)
    built.serialize()
    return bytes(built.data)
