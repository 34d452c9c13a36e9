"""Echo server on every address: ``echo_server.py PORT…`` (TCP and UDP).

Prints ``listening``.  Answers each line (TCP) or datagram (UDP) with a JSON line: ``peer`` is who asks, ``local`` whom
they asked, each as [address, port]; ``data`` is what they said.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys

_ANCILLARY = 256


def plain(address: str) -> str:
    """Return an IPv4 address as such, not in its IPv6 form."""
    return address.removeprefix("::ffff:")


def answer(peer: tuple, local: tuple, data: bytes) -> bytes:
    """Return the line that says who was seen."""
    found = {"peer": [plain(peer[0]), peer[1]], "local": [plain(local[0]), local[1]], "data": data.decode().strip()}
    return json.dumps(found).encode() + b"\n"


def open_udp(port: int) -> socket.socket:
    """Return a UDP socket that tells the address it was asked on."""
    found = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    found.bind(("::", port))
    return found


def serve_udp(server: socket.socket) -> None:
    """Answer one datagram from the address it was sent to."""
    data, ancillary, _, peer = server.recvmsg(65535, _ANCILLARY)
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            local = socket.inet_ntop(socket.AF_INET6, value[:16])
            source = struct.pack("@16si", value[:16], 0)
            server.sendmsg([answer(peer, (local, server.getsockname()[1]), data)], [(level, kind, source)], 0, peer)


def serve_tcp(connection: socket.socket, selector: selectors.BaseSelector) -> None:
    """Answer one line of a connection, or forget it where it has ended."""
    try:
        data = connection.recv(65536)
        if data:
            connection.sendall(answer(connection.getpeername(), connection.getsockname(), data))
            return
    except OSError:
        pass
    selector.unregister(connection)
    connection.close()


def main() -> None:
    """Serve until killed."""
    selector = selectors.DefaultSelector()
    for port in map(int, sys.argv[1:]):
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
        selector.register(listener, selectors.EVENT_READ, "listener")
        selector.register(open_udp(port), selectors.EVENT_READ, "udp")
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data == "listener":
                connection, _ = key.fileobj.accept()
                selector.register(connection, selectors.EVENT_READ, "tcp")
            elif key.data == "udp":
                serve_udp(key.fileobj)
            else:
                serve_tcp(key.fileobj, selector)


if __name__ == "__main__":
    main()
