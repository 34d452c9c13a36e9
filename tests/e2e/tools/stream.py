"""A paced download: ``stream.py serve PORT RATE`` and ``stream.py receive ADDRESS PORT``.

``serve`` prints ``listening``, sends one client RATE bytes per second until its own input ends, and then closes.
``receive`` prints ``receiving`` with the first bytes.  At the end both print how many bytes it was and their SHA-256.
"""

from __future__ import annotations

import hashlib
import random
import select
import socket
import sys
import time

BLOCK = 50_000


def report(count: int, digest) -> None:
    """Say what went over the connection."""
    print(count, digest.hexdigest(), flush=True)


def serve(port: int, rate: int) -> None:
    """Send to one client; a block is put off until the time that the rate says."""
    content, digest, count = random.Random(port), hashlib.sha256(), 0
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print("listening", flush=True)
        connection, _ = server.accept()
    start = time.monotonic()
    with connection:
        while True:
            wait = start + count / rate - time.monotonic()
            if select.select([sys.stdin], [], [], max(0, wait))[0]:
                break
            block = content.randbytes(BLOCK)
            connection.sendall(block)
            digest.update(block)
            count += len(block)
    report(count, digest)


def receive(address: str, port: int) -> None:
    """Receive to the end."""
    digest, count = hashlib.sha256(), 0
    with socket.create_connection((address, port)) as connection:
        while block := connection.recv(1 << 16):
            if not count:
                print("receiving", flush=True)
            digest.update(block)
            count += len(block)
    report(count, digest)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        receive(sys.argv[2], int(sys.argv[3]))
