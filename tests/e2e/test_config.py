"""Changing the gateway file of a running gateway: a bad one changes nothing, a good one is taken."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from controller.model import ModelError, loads
from tests.e2e.helpers import FOUR_EDGE, Target, ask, connections, echo_server, edited
from tests.e2e.helpers_flows import all_flows, changed_since, flows, groups
from topologies.errors import LabError
from topologies.expect import run_and_expect
from topologies.lab import Lab

PORT = 7
FAR = "198.18.7.7"
DEFAULT_ROUTE = "- id: default4\n        network: 0.0.0.0/0"
NARROW_ROUTE = "- id: default4\n        network: 192.0.2.0/24"
SECOND_SEGMENT = "  - {id: db, gateway: t0, subnets: [{gateway_address: 10.0.9.1/24}]}\n"
SAME_ZONES = edited((
    "      edge_cluster: ec1\n",
    "      edge_cluster: ec1\n"
    "      service_routers: [{edge: edge2, conntrack_zone: 7}, {edge: edge3, conntrack_zone: 7}]\n"))
THREE_EDGES = edited(
    ("      - {id: edge4, failure_domain: rack-b}\n", ""),
    ('        - {id: up4, edge: edge4, subnets: [172.16.4.2/24, "2001:db8:4::2/64"]}\n', ""),
    (", up4]", "]"),
    (", {ip_address: 172.16.4.1}", ""),
    (', {ip_address: "2001:db8:4::1"}', ""),
)
BAD = {
    "unknown key": (edited(("dr_ecmp:", "dr_emcp:")), "tier0s[0].dr_emcp"),
    "one zone twice": (SAME_ZONES, "tier0s[0].locale_service.service_routers[1].conntrack_zone"),
    "not YAML": (FOUR_EDGE + "]", "(file)"),
    "three edges": (THREE_EDGES, "edge_clusters[0].edges"),
}
"""Bad gateway files, with the path of what is wrong."""


@pytest.fixture(autouse=True)
def first_file_again(lab: Lab) -> Iterator[None]:
    """Let every test start with the four-edge file, with a server at B."""
    with echo_server(lab.host("B"), PORT):
        yield
    lab.set_config(FOUR_EDGE)
    lab.wait_settled()


def answers(lab: Lab, address: str) -> str:
    """Ask the echo server at an address and return "" or the error."""
    (found,) = ask(lab.host("A"), Target(address, PORT), timeout=1.0)
    return found.error


def reload_by_rest(lab: Lab, text: str, path: str) -> None:
    """Have the file read by REST: it is refused with the path of what is wrong."""
    status, body = lab.set_config(text, check=False)
    assert status == 400
    assert "nothing was changed" in body["error"]
    assert [problem["path"] for problem in body["problems"] if problem["message"]] == [path]


def reload_by_signal(lab: Lab, text: str, path: str) -> None:
    """Have the file read by SIGHUP: the log says what is wrong and where."""
    seen = lab.controller.log.read_text().count("gateway file not taken")
    lab.gateway_file.write_text(text)
    os.kill(lab.controller.pid, signal.SIGHUP)

    def said() -> list[str]:
        return [line for line in lab.controller.log.read_text().splitlines() if "gateway file not taken" in line][seen:]

    lines = run_and_expect(said, what="the log says that the file is refused")
    assert len(lines) == 1 and f" {path}: " in lines[0]


@pytest.mark.parametrize("reload", [reload_by_rest, reload_by_signal])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_changes_nothing(lab: Lab, kind: str, reload) -> None:
    text, path = BAD[kind]
    before, present = all_flows(lab), {bridge: groups(lab, bridge) for bridge in lab.bridges}
    shown = lab.controller.request("GET", "/saga/v1/gateways")
    with connections(lab.host("A"), [Target(FAR, PORT)]) as (held,):
        assert held.ok
        reload(lab, text, path)
        lab.wait_settled()
        assert changed_since(lab, before) == {}
        assert {bridge: groups(lab, bridge) for bridge in lab.bridges} == present
        assert lab.controller.request("GET", "/saga/v1/gateways") == shown
        assert answers(lab, FAR) == ""


def test_two_service_routers_in_one_zone_are_refused_before_anything_is_built() -> None:
    with pytest.raises(ModelError) as refused:
        loads(SAME_ZONES)
    assert [problem.path for problem in refused.value.problems] == [BAD["one zone twice"][1]]
    with pytest.raises((ModelError, LabError), match="zone"):
        Lab("four_edge", config=SAME_ZONES)


def test_a_signal_has_a_good_file_taken(lab: Lab) -> None:
    lab.gateway_file.write_text(edited(("default_action: DROP", "default_action: REJECT")))
    os.kill(lab.controller.pid, signal.SIGHUP)
    verdict = "table=80 priority=4096,ip actions=set_field"
    run_and_expect(lambda: any(verdict in flow.text for flow in flows(lab, "t0-sr1")), what="the default verdict")
    lab.wait_settled()


def test_a_route_that_is_taken_away_and_put_back(lab: Lab) -> None:
    assert answers(lab, FAR) == answers(lab, "192.0.2.2") == ""
    lab.set_config(edited((DEFAULT_ROUTE, NARROW_ROUTE)))
    lab.wait_settled()
    assert answers(lab, FAR) == "ENETUNREACH"
    assert answers(lab, "192.0.2.2") == ""
    lab.set_config(FOUR_EDGE)
    lab.wait_settled()
    assert answers(lab, FAR) == ""


def test_a_segment_that_is_added_and_taken_away(lab: Lab) -> None:
    before = all_flows(lab)
    lab.set_config(FOUR_EDGE + SECOND_SEGMENT)
    run_and_expect(lambda: any("nw_dst=10.0.9.0/24" in flow.text for flow in flows(lab, "t0-sr4")), what="a route")
    (missing,) = run_and_expect(lambda: lab.controller.request("GET", "/saga/v1/alarms")[1], what="an alarm")
    assert (missing["id"], missing["entity"]) == ("port_missing", "t0-dr") and "t0-dr-db" in missing["cause"]
    assert answers(lab, FAR) == ""
    lab.set_config(FOUR_EDGE)
    lab.wait_settled()
    assert changed_since(lab, before) == {}
    assert not any("10.0.9." in flow.text for bridge in lab.bridges for flow in flows(lab, bridge))
    assert lab.controller.request("GET", "/saga/v1/alarms") == (200, [])


def test_a_segment_that_is_removed_is_cut_off(lab: Lab) -> None:
    ipv6 = ', {gateway_address: "2001:db8:a::1/64"}'
    assert answers(lab, "2001:db8:b::9") == ""
    lab.set_config(edited((ipv6, ""), ('sources: [10.0.0.0/24, "2001:db8:a::/64"]', "sources: [10.0.0.0/24]")))
    lab.wait_settled()
    assert answers(lab, "2001:db8:b::9") != ""
    assert answers(lab, FAR) == ""
    lab.set_config(FOUR_EDGE)
    lab.wait_settled()
    assert answers(lab, "2001:db8:b::9") == ""
