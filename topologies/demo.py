"""``make demo``: figures 3 and 4 of the white paper with real packets, and what was seen of them.

Everything that is printed as seen was read from port counters, connection tracking tables and hosts; the program ends
with exit code 0 only if it was as it should be.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from ipaddress import ip_address
from itertools import count

from controller.explain import oracle
from controller.model.gateway import NatAction
from topologies.lab import Lab
from topologies.traffic import PORT, content
from topologies.walks import Walk, WalkObserver

INGRESS, OWNER, RETURN = "edge3", "edge4", "edge1"
"""The worst case of figures 3 and 4: north over edge 3, owned by edge 4, back over edge 1."""

ECHOES = 40
"""Packets of a probe in each direction: enough to tell it from neighbour discovery."""
SOURCE_PORTS = range(20000, 20400)
DOWNLOAD = 100 * 1000 * 1000
CONNECTIONS = 200
TOLERANCE = 4.0
"""Standard deviations by which the redirect fraction of CONNECTIONS connections may be off."""
CLIENT = f"{sys.executable} -m topologies.traffic client"


class Failed(Exception):
    """Something that should have been seen was not."""


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text, flush=True)


def remote_owned_by(lab: Lab, edge: str) -> str:
    """Return the first address of host B from 192.0.2.2 on that an edge owns, as Open vSwitch itself computes it."""
    for number in count(2):
        address = f"192.0.2.{number}"
        if lab.owner(address)["member"] == edge:
            return address
    raise AssertionError("unreachable")


def returns_over(lab: Lab, edge: str, remote: str, port: int) -> bool:
    """True where R's equal-cost routing sends answers to a source port of A over an edge (asked, not sent)."""
    gateway = lab.config.gateways[0]
    outside = next(rule.translated[0] for rule in gateway.nat_rules if rule.action is NatAction.SNAT)
    uplink = next(router.interfaces[0] for router in gateway.routers if router.edge == edge)
    chosen = lab.host("R").run(f"ip route get {outside} from {remote} iif R-B ipproto tcp sport {PORT} dport {port}")
    return f"dev R-{uplink.id} " in chosen.stdout


class Connection:
    """One TCP connection from A to the server on B, held open by a client process."""

    def __init__(self, lab: Lab, remote: str, port: int):
        self.remote, self.port = remote, port
        self._client = lab.host("A").popen(f"exec {CLIENT} {remote} --source-port {port}", stdin=subprocess.PIPE)

    def ask(self, command: str, number: int) -> dict:
        """Carry out a request and return what the client says of it."""
        print(command, number, file=self._client.stdin, flush=True)
        return json.loads(self._client.stdout.readline())

    def close(self) -> None:
        """End the client."""
        self._client.stdin.close()
        self._client.wait()


def worst_case(lab: Lab, observer: WalkObserver, remote: str) -> tuple[Connection, Walk, Walk]:
    """Open connections from A to a remote address until one takes the way of the figures; return it and its walks.

    Only source ports are tried whose answers R will send over the right edge; what is returned was observed.
    """
    for port in SOURCE_PORTS:
        if not returns_over(lab, RETURN, remote, port):
            continue
        before = observer.counts()
        connection = Connection(lab, remote, port)
        connection.ask("echo", ECHOES)
        after = observer.counts()
        north, south = observer.north(before, after, ECHOES), observer.south(before, after, ECHOES)
        if (north.entered, south.entered) == (INGRESS, RETURN):
            return connection, north, south
        connection.close()
    raise Failed(f"no source port of {SOURCE_PORTS} took the way over {INGRESS} and {RETURN}")


def expect(condition: bool, what: str) -> None:
    """Print what was checked; raise Failed if it does not hold."""
    say(f"  {'ok' if condition else 'NOT OK':7}{what}")
    if not condition:
        raise Failed(what)


def show_walk(title: str, walk: Walk) -> None:
    """Print a walk as it was observed."""
    say(f"\n{title}: entered {walk.entered}, {'punted' if walk.punted else 'not punted'}, served by {walk.served}")
    for passage in walk.passages:
        say(f"    {passage}")


