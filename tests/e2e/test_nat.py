"""NAT rules as clients and servers see them: addresses and port numbers at both ends, over many remote addresses.

Every case uses enough remote addresses for all service routers to own some, so most packets are punted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.e2e.helpers import SLOTS, Target, ask, connections, echo_server, tool
from tests.e2e.helpers_rules import (
    OUT,
    PUBLIC,
    ROUTERS_OUTSIDE,
    SNAT_ADDRESS,
    captured,
    datapath,
    errors,
    gateway,
    inject,
    punted,
    remotes,
    running,
    service,
    slots_of,
    use,
)
from topologies.hosts import LabHost
from topologies.lab import Lab

A, C, SECOND = "10.0.0.2", "10.0.0.3", "10.0.0.5"
"""Inside addresses; the last one is a second address of A."""
SECOND_PUBLIC = "198.51.100.33"
UNTRANSLATED = "203.0.113.0/24"
INSIDE_SOURCE = "src net 10.0.0.0/8"
REMOTES = remotes(40)
SERVICE, PLAIN = 8080, 7000
PROTOCOLS = ("tcp", "udp")

GATEWAY = gateway(nat=[
    {"id": "closed", "action": "NO_DNAT", "destination_network": "198.51.100.81", "service": service("TCP", 7001),
     "sequence_number": 5},
    {"id": "web", "action": "DNAT", "destination_network": PUBLIC, "service": service("TCP", 80),
     "translated_network": A, "translated_port": SERVICE, "sequence_number": 10},
    {"id": "dns", "action": "DNAT", "destination_network": PUBLIC, "service": service("UDP", 53),
     "translated_network": A, "translated_port": SERVICE, "sequence_number": 11},
    {"id": "plain", "action": "DNAT", "destination_network": "198.51.100.81", "translated_network": C,
     "sequence_number": 20},
    {"id": "network", "action": "DNAT", "destination_network": "198.51.100.96/30", "translated_network": "10.0.0.0/30",
     "sequence_number": 30},
    {"id": "twins", "action": "REFLEXIVE", "source_network": SECOND, "translated_network": SECOND_PUBLIC,
     "sequence_number": 40},
    {"id": "partner", "action": "NO_SNAT", "source_network": "10.0.0.0/24", "destination_network": UNTRANSLATED,
     "sequence_number": 50},
    OUT,
])


@pytest.fixture(scope="module", autouse=True)
def servers(lab: Lab) -> Iterator[None]:
    """Servers inside and outside; A gets its second address."""
    lab.host("A").run(f"ip address add {SECOND}/24 dev A-eth0")
    with (
        echo_server(lab.host("B"), PLAIN, 7001),
        echo_server(lab.host("A"), SERVICE, PLAIN),
        echo_server(lab.host("C"), PLAIN, 7001),
    ):
        yield


@pytest.fixture(autouse=True)
def forget(lab: Lab) -> None:
    lab.appctl(lab.bridges[0], "dpctl/flush-conntrack")


@pytest.mark.parametrize("proto", PROTOCOLS)
def test_snat_keeps_the_source_port(lab: Lab, proto: str) -> None:
    before = punted(lab)
    with connections(lab.host("A"), [Target(remote, PLAIN, proto) for remote in REMOTES]) as answers:
        tracked = [found for found in lab.conntrack() if found["proto"] == proto]
    for answer in answers:
        assert (answer.error, answer.near[0], answer.peer, answer.local) == (
            "", A, (SNAT_ADDRESS, answer.near[1]), (answer.target.address, PLAIN))
    assert len(tracked) == len(REMOTES) and slots_of(lab, tracked) == set(SLOTS)
    assert all(after > old for after, old in zip(punted(lab), before, strict=True))


@pytest.mark.parametrize("proto", PROTOCOLS)
def test_two_hosts_with_one_source_port_to_one_remote_get_different_ports(lab: Lab, proto: str) -> None:
    def from_port_5000(inside: str) -> list[Target]:
        return [Target(remote, PLAIN, proto, inside, 5000) for remote in REMOTES]

    with (
        connections(lab.host("A"), from_port_5000(A)) as first,
        connections(lab.host("C"), from_port_5000(C)) as second,
    ):
        assert errors(first + second) == []
        assert {answer.peer for answer in first} == {(SNAT_ADDRESS, 5000)}
        assert {answer.peer[0] for answer in second} == {SNAT_ADDRESS}
        assert all(answer.peer[1] != 5000 for answer in second)
        assert {answer.near for answer in second} == {(C, 5000)}
        assert [answer.local for answer in second] == [(remote, PLAIN) for remote in REMOTES]
        replies = {(found["reply"]["src"], found["reply"]["dport"]): found["orig"]["src"] for found in lab.conntrack()
                   if found["proto"] == proto}
        for inside, answers in ((A, first), (C, second)):
            assert {replies[(answer.target.address, answer.peer[1])] for answer in answers} == {inside}


def test_snat_of_ping_from_two_hosts(lab: Lab) -> None:
    with captured(lab, "R", ["R-B"], "icmp[icmptype] = icmp-echo") as lines:
        for name, identifier in (("A", 77), ("C", 78)):
            assert pings(lab.host(name), identifier) == 12
    assert {re.search(r"([\d.]+) > [\d.]+: ICMP echo request, id (\d+)", line).groups() for line in lines} == {
        (SNAT_ADDRESS, "77"), (SNAT_ADDRESS, "78")}


def pings(host: LabHost, identifier: int) -> int:
    """Ping a dozen remote addresses with one identifier; return how many answer."""
    command = f"for r in {' '.join(REMOTES[:12])}; do ping -n -q -e {identifier} -c 1 -W 0.2 $r; done"
    return host.run(command, check=False).stdout.count("1 received")


def test_two_hosts_with_one_ping_identifier_are_not_mixed_up(lab: Lab) -> None:
    """The tracker of the userspace datapath translates no identifiers; what would need that is dropped."""
    with captured(lab, "R", ROUTERS_OUTSIDE, f"icmp and {INSIDE_SOURCE}") as leaked:
        assert [pings(lab.host(name), 77) for name in ("A", "C")] == [12, 0]
    assert leaked == []


@pytest.mark.parametrize(("proto", "asked"), [("tcp", 80), ("udp", 53)])
def test_dnat_with_another_port(lab: Lab, proto: str, asked: int) -> None:
    before = punted(lab)
    answers = ask(lab.host("B"), *(Target(PUBLIC, asked, proto, remote) for remote in REMOTES))
    for answer in answers:
        assert (answer.error, answer.local, answer.peer) == ("", (A, SERVICE), answer.near)
        assert answer.near[0] == answer.target.source
    assert slots_of(lab, lab.conntrack()) == set(SLOTS)
    assert all(after > old for after, old in zip(punted(lab), before, strict=True))


@pytest.mark.parametrize("proto", PROTOCOLS)
@pytest.mark.parametrize(("external", "inside"), [
    ("198.51.100.81", C), ("198.51.100.98", A), ("198.51.100.99", C), (SECOND_PUBLIC, SECOND)])
def test_dnat_that_keeps_the_port(lab: Lab, proto: str, external: str, inside: str) -> None:
    answers = ask(lab.host("B"), *(Target(external, PLAIN, proto, remote) for remote in REMOTES))
    assert {(answer.error, answer.local) for answer in answers} == {("", (inside, PLAIN))}
    assert all(answer.peer == answer.near for answer in answers)


def test_reflexive_rule_goes_both_ways_and_before_snat(lab: Lab) -> None:
    answers = ask(lab.host("A"), *(Target(remote, PLAIN, proto, SECOND) for remote in REMOTES for proto in PROTOCOLS))
    assert errors(answers) == []
    assert all(answer.peer == (SECOND_PUBLIC, answer.near[1]) for answer in answers)
    reached = lab.host("B").run(f"ping -c 2 -i 0.1 -W 2 {SECOND_PUBLIC}").stdout
    assert "2 received" in reached and f"from {SECOND_PUBLIC}" in reached


def test_no_snat_and_no_dnat_come_first_by_their_sequence_numbers(lab: Lab) -> None:
    partners = [f"203.0.113.{number}" for number in range(2, 22)]
    with captured(lab, "R", ROUTERS_OUTSIDE, INSIDE_SOURCE) as untranslated:
        answers = ask(lab.host("A"), *(Target(remote, PLAIN, proto) for remote in partners for proto in PROTOCOLS))
    assert {(answer.error, answer.peer == answer.near) for answer in answers} == {("", True)}
    assert len(untranslated) > len(answers)
    with captured(lab, "C", ["C-eth0"], "tcp port 7001") as arrived:
        closed = ask(lab.host("B"), *(Target("198.51.100.81", 7001, "tcp", remote) for remote in REMOTES), timeout=1)
    assert {answer.error for answer in closed} == {"timeout"}
    assert arrived == []


def test_an_external_address_without_a_translation_is_dropped(lab: Lab) -> None:
    unclaimed = [(PUBLIC, 81, "tcp"), (PUBLIC, 54, "udp"), (SNAT_ADDRESS, PLAIN, "tcp"), (SNAT_ADDRESS, PLAIN, "udp")]
    targets = [Target(address, port, proto, remote) for address, port, proto in unclaimed for remote in REMOTES[:12]]
    with captured(lab, "A", ["A-eth0"], "dst net 198.51.100.0/24 or net 192.0.2.0/24") as inside:
        answers = ask(lab.host("B"), *targets, timeout=1)
    assert {answer.error for answer in answers} == {"timeout"}
    assert inside == []
    assert lab.conntrack() == []


def test_what_comes_from_outside_for_nobody_inside_does_not_go_round(lab: Lab) -> None:
    lost = [f"203.0.200.{number}" for number in range(1, 9)]
    hops = " ".join(f"nexthop via 172.16.{slot}.2" for slot in SLOTS)
    lab.host("R").run(f"ip route add 203.0.200.0/24 {hops}")
    try:
        with captured(lab, "R", ROUTERS_OUTSIDE, "icmp and dst net 203.0.200.0/24") as seen:
            for address in lost:
                lab.host("B").run(f"ping -c 1 -W 1 {address}", check=False)
        assert len(seen) == len(lost), "each left R once, and none came back to it"
    finally:
        lab.host("R").run("ip route del 203.0.200.0/24")


def strays(remote: str) -> list[Raw]:
    """Return packets of A that begin no connection: what a careless translator lets out as it is."""
    to = IP(src=A, dst=remote)
    about = IPerror(src=remote, dst=SNAT_ADDRESS) / TCPerror(sport=PLAIN, dport=6001)
    return [
        to / TCP(sport=6001, dport=PLAIN, flags="SA"), to / TCP(sport=6002, dport=PLAIN, flags="R"),
        to / TCP(sport=6003, dport=PLAIN, flags="FPU"), to / TCP(sport=6004, dport=PLAIN, flags=""),
        to / ICMP(type=3, code=1) / about, to / ICMP(type=11) / about, to / ICMP(type=0, id=5),
        IP(src=A, dst=remote, flags="MF") / UDP(sport=6005, dport=PLAIN) / Raw(bytes(1400)),
        IP(src=A, dst=remote, frag=200, proto=17) / Raw(bytes(100)), IP(src=A, dst=remote, proto=47) / Raw(bytes(40)),
        IP(src=A, dst=remote, proto=99) / Raw(bytes(40)),
    ]


def test_nothing_of_a_translated_source_leaks_untranslated(lab: Lab) -> None:
    a = lab.host("A")
    router = Ether(src=a.run("cat /sys/class/net/A-eth0/address").stdout.strip(), dst="02:5b:01:04:00:01")
    with captured(lab, "R", ROUTERS_OUTSIDE, INSIDE_SOURCE) as leaked:
        with connections(a, [Target(remote, PLAIN, proto) for remote in REMOTES for proto in PROTOCOLS]) as answers:
            assert errors(answers) == []
        inject(a, "A-eth0", [bytes(router / stray) for remote in REMOTES[:12] for stray in strays(remote)])
        assert "1 received" in a.run(f"ping -c 1 -W 2 {REMOTES[-1]}").stdout
    assert leaked == []


def test_fragments_are_translated(lab: Lab) -> None:
    with running(lab.host("B"), "datagrams", "serve", 9000), running(lab.host("A"), "datagrams", "serve", 53):
        out = lab.host("A").run(tool("datagrams", "ask", 4000, 5, *(f"{remote},9000" for remote in REMOTES[:16])))
        assert json.loads(out.stdout) == [True] * 16
        back = lab.host("B").run(tool("datagrams", "ask", 4000, 5, *(f"198.51.100.98,53,{to}" for to in REMOTES[:16])))
        assert json.loads(back.stdout) == [True] * 16
    assert slots_of(lab, lab.conntrack()) == set(SLOTS)
    for remote in REMOTES[:6]:
        assert "2 received" in lab.host("A").run(f"ping -c 2 -i 0.1 -W 2 -s 4000 {remote}").stdout


def test_fragments_are_translated_to_another_port(lab: Lab) -> None:
    with running(lab.host("A"), "datagrams", "serve", 9053):
        use(lab, GATEWAY.replace(f"translated_port: {SERVICE}", "translated_port: 9053"))
        asked = lab.host("B").run(tool("datagrams", "ask", 4000, 5, *(f"{PUBLIC},53,{to}" for to in REMOTES[:16])))
        assert json.loads(asked.stdout) == [True] * 16
    use(lab, GATEWAY)


def test_what_cannot_be_translated_is_dropped(lab: Lab) -> None:
    """Connection tracking is full after three connections of each zone."""
    zones = [router.zone for router in lab.config.gateways[0].routers]
    try:
        for zone in zones:
            lab.appctl(lab.bridges[0], "dpctl/ct-set-limits", datapath(lab), f"zone={zone},limit=3")
        with (
            captured(lab, "R", ROUTERS_OUTSIDE, INSIDE_SOURCE) as leaked,
            captured(lab, "A", ["A-eth0"], "dst net 198.51.100.0/24") as came_through,
        ):
            answers = ask(lab.host("A"), *(Target(remote, PLAIN, "udp") for remote in REMOTES), timeout=1)
            inbound = ask(lab.host("B"), *(Target(PUBLIC, 53, "udp", remote) for remote in REMOTES), timeout=1)
    finally:
        for zone in zones:
            lab.appctl(lab.bridges[0], "dpctl/ct-del-limits", datapath(lab), f"zone={zone}")
    assert sum(answer.ok for answer in answers) == 3 * len(zones)
    assert {answer.error for answer in inbound} == {"timeout"}
    assert leaked == [] and came_through == []
