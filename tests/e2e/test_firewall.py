"""Gateway firewall as clients and servers see it: verdicts, answers, order, and what state is left.

One file of rules tells services apart by their ports: ALLOWED is let through, DROPPED and REJECTED are what they say,
in both directions and for both families.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from tests.e2e.helpers import SLOTS, Answer, Target, ask, connections, echo_server, tool
from tests.e2e.helpers_rules import PUBLIC, captured, errors, gateway, inject, remotes, running, service, slots_of, use
from topologies.hosts import LabHost
from topologies.lab import Lab

A, A6, C = "10.0.0.2", "2001:db8:a::2", "10.0.0.3"
ALLOWED, DROPPED, REJECTED, FREE = 7001, 7002, 7003, 7009
TRANSLATED = "198.51.100.81"
REMOTES, REMOTES6 = remotes(12), remotes(12, 6)
QUICKLY = 1.5
"""Seconds in which a refusal is seen, well below the time-out of a connection."""


def rule(name: str, number: int, action: str, direction: str, *services: dict, **more: Any) -> dict[str, Any]:
    """Return a firewall rule."""
    return {"id": name, "action": action, "direction": direction, "sequence_number": number,
            **({"services": list(services)} if services else {}), **more}


def both(*ports: int) -> list[dict[str, Any]]:
    """Return the services of TCP and UDP ports."""
    return [service("TCP", *ports), service("UDP", *ports)]


PING4, PING6 = {"protocol": "ICMPv4", "icmp_type": 8}, {"protocol": "ICMPv6", "icmp_type": 128}
NAT = [
    {"id": "public", "action": "DNAT", "destination_network": PUBLIC, "translated_network": A, "sequence_number": 10},
    {"id": "refused", "action": "DNAT", "destination_network": TRANSLATED, "service": service("TCP", 80),
     "translated_network": A, "translated_port": REJECTED, "sequence_number": 20},
    {"id": "refused-udp", "action": "DNAT", "destination_network": TRANSLATED, "service": service("UDP", 80),
     "translated_network": A, "translated_port": REJECTED, "sequence_number": 21},
]
VERDICTS = [
    *(rule(f"{direction}-{action}", 10 * number, action, direction, *both(port))
      for direction in ("OUT", "IN")
      for number, (action, port) in enumerate((("ALLOW", ALLOWED), ("DROP", DROPPED), ("REJECT", REJECTED)), 1)),
    *(rule(f"{direction}-ping{family}-{action}", 50 + number, action, direction, ping,
           **{"destinations" if direction == "OUT" else "sources": [address]})
      for direction in ("OUT", "IN")
      for family, ping, listed in ((4, PING4, REMOTES), (6, PING6, REMOTES6))
      for number, (action, address) in enumerate((("ALLOW", listed[0]), ("DROP", listed[1]), ("REJECT", listed[2])))),
]
GATEWAY = gateway(NAT, VERDICTS, "DROP")


@pytest.fixture(scope="module", autouse=True)
def servers(lab: Lab) -> Iterator[None]:
    ports = (ALLOWED, DROPPED, REJECTED, FREE)
    with echo_server(lab.host("B"), *ports), echo_server(lab.host("A"), *ports), echo_server(lab.host("C"), *ports):
        yield


@pytest.fixture
def verdicts(lab: Lab) -> None:
    """The gateway file of the module is in force."""
    use(lab, GATEWAY)


def ends(lab: Lab, direction: str, version: int) -> tuple[LabHost, list[tuple[str, str]]]:
    """Return the client of a direction, and (address to bind, address to connect to) for a dozen remote addresses."""
    listed = REMOTES if version == 4 else REMOTES6
    if direction == "OUT":
        return lab.host("A"), [("", remote) for remote in listed]
    return lab.host("B"), [(remote, PUBLIC if version == 4 else A6) for remote in listed]


def try_all(lab: Lab, direction: str, version: int, proto: str, port: int, timeout: float = 3.0) -> list[Answer]:
    """Try to reach a port in a direction from or to all remote addresses."""
    client, pairs = ends(lab, direction, version)
    return ask(client, *(Target(to, port, proto, source) for source, to in pairs), timeout=timeout)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("direction", ["OUT", "IN"])
@pytest.mark.usefixtures("verdicts")
class TestVerdicts:
    """Allow, drop and reject in both directions."""

    @pytest.mark.parametrize("proto", ["tcp", "udp"])
    def test_allowed(self, lab: Lab, direction: str, version: int, proto: str) -> None:
        assert errors(try_all(lab, direction, version, proto, ALLOWED)) == []
        assert slots_of(lab, lab.conntrack()) == set(SLOTS)

    @pytest.mark.parametrize("proto", ["tcp", "udp"])
    def test_dropped_by_rule_and_by_default(self, lab: Lab, direction: str, version: int, proto: str) -> None:
        for port in (DROPPED, FREE):
            answers = try_all(lab, direction, version, proto, port, timeout=0.7)
            assert {answer.error for answer in answers} == {"timeout"}
        assert lab.conntrack() == []

    @pytest.mark.parametrize("proto", ["tcp", "udp"])
    def test_rejected(self, lab: Lab, direction: str, version: int, proto: str) -> None:
        start = time.monotonic()
        answers = try_all(lab, direction, version, proto, REJECTED)
        assert time.monotonic() - start < QUICKLY
        prohibited = "EHOSTUNREACH" if version == 4 else "EACCES"  # what Linux makes of ICMP 3/13 and ICMPv6 1/1
        assert {answer.error for answer in answers} == {"ECONNREFUSED" if proto == "tcp" else prohibited}
        assert lab.conntrack() == []

    def test_ping(self, lab: Lab, direction: str, version: int) -> None:
        host, pairs = ends(lab, direction, version)
        seen = [host.run(f"ping -n -c 1 -W 1 {f'-I {source}' if source else ''} {to}", check=False).stdout
                for source, to in pairs[:3]]
        assert "1 received" in seen[0]
        assert "0 received" in seen[1] and "Packet filtered" not in seen[1] and "prohibited" not in seen[1]
        assert "Packet filtered" in seen[2] or "prohibited" in seen[2]
        assert len(lab.conntrack()) == 1


@pytest.mark.usefixtures("verdicts")
def test_reject_of_a_translated_service_speaks_with_its_external_address(lab: Lab) -> None:
    with captured(lab, "R", ["R-B"], "tcp[tcpflags] & tcp-rst != 0 or icmp[icmptype] = icmp-unreach") as lines:
        answers = ask(lab.host("B"), *(Target(TRANSLATED, 80, proto, remote) for remote in REMOTES
                                       for proto in ("tcp", "udp")))
    assert [answer.error for answer in answers] == ["ECONNREFUSED", "EHOSTUNREACH"] * len(REMOTES)
    resets = [line for line in lines if "Flags [R" in line]
    assert len(resets) == len(REMOTES) and all(f"{TRANSLATED}.80 > " in line for line in resets)
    assert "10.0.0." not in "".join(lines)


def test_a_stateful_rule_lets_answers_through_and_nothing_else(lab: Lab) -> None:
    use(lab, gateway((), [rule("out", 10, "ALLOW", "OUT")], "DROP"))
    a, b = lab.host("A"), lab.host("B")
    near = {"tcp": 6100, "udp": 6200}
    targets = [Target(remote, ALLOWED, proto, A, port) for remote in REMOTES for proto, port in near.items()]
    with connections(a, targets) as answers, captured(lab, "A", ["A-eth0"], "dst host 10.0.0.2 and ip") as arrived:
        assert errors(answers) == []
        strangers = [Target(A, port, proto, remote, source) for remote in REMOTES for proto, port in near.items()
                     for source in (ALLOWED + 1000, 0)]
        assert {answer.error for answer in ask(b, *strangers, timeout=0.7)} == {"timeout"}
        to = b.run("cat /sys/class/net/B-R/address; ip neigh show dev B-R").stdout.split()
        frame = Ether(src=to[0], dst=next(word for word in to[1:] if word.count(":") == 5 and "." not in word))
        inject(b, "B-R", [bytes(frame / IP(src=remote, dst=A) / TCP(sport=8001, dport=port, flags=flags))
                          for remote in REMOTES for port in near.values() for flags in ("A", "SA", "PA", "F", "R")])
        assert "1 received" in a.run(f"ping -n -c 1 {REMOTES[0]}").stdout
    assert [line for line in arrived if "ICMP echo reply" not in line] == []


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_a_stateless_rule_lets_no_answers_through(lab: Lab, proto: str) -> None:
    out = rule("out", 10, "ALLOW", "OUT", *both(ALLOWED), stateful=False)
    use(lab, gateway((), [out], "DROP"))
    with captured(lab, "R", ["R-B"], "ip src 10.0.0.2") as passed:
        assert {answer.error for answer in try_all(lab, "OUT", 4, proto, ALLOWED, 0.7)} == {"timeout"}
    assert len(passed) >= len(REMOTES)
    assert lab.conntrack() == []


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("version", [4, 6])
def test_stateless_rules_in_both_directions_need_no_state(lab: Lab, version: int, proto: str) -> None:
    answer = {"protocol": proto.upper(), "source_ports": [str(ALLOWED)]}
    use(lab, gateway((), [rule("out", 10, "ALLOW", "OUT", *both(ALLOWED), stateful=False),
                          rule("back", 20, "ALLOW", "IN", answer, stateful=False)], "DROP"))
    assert errors(try_all(lab, "OUT", version, proto, ALLOWED)) == []
    assert lab.conntrack() == []


@pytest.mark.parametrize(("first", "second"), [("ALLOW", "REJECT"), ("REJECT", "ALLOW")])
def test_the_lower_sequence_number_decides(lab: Lab, first: str, second: str) -> None:
    use(lab, gateway((), [rule("later", 20, second, "OUT"), rule("sooner", 10, first, "OUT", *both(ALLOWED))]))
    assert {answer.ok for answer in try_all(lab, "OUT", 4, "tcp", ALLOWED)} == {first == "ALLOW"}
    assert {answer.ok for answer in try_all(lab, "OUT", 4, "tcp", FREE)} == {second == "ALLOW"}


def test_sources_destinations_direction_and_family(lab: Lab) -> None:
    b, a, c = lab.host("B"), lab.host("A"), lab.host("C")
    use(lab, gateway((), [
        rule("from-c", 10, "ALLOW", "OUT", sources=[C, f"{C}-10.0.0.6"]),
        rule("to-some", 20, "ALLOW", "OUT", sources=["10.0.0.0/24"], destinations=[REMOTES[0], "192.0.2.4/31"]),
        rule("family", 30, "ALLOW", "IN_OUT", *both(ALLOWED), ip_protocol="IPV6"),
    ], "DROP"))
    assert errors(ask(c, *(Target(remote, FREE) for remote in REMOTES))) == []
    reached = ask(a, *(Target(remote, FREE) for remote in REMOTES), timeout=0.7)
    assert [answer.target.address for answer in reached if answer.ok] == [REMOTES[0], "192.0.2.4", "192.0.2.5"]
    assert errors(ask(a, *(Target(remote, ALLOWED) for remote in REMOTES6))) == []
    assert errors(ask(b, *(Target(A6, ALLOWED, "tcp", remote) for remote in REMOTES6))) == []
    assert {answer.error for answer in ask(b, Target(C, FREE), Target(A, ALLOWED), timeout=0.7)} == {"timeout"}


@pytest.mark.parametrize(("default", "error"), [("ALLOW", ""), ("DROP", "timeout"), ("REJECT", "ECONNREFUSED")])
def test_default_action(lab: Lab, default: str, error: str) -> None:
    use(lab, gateway((), [], default))
    for version in (4, 6):
        for direction in ("OUT", "IN"):
            client, pairs = ends(lab, direction, version)
            targets = [Target(to if to != PUBLIC else A, FREE, "tcp", source) for source, to in pairs]
            assert {answer.error for answer in ask(client, *targets, timeout=1)} == {error}


def reached_with_fragments(lab: Lab, port: int, version: int) -> list[bool]:
    """Return for every remote address whether a datagram of 4000 bytes got there and back."""
    listed = REMOTES if version == 4 else REMOTES6
    return json.loads(lab.host("A").run(tool("datagrams", "ask", 4000, 0.6, *(f"{to},{port}" for to in listed))).stdout)


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_meet_rules_about_ports(lab: Lab, version: int) -> None:
    with running(lab.host("B"), "datagrams", "serve", 9000, 9001):
        only = rule("only", 10, "ALLOW", "OUT", service("UDP", 9000))
        use(lab, gateway((), [only], "DROP"))
        assert reached_with_fragments(lab, 9000, version) == [True] * len(REMOTES)
        assert reached_with_fragments(lab, 9001, version) == [False] * len(REMOTES)
        use(lab, gateway((), [only | {"action": "DROP"}], "ALLOW"))
        assert reached_with_fragments(lab, 9001, version) == [True] * len(REMOTES)
        assert reached_with_fragments(lab, 9000, version) == [False] * len(REMOTES)
        use(lab, gateway((), [rule("low", 10, "ALLOW", "OUT", service("UDP", "0-1023"))], "DROP"))
        assert reached_with_fragments(lab, 9000, version) == [False] * len(REMOTES)
