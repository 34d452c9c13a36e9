"""Real TCP traffic for demonstrations: ``python -m topologies.traffic server`` and ``… client ADDRESS…`` inside hosts.

The server answers on every address of its host.  A connection carries requests, one line each: ``echo COUNT`` (the
client sends COUNT bytes one by one, each is sent back) or ``download BYTES`` (the server sends that many pseudorandom
bytes).  The client reads requests from its standard input, carries each out on a connection to every address, and
prints one JSON line for each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import socket
import socketserver
import sys
from collections.abc import Iterator

PORT = 8000
TIMEOUT = 60
CHUNK = 1 << 16


def content(size: int) -> Iterator[bytes]:
    """Yield ``size`` pseudorandom bytes in chunks, the same ones every time."""
    block = random.Random(1).randbytes(1 << 20)
    while size > 0:
        yield block[:size]
        size -= len(block)


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve the requests of one connection."""
        while request := self.rfile.readline():
            command, number = request.split()
            if command == b"download":
                for chunk in content(int(number)):
                    self.wfile.write(chunk)
            else:
                for _ in range(int(number)):
                    self.wfile.write(self.rfile.read(1))


class Server(socketserver.ThreadingTCPServer):
    """The server, on all addresses of both families."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


def ask(connection: socket.socket, command: str, number: int) -> dict:
    """Carry out one request and return what came back: bytes, and their SHA-256."""
    digest, received = hashlib.sha256(), 0
    connection.sendall(f"{command} {number}\n".encode())
    while received < number:
        if command == "echo":
            connection.sendall(b"x")
        chunk = connection.recv(min(CHUNK, number - received))
        if not chunk:
            break
        digest.update(chunk)
        received += len(chunk)
    return {"address": connection.getpeername()[0], "source_port": connection.getsockname()[1], "received": received,
            "sha256": digest.hexdigest()}


def client(addresses: list[str], source_port: int) -> None:
    """Connect to the addresses and carry out the requests of standard input on every connection."""
    connections = []
    for address in addresses:
        connection = socket.create_connection((address, PORT), TIMEOUT, ("", source_port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.append(connection)
    for request in sys.stdin:
        command, number = request.split()
        for connection in connections:
            print(json.dumps(ask(connection, command, int(number))), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the server, or a client for one or several addresses."""
    parser = argparse.ArgumentParser(prog="python -m topologies.traffic", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("server")
    to = kinds.add_parser("client")
    to.add_argument("addresses", nargs="+")
    to.add_argument("--source-port", type=int, default=0)
    args = parser.parse_args(arguments)
    if args.kind == "server":
        with Server(("::", PORT), _Handler) as server:
            server.serve_forever()
    client(args.addresses, args.source_port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
