"""The other topologies, and the four edges with two interface groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import yaml

from tests.e2e.helpers import FOUR_EDGE, SLOTS, Target, ask, echo_server, edited, four_edge
from tests.e2e.helpers_rules import captured, errors, gateway, remotes, service, slots_of, use
from topologies.lab import Lab

A, A6 = "10.0.0.2", "2001:db8:a::2"
REMOTES = remotes(40) + remotes(40, 6)
PORT = 7000
SNAT = "198.51.100.1"


@contextmanager
def settled(topology: str) -> Iterator[Lab]:
    """A settled lab with an echo server at B and at A."""
    with Lab(topology) as lab, ExitStack() as stack:
        lab.wait_settled()
        for name in ("A", "B"):
            stack.enter_context(echo_server(lab.host(name), PORT))
        yield lab


def assert_outbound(lab: Lab, slots: tuple[int, ...]) -> None:
    """TCP and UDP from A to all remote addresses, translated (IPv4) and not (IPv6), over all slots."""
    answers = ask(lab.host("A"), *(Target(remote, PORT, proto) for remote in REMOTES for proto in ("tcp", "udp")))
    assert errors(answers) == []
    for answer in answers:
        assert answer.peer == (answer.near if ":" in answer.target.address else (SNAT, answer.near[1]))
    assert slots_of(lab, lab.conntrack()) == set(slots)


def test_two_edges() -> None:
    with settled("vm_a_to_host_b") as lab:
        assert_outbound(lab, (1, 2))
        refused = ask(lab.host("B"), Target(A, PORT), Target(A6, PORT), timeout=0.7)
        assert {answer.error for answer in refused} == {"timeout"}


def test_equal_cost_next_hops_are_all_used() -> None:
    with settled("ecmp") as lab:
        assert [router.name for router in lab.routers] == ["R1", "R2"]
        with ExitStack() as stack:
            seen = {router.name: stack.enter_context(captured(
                lab, router.name, [name for name in router.intfNames() if not name.endswith("-B")],
                f"dst port {PORT}")) for router in lab.routers}
            assert_outbound(lab, (1, 2))
        by_family = {name: {"IPv6" if "ethertype IPv6" in line else "IPv4" for line in lines}
                     for name, lines in seen.items()}
        assert by_family == {"R1": {"IPv4", "IPv6"}, "R2": {"IPv4", "IPv6"}}
        for router in lab.routers:
            lines = [line for line in seen[router.name] if "ethertype IPv4" in line]
            assert {line.split()[1] for line in lines} == {"02:5b:01:02:01:01", "02:5b:01:02:02:01"}


def two_groups() -> str:
    """Return a gateway file with an interface group ``dmz`` beside ``uplinks``, and rules with either as scope.

    203.0.113.0/24 is reached over the DMZ, everything else over the first group.
    """
    document = yaml.safe_load(FOUR_EDGE)
    locale = document["tier0s"][0]["locale_service"]
    locale["interfaces"] += [{"id": f"dmz{slot}", "edge": f"edge{slot}",
                              "subnets": [f"172.17.{slot}.2/24", f"2001:db8:1{slot}::2/64"]} for slot in SLOTS]
    locale["interface_groups"].append({"id": "dmz", "members": [f"dmz{slot}" for slot in SLOTS]})
    routes = document["tier0s"][0]["static_routes"]
    routes.append({"id": "partner", "network": "203.0.113.0/24",
                   "next_hops": [{"ip_address": f"172.17.{slot}.1"} for slot in SLOTS]})
    return gateway([
        {"id": "in-up", "action": "DNAT", "destination_network": "198.51.100.80", "translated_network": A,
         "service": service("TCP", 80), "translated_port": PORT, "scope": ["uplinks"], "sequence_number": 1},
        {"id": "in-dmz", "action": "DNAT", "destination_network": "198.51.100.80", "translated_network": A,
         "service": service("TCP", 80), "translated_port": PORT + 1, "scope": ["dmz"], "sequence_number": 2},
        {"id": "out-dmz", "action": "SNAT", "source_network": "10.0.0.0/24", "translated_network": "198.51.100.2",
         "scope": ["dmz"], "sequence_number": 10},
        {"id": "out-up", "action": "SNAT", "source_network": "10.0.0.0/24", "translated_network": SNAT,
         "scope": ["uplinks"], "sequence_number": 20},
    ], [
        {"id": "no-dmz", "action": "REJECT", "direction": "IN", "scope": ["dmz"], "sources": ["192.0.2.3"],
         "sequence_number": 1},
        {"id": "out-7001", "action": "REJECT", "direction": "OUT", "scope": ["dmz"],
         "services": [service("TCP", PORT + 1)], "sequence_number": 2},
    ], "ALLOW", yaml.safe_dump(document, sort_keys=False))


@pytest.fixture(scope="module")
def grouped() -> Iterator[Lab]:
    with four_edge(two_groups()) as lab, echo_server(lab.host("A"), PORT, PORT + 1):
        with echo_server(lab.host("B"), PORT, PORT + 1):
            yield lab


PARTNERS = [f"203.0.113.{number}" for number in range(2, 22)]


def test_scope_of_snat_and_of_outbound_rules_is_the_group_that_the_route_leaves_by(grouped: Lab) -> None:
    a = grouped.host("A")
    answers = ask(a, *(Target(remote, PORT, proto) for remote in PARTNERS + remotes(20) for proto in ("tcp", "udp")))
    assert errors(answers) == []
    for answer in answers:
        external = "198.51.100.2" if answer.target.address in PARTNERS else SNAT
        assert answer.peer == (external, answer.near[1])
    assert slots_of(grouped, grouped.conntrack()) == set(SLOTS)
    assert {answer.error for answer in ask(a, *(Target(to, PORT + 1) for to in PARTNERS))} == {"ECONNREFUSED"}
    assert errors(ask(a, *(Target(to, PORT + 1) for to in remotes(20)))) == []


@pytest.mark.parametrize(("network", "port"), [("172.16", PORT), ("172.17", PORT + 1)])
def test_scope_of_dnat_and_of_inbound_rules_is_the_group_that_a_packet_came_by(
    grouped: Lab, network: str, port: int
) -> None:
    """The physical router sends everything over one group; punted packets keep it."""
    hops = " ".join(f"nexthop via {network}.{slot}.2" for slot in SLOTS)
    grouped.host("R").run(f"ip route replace 198.51.100.80/32 {hops}")
    answers = ask(grouped.host("B"), *(Target("198.51.100.80", 80, "tcp", remote) for remote in remotes(20)))
    refused = {"192.0.2.3"} if network == "172.17" else set()
    assert {answer.target.source: answer.error for answer in answers if answer.error} == dict.fromkeys(
        refused, "ECONNREFUSED")
    assert {answer.local for answer in answers if answer.ok} == {(A, port)}


def test_stateful_answers_may_return_over_the_other_group(grouped: Lab) -> None:
    hops = " ".join(f"nexthop via 172.17.{slot}.2" for slot in SLOTS)
    grouped.host("R").run(f"ip route replace {SNAT}/32 {hops}")
    targets = [Target(remote, PORT, proto) for remote in remotes(20) for proto in ("tcp", "udp")]
    answers = ask(grouped.host("A"), *targets)
    assert errors(answers) == []
    assert {answer.peer[0] for answer in answers} == {SNAT}


def test_scopes_follow_the_gateway_file(grouped: Lab) -> None:
    dmz, uplinks = (f"scope:\n    - {group}\n    sequence_number: 10" for group in ("dmz", "uplinks"))
    use(grouped, edited((dmz, uplinks), text=two_groups()))
    assert {answer.peer[0] for answer in ask(grouped.host("A"), *(Target(to, PORT) for to in remotes(12)))} == {
        "198.51.100.2"}
    partners = ask(grouped.host("A"), *(Target(to, PORT) for to in PARTNERS[:12]))
    assert {answer.error or answer.peer[0] for answer in partners} == {A}
