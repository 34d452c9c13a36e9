"""Large transfers: ``transfer.py serve PORT`` and ``transfer.py connect ADDRESS PORT SOURCE SOURCE_PORT``.

``serve`` prints ``listening``; a connection says ``get BYTES`` or ``put BYTES``, and gets the bytes or the SHA-256 of
what it has sent.  The client makes one connection, prints ``listening``, does on it what the lines of its input say
(the same words), and prints for each the SHA-256 of the bytes at this end and at the other end.
"""

from __future__ import annotations

import hashlib
import random
import socket
import socketserver
import sys
from collections.abc import Iterator

BLOCK = random.Random(7).randbytes(1 << 20)


def content(size: int) -> Iterator[bytes]:
    """Yield blocks that differ by their first bytes, ``size`` bytes in all."""
    number = 0
    while size > 0:
        yield (number.to_bytes(8, "big") + BLOCK)[:min(size, len(BLOCK))]
        number, size = number + 1, size - len(BLOCK)


def digest_of(size: int) -> str:
    """Return the SHA-256 of the content."""
    digest = hashlib.sha256()
    for block in content(size):
        digest.update(block)
    return digest.hexdigest()


def receive(stream, size: int) -> str:
    """Read ``size`` bytes and return their SHA-256."""
    digest = hashlib.sha256()
    while size > 0 and (block := stream.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


class Handler(socketserver.StreamRequestHandler):
    """One connection of the server."""

    def handle(self) -> None:
        """Do what the client asks for."""
        while request := self.rfile.readline():
            what, size = request.split()
            if what == b"get":
                for block in content(int(size)):
                    self.wfile.write(block)
            else:
                self.wfile.write(receive(self.rfile, int(size)).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    """The server, on all addresses of both families."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


def client(address: str, port: int, source: str, source_port: int) -> None:
    """Do the transfers that the input asks for."""
    with socket.create_connection((address, port), 5, (source, source_port)) as connection:
        print("listening", flush=True)
        stream = connection.makefile("rwb")
        for line in sys.stdin:
            what, size = line.split()[0], int(line.split()[1])
            stream.write(line.encode())
            if what == "put":
                for block in content(size):
                    stream.write(block)
            stream.flush()
            there = receive(stream, size) if what == "get" else stream.readline().decode().strip()
            print(digest_of(size), there, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        with Server(("::", int(sys.argv[2])), Handler) as server:
            print("listening", flush=True)
            server.serve_forever()
    client(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
