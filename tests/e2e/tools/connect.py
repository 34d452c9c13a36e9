"""Client of the echo server: ``connect.py TIMEOUT PARALLEL``.

Reads one line, a JSON list of targets (address, port, proto, source, source_port), makes all connections, PARALLEL at
a time, and prints one JSON line per target in their order.  Keeps the connections open until its input ends.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import sys


async def ask(loop: asyncio.AbstractEventLoop, target: dict, kept: list[socket.socket]) -> dict:
    """Make one connection, send a line, and return the answer with the client's own address."""
    family = socket.AF_INET6 if ":" in target["address"] else socket.AF_INET
    kind = socket.SOCK_STREAM if target["proto"] == "tcp" else socket.SOCK_DGRAM
    one = socket.socket(family, kind)
    kept.append(one)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if target["source"] or target["source_port"]:
        one.bind((target["source"], target["source_port"]))
    await loop.sock_connect(one, (target["address"], target["port"]))
    await loop.sock_sendall(one, b"hello\n")
    answer = json.loads(await loop.sock_recv(one, 65536))
    return {"near": one.getsockname()[:2], "peer": answer["peer"], "local": answer["local"], "error": ""}


async def attempt(
    loop: asyncio.AbstractEventLoop, gate: asyncio.Semaphore, timeout: float, target: dict, kept: list[socket.socket]
) -> dict:
    """Return the answer of one target, or the error in its place."""
    async with gate:
        try:
            return await asyncio.wait_for(ask(loop, target, kept), timeout)
        except TimeoutError:
            return {"error": "timeout"}
        except OSError as error:
            return {"error": errno.errorcode.get(error.errno, str(error))}
        except ValueError:
            return {"error": "closed"}


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
