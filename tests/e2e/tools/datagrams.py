"""Large datagrams, there and back: ``datagrams.py serve PORT…`` and ``datagrams.py ask SIZE TIMEOUT TARGET…``.

``serve`` prints ``listening`` and returns every datagram from the address that it was sent to.  A TARGET is
``address,port`` or ``address,port,source``; ``ask`` sends a different datagram of SIZE bytes to each, a few at a time,
waits up to TIMEOUT seconds for the answers of these, and prints a JSON list that says of each target whether the same
datagram came back.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import struct
import sys
import time

AT_A_TIME = 4


def serve(ports: list[int]) -> None:
    """Serve on all addresses of both families, until killed."""
    selector = selectors.DefaultSelector()
    for port in ports:
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        server.bind(("::", port))
        selector.register(server, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            data, ancillary, _, peer = key.fileobj.recvmsg(65535, 256)
            source = struct.pack("@16si", ancillary[0][2][:16], 0)
            key.fileobj.sendmsg([data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)], 0, peer)


def ask(size: int, timeout: float, targets: list[str]) -> list[bool]:
    """Return for every target whether the datagram came back."""
    return [came for first in range(0, len(targets), AT_A_TIME)
            for came in ask_some(size, timeout, targets[first:first + AT_A_TIME])]


def ask_some(size: int, timeout: float, targets: list[str]) -> list[bool]:
    """Return for every target whether the datagram came back; all are sent at once."""
    asked = []
    for number, target in enumerate(targets):
        address, port, *source = target.split(",")
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        if source:
            one.bind((source[0], 0))
        one.connect((address, int(port)))
        data = random.Random(number).randbytes(size)
        one.send(data)
        asked.append((one, data))
    deadline = time.monotonic() + timeout
    came = []
    for one, data in asked:
        one.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            came.append(one.recv(65535) == data)
        except OSError:
            came.append(False)
    return came


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve([int(port) for port in sys.argv[2:]])
    else:
        print(json.dumps(ask(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])))
