"""Client of the echo server: ``connect.py TIMEOUT PARALLEL``.

Reads one line, a JSON list of targets (address, port, proto, source, source_port), makes all connections, PARALLEL at
a time, and prints one JSON line per target in their order.  Keeps the connections open until its input ends, and then
resets them, so that the same ports can be used again at once.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import struct
import sys


def opened(target: dict) -> socket.socket:
    """Return a socket for a target, bound where the target says so."""
    family = socket.AF_INET6 if ":" in target["address"] else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM if target["proto"] == "tcp" else socket.SOCK_DGRAM)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if target["proto"] == "tcp":
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if target["source"] or target["source_port"]:
        one.bind((target["source"], target["source_port"]))
    return one


async def ask(loop: asyncio.AbstractEventLoop, one: socket.socket, target: dict) -> dict:
    """Make one connection, send a line, and return what the server says of it."""
    await loop.sock_connect(one, (target["address"], target["port"]))
    await loop.sock_sendall(one, b"hello\n")
    return json.loads(await loop.sock_recv(one, 65536))


async def attempt(
    loop: asyncio.AbstractEventLoop, gate: asyncio.Semaphore, timeout: float, target: dict, kept: list[socket.socket]
) -> dict:
    """Return what became of one target; its socket is kept open."""
    found = {"near": None, "peer": None, "local": None, "error": ""}
    async with gate:
        try:
            one = opened(target)
            kept.append(one)
            try:
                answer = await asyncio.wait_for(ask(loop, one, target), timeout)
            finally:
                found["near"] = one.getsockname()[:2]
            found |= {"peer": answer["peer"], "local": answer["local"]}
        except TimeoutError:
            found["error"] = "timeout"
        except OSError as error:
            found["error"] = errno.errorcode.get(error.errno, str(error))
        except ValueError:
            found["error"] = "closed"
    return found


async def main() -> None:
    """Make all connections, print the answers, wait for the end of the input."""
    timeout, parallel = float(sys.argv[1]), int(sys.argv[2])
    targets = json.loads(sys.stdin.readline())
    loop, gate, kept = asyncio.get_running_loop(), asyncio.Semaphore(parallel), []
    for answer in await asyncio.gather(*(attempt(loop, gate, timeout, target, kept) for target in targets)):
        print(json.dumps(answer))
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
