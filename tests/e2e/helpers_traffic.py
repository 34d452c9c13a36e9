"""What the tests about owners share: random remote addresses, who holds a connection, counters of all routers."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from tests.e2e.helpers import Answer
from topologies.lab import Lab

REMOTES_4 = ("192.0.2.0/24", "203.0.113.0/24", "198.18.0.0/15")
REMOTES_6 = ("2001:db8:b::/64",)
"""Prefixes of which B answers for every address."""


def seeded() -> random.Random:
    """Return a random generator; its seed is printed, and can be given as SAGA_TEST_SEED to see the same again."""
    seed = os.environ.get("SAGA_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"SAGA_TEST_SEED={seed}")
    return random.Random(seed)


def random_remotes(chosen: random.Random, count4: int, count6: int) -> list[str]:
    """Return different random addresses of B."""
    found: set[str] = set()

    def add(prefixes: Iterable[str], count: int) -> None:
        networks = [ip_network(prefix) for prefix in prefixes]
        wanted = len(found) + count
        while len(found) < wanted:
            network = chosen.choice(networks)
            found.add(str(network[chosen.randrange(1, network.num_addresses - 1)]))

    add(REMOTES_4, count4)
    add(REMOTES_6, count6)
    return sorted(found)


@dataclass(frozen=True)
class Held:
    """A connection in a connection tracker: the slot of the zone, and the tracker's state of it."""

    slot: int
    state: str


def holders(lab: Lab) -> dict[tuple[str, int, str, int], list[Held]]:
    """Return, by (source, source port, destination, destination port), which service routers track a TCP connection."""
    slots = {router.zone: router.slot for gateway in lab.config.gateways for router in gateway.routers}
    found: dict[tuple[str, int, str, int], list[Held]] = {}
    for connection in lab.conntrack():
        if connection["proto"] == "tcp" and connection["zone"] in slots:
            orig = connection["orig"]
            key = (_canonical(orig["src"]), orig["sport"], _canonical(orig["dst"]), orig["dport"])
            held = Held(slots[connection["zone"]], connection["protoinfo"]["state"])
            found.setdefault(key, []).append(held)
    return found


def held_by(answer: Answer, held: dict[tuple[str, int, str, int], list[Held]]) -> list[Held]:
    """Return which service routers track the connection of an answer."""
    return held.get((*answer.near, _canonical(answer.target.address), answer.target.port), [])


def _canonical(address: str) -> str:
    return str(ip_address(address))


def push_counters(lab: Lab) -> None:
    """Make the counters of flows and patch ports complete: Open vSwitch adds them up only now and then."""
    lab.appctl(lab.bridges[0], "revalidator/purge")


def table_packets(lab: Lab, bridge: str, table: int, match: str = "") -> int:
    """Return how many packets the flows of a table have taken whose text contains ``match``."""
    lines = lab.ofctl(bridge, "dump-flows", f"table={table}").splitlines()
    return sum(int(re.search(r"n_packets=(\d+)", line)[1]) for line in lines if "n_packets" in line and match in line)
