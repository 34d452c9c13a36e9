"""Connections do not cost upcalls: the datapath knows remote addresses and directions, not connections."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.e2e.helpers import tool
from topologies.expect import run_and_expect
from topologies.hosts import LabHost
from topologies.lab import Lab
from topologies.process import end

FEW, MANY = 1_000, 10_000
PROCESSES = 3
MOST_UPCALLS = 100
OTHER_FLOWS = 20
"""Datapath flows of ARP, neighbour discovery and the like that come and go meanwhile."""


@dataclass(frozen=True)
class Cost:
    """What connections have cost: packets that the datapath had no flow for, and the flows it has after them."""

    upcalls: int
    flows: int


def upcalls(lab: Lab) -> int:
    """Return how many packets have missed the datapath's flows since it was made."""
    return int(re.search(r"lookups: hit:\d+ missed:(\d+)", lab.appctl(lab.bridges[0], "dpctl/show"))[1])


def datapath_flows(lab: Lab) -> int:
    """Return how many flows the datapath has."""
    return sum("actions:" in line for line in lab.appctl(lab.bridges[0], "dpctl/dump-flows").splitlines())


def cost(lab: Lab, client: LabHost, address: str, port: int, first: int, count: int) -> Cost:
    """Open and close ``count`` connections and return what that has cost."""
    before = upcalls(lab)
    result = client.run(tool("hammer", "connect", address, port, first, count, PROCESSES), timeout=90)
    assert int(result.stdout) == count, result.stderr
    return Cost(upcalls(lab) - before, datapath_flows(lab))


@pytest.mark.parametrize(
    ("client", "address", "port", "first", "server", "listens"),
    [
        ("A", "192.0.2.2", 9, 10_000, "B", 9),
        ("A", "2001:db8:b::2", 9, 21_000, "B", 9),
        ("B", "198.51.100.80", 80, 10_000, "A", 8080),
    ],
    ids=["outbound-snat", "outbound-ipv6", "inbound-dnat"],
)
def test_thousands_of_connections_with_one_remote_cost_a_handful_of_upcalls(
    lab: Lab, client: str, address: str, port: int, first: int, server: str, listens: int
) -> None:
    serving = lab.host(server).popen(tool("hammer", "serve", listens))
    try:
        run_and_expect(serving.stdout.readline, "listening\n", what="the server listens")
        lab.appctl(lab.bridges[0], "revalidator/purge")
        cold = cost(lab, lab.host(client), address, port, first, FEW)
        warm = cost(lab, lab.host(client), address, port, first + FEW, MANY)
    finally:
        end(serving)
    print(f"first {FEW}: {cold}, then {MANY}: {warm}")
    assert 0 < cold.upcalls
    assert cold.upcalls + warm.upcalls < MOST_UPCALLS
    assert warm.flows <= cold.flows + OTHER_FLOWS


def test_a_flow_that_copies_ports_would_be_noticed(lab: Lab) -> None:
    lab.stop_controller()
    arrives = 'in_port="t0-dr-web",dl_dst=02:5b:01:04:00:01'
    (actions,) = [line.split("actions=")[1] for line in lab.dump_flows("t0-dr") if arrives in line]
    copying = f"table=0,priority=65000,tcp,{arrives},actions=move:NXM_OF_TCP_SRC[]->NXM_NX_REG9[0..15],{actions}"
    lab.ofctl("t0-dr", "add-flow", copying)
    serving = lab.host("B").popen(tool("hammer", "serve", 9))
    try:
        run_and_expect(serving.stdout.readline, "listening\n", what="the server listens")
        assert cost(lab, lab.host("A"), "192.0.2.2", 9, 32_000, 2 * MOST_UPCALLS).upcalls > MOST_UPCALLS
    finally:
        end(serving)
        lab.start_controller()
        lab.wait_settled()
