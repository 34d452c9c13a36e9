"""How the owner is chosen: by the remote address, by both, or not at all; and the aligned distributed router."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.helpers import SLOTS, Target, ask, connections, echo_server
from tests.e2e.helpers_rules import OUT, errors, gateway, punted, remotes, slots_of, use
from topologies.lab import Lab

A, C, A6 = "10.0.0.2", "10.0.0.3", "2001:db8:a::2"
REMOTES = remotes(40) + remotes(40, 6)
PORT = 7000
STATEFUL = [{"id": "in", "action": "ALLOW", "direction": "IN"}, {"id": "out", "action": "ALLOW", "direction": "OUT"}]


def policy(name: str, *nat: dict, rules: list | None = None, **more) -> str:
    """Return a gateway file with a redirection policy; everything is allowed, statefully where rules are given."""
    services = {"enabled": True, "redirection_policy": name}
    return gateway(nat, rules or [], "DROP" if rules else "ALLOW", stateful_services=services, **more)


GATEWAY = policy("IP_HASH")


@pytest.fixture(scope="module", autouse=True)
def servers(lab: Lab) -> Iterator[None]:
    with echo_server(lab.host("B"), PORT), echo_server(lab.host("A"), PORT), echo_server(lab.host("C"), PORT):
        yield


def inside_of(remote: str) -> str:
    """Return A's address of the family of a remote address."""
    return A6 if ":" in remote else A


def both_ways(lab: Lab) -> list[str]:
    """Connect from A to all remote addresses and from all of them to A, by TCP and UDP; return the errors."""
    going = ask(lab.host("A"), *(Target(to, PORT, proto) for to in REMOTES for proto in ("tcp", "udp")))
    coming = ask(lab.host("B"), *(Target(inside_of(remote), PORT, proto, remote) for remote in REMOTES
                                  for proto in ("tcp", "udp")))
    return errors(going + coming)


def test_none_punts_nothing(lab: Lab) -> None:
    use(lab, policy("NONE"))
    before = punted(lab)
    assert both_ways(lab) == []
    assert punted(lab) == before


def test_none_with_stateful_rules_loses_what_returns_over_another_router(lab: Lab) -> None:
    use(lab, policy("NONE", rules=STATEFUL[1:]))
    answers = ask(lab.host("A"), *(Target(remote, PORT) for remote in REMOTES), timeout=1)
    assert 0 < sum(answer.ok for answer in answers) < len(answers)


def test_both_addresses_choose_one_owner_for_both_directions(lab: Lab) -> None:
    use(lab, policy("SRC_DST_IP_HASH", rules=STATEFUL))
    before = punted(lab)
    outbound = [Target(remote, PORT) for remote in REMOTES]
    inbound = [Target(inside_of(remote), PORT, "tcp", remote) for remote in REMOTES]
    with connections(lab.host("A"), outbound) as going, connections(lab.host("B"), inbound) as coming:
        assert errors(going + coming) == []
        tracked = [found for found in lab.conntrack() if found["proto"] == "tcp"]
    zones: dict[frozenset, set[int]] = {}
    for found in tracked:
        zones.setdefault(frozenset((found["orig"]["src"], found["orig"]["dst"])), set()).add(found["zone"])
    assert len(tracked) == 2 * len(REMOTES) and len(zones) == len(REMOTES)
    assert all(len(of_pair) == 1 for of_pair in zones.values())
    assert slots_of(lab, tracked) == set(SLOTS)
    assert all(after > old for after, old in zip(punted(lab), before, strict=True))


def test_with_both_addresses_hashed_one_remote_has_many_owners(lab: Lab) -> None:
    use(lab, policy("SRC_DST_IP_HASH", rules=STATEFUL))
    a = lab.host("A")
    more = [f"10.0.0.{number}" for number in range(20, 36)]
    a.run("\n".join(f"ip address replace {address}/24 dev A-eth0" for address in more))
    assert errors(ask(a, *(Target(REMOTES[0], PORT, "tcp", source) for source in more))) == []
    assert len(slots_of(lab, lab.conntrack())) > 1


def test_errors_from_routers_on_the_way_find_the_owner_of_both_addresses(lab: Lab) -> None:
    use(lab, policy("SRC_DST_IP_HASH", rules=STATEFUL))
    for remote in REMOTES[:4] + REMOTES[40:44]:
        out = lab.host("A").run(f"traceroute -n -w 1 -q 1 -m 5 {remote}").stdout
        back = lab.host("B").run(f"traceroute -n -w 1 -q 1 -m 5 -s {remote} {inside_of(remote)}").stdout
        assert "*" not in out + back, out + back


def test_both_addresses_are_refused_with_nat_and_the_running_gateway_stays(lab: Lab) -> None:
    use(lab, GATEWAY)
    flows = {bridge: lab.dump_flows(bridge) for bridge in ("t0-sr1", "t0-dr")}
    status, body = lab.set_config(policy("SRC_DST_IP_HASH", OUT), check=False)
    assert 400 <= status < 500
    assert "SRC_DST_IP_HASH" in str(body)
    assert {bridge: lab.dump_flows(bridge) for bridge in flows} == flows
    assert both_ways(lab) == []


def test_an_aligned_distributed_router_needs_no_punt_going_north(lab: Lab) -> None:
    use(lab, gateway([OUT], dr_ecmp="aligned"))
    north, south = punted(lab)
    answers = ask(lab.host("A"), *(Target(to, PORT, proto) for to in REMOTES for proto in ("tcp", "udp")))
    assert errors(answers) == []
    assert punted(lab)[1] == south and punted(lab)[0] > north
    assert slots_of(lab, lab.conntrack()) == set(SLOTS)
