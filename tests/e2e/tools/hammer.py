"""Many short TCP connections: ``hammer.py serve PORT`` and ``hammer.py connect ADDRESS PORT FIRST COUNT PROCESSES``.

``serve`` prints ``listening`` and closes what it accepts as soon as the other side has.  ``connect`` opens and closes
COUNT connections from the source ports FIRST, FIRST + 1, … in PROCESSES processes, and prints how many were accepted.
"""

from __future__ import annotations

import selectors
import socket
import sys
from concurrent.futures import ProcessPoolExecutor


def serve(port: int) -> None:
    """Accept, and close when the other side has closed."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    selector.register(listener, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def connect(address: str, port: int, source_ports: range) -> int:
    """Open and close a connection from each source port; return how many were accepted."""
    source = "::" if ":" in address else "0.0.0.0"
    accepted = 0
    for source_port in source_ports:
        try:
            with socket.create_connection((address, port), timeout=5, source_address=(source, source_port)):
                accepted += 1
        except OSError as error:
            print(f"port {source_port}: {error}", file=sys.stderr)
    return accepted


def main() -> None:
    """Share the source ports among the processes."""
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
        return
    address, (port, first, count, processes) = sys.argv[2], map(int, sys.argv[3:])
    shares = [range(first + number, first + count, processes) for number in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        print(sum(pool.map(connect, [address] * processes, [port] * processes, shares)))


if __name__ == "__main__":
    main()