def figures_3_and_4(lab: Lab, observer: WalkObserver) -> Connection:
    """Show and check the worst case; return the connection that takes it."""
    remote = remote_owned_by(lab, OWNER)
    slots = [router.slot for router in lab.config.gateways[0].routers]
    say(f"\n{remote} is owned by {OWNER}; looking for a TCP connection from A that enters {INGRESS} and comes back "
        f"over {RETURN} …")
    connection, north, south = worst_case(lab, observer, remote)
    show_walk(f"north, seen on the ports (figure 3), A port {connection.port} -> {remote}", north)
    show_walk("south, seen on the ports (figure 4)", south)
    say()
    expect(north.served == OWNER and south.served == OWNER, f"both directions were served by {OWNER}")
    expect(north.punted and south.punted, "both directions were punted: the worst case")
    expect(oracle.owner(ip_address(remote), slots) == lab.owner(remote)["slot"],
           "the Python oracle names the same owner as Open vSwitch")
    holding = [router.edge for router in lab.config.gateways[0].routers
               if any(entry["orig"].get("sport") == connection.port for entry in lab.conntrack(router.zone))]
    expect(holding == [OWNER], f"only {OWNER} holds the connection in its conntrack zone")
    return connection


def download(observer: WalkObserver, connection: Connection) -> None:
    """Download over the worst case, and compare checksum and way."""
    say(f"\ndownloading {DOWNLOAD // 1000 ** 2} MB over this connection …")
    before = observer.counts()
    got = connection.ask("download", DOWNLOAD)
    after = observer.counts()
    walk = observer.south(before, after, DOWNLOAD // 65536 // 2)
    expect(got["received"] == DOWNLOAD, f"{got['received']} bytes arrived")
    expect(got["sha256"] == checksum(DOWNLOAD), "the checksum is that of what was sent")
    expect((walk.entered, walk.served) == (RETURN, OWNER),
           f"it came in by {walk.entered} and was served by {walk.served}")


def checksum(size: int) -> str:
    """SHA-256 of the server's content."""
    digest = hashlib.sha256()
    for chunk in content(size):
        digest.update(chunk)
    return digest.hexdigest()


def redirect_fraction(lab: Lab, observer: WalkObserver) -> None:
    """Open connections to random remote addresses, and compare the share of redirected packets with (N-1)/N."""
    routers = len(lab.config.gateways[0].routers)
    addresses = random.Random(3).sample([f"203.0.113.{host}" for host in range(1, 255)], CONNECTIONS)
    before = observer.counts()
    lab.host("A").run(f"echo echo 5 | {CLIENT} {' '.join(addresses)}", timeout=120)
    north, south = observer.redirected(before, observer.counts())
    expected = (routers - 1) / routers
    deviation = (expected * (1 - expected) / CONNECTIONS) ** 0.5
    say(f"\nredirected packets of {CONNECTIONS} connections to random remote addresses: "
        f"north {north:.1%}, south {south:.1%}")
    for direction, share in (("north", north), ("south", south)):
        expect(abs(share - expected) <= TOLERANCE * deviation,
               f"{direction}: (N-1)/N = {expected:.0%}, within {TOLERANCE:g} standard deviations of {deviation:.1%}; "
               f"{1 - share:.0%} is near 1/N")


def main() -> int:
    """Run the demonstration and return the exit code."""
    say("starting Open vSwitch, controller, four edges, physical router and hosts …")
    with Lab("four_edge") as lab:
        lab.wait_settled()
        server = lab.host("B").popen(f"{sys.executable} -m topologies.traffic server")
        lab.host("B").run(f"until ss -ltn | grep -q :{PORT}; do sleep 0.05; done")
        observer = WalkObserver(lab)
        try:
            connection = figures_3_and_4(lab, observer)
            asked = f"explain --src 10.0.0.2 --dst {connection.remote} --via {INGRESS} --return-via {RETURN}"
            say(f"\nwhy? saga {asked}\n")
            say(lab.saga(*asked.split(), "--sport", str(connection.port), "--dport", str(PORT)).stdout)
            download(observer, connection)
            redirect_fraction(lab, observer)
        except Failed as error:
            say(f"\nthe demonstration failed: {error}")
            return 1
        finally:
            server.terminate()
    say("\neverything was as figures 3 and 4 draw it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
