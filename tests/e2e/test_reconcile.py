"""Desired against installed: what someone changed by hand is repaired and counted, what is right is not touched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from controller.pipeline import tables
from controller.pipeline.groups import OWNER_SOUTH
from tests.e2e.helpers import SLOTS, Target, ask, echo_server, edited
from tests.e2e.helpers_flows import Dumped, all_flows, changed_since, flows, groups, learned, programmed
from topologies.expect import run_and_expect
from topologies.lab import Lab

BRIDGE = "t0-sr2"
ROUTERS = {f"t0-sr{slot}" for slot in SLOTS}
OUTBOUND = "ipv6_src=2001:db8:a::/64"
"""What a firewall rule that is one flow matches."""
LAST_RULE = "        - {id: web-in,"
KINDS = ("missing", "altered", "alien")


def rules(*extra: str) -> str:
    """Return the four-edge gateway file with more firewall rules."""
    return edited((LAST_RULE, "".join(f"        - {rule}\n" for rule in extra) + LAST_RULE))


def udp_rule(number: int, sequence_number: int) -> str:
    """Return a firewall rule that is one flow."""
    return (f"{{id: udp-{number}, action: ALLOW, direction: IN, destinations: [10.0.0.{number}],"
            f" services: [{{protocol: UDP}}], sequence_number: {sequence_number}}}")


def health(lab: Lab, bridge: str = BRIDGE) -> dict:
    """Return the health of one bridge."""
    status, body = lab.controller.request("GET", "/saga/v1/health")
    assert status == 200
    return body["bridges"][bridge]


def alarms(lab: Lab, kind: str) -> list[dict]:
    """Return the open alarms of a kind."""
    return [alarm for alarm in lab.controller.request("GET", "/saga/v1/alarms")[1] if alarm["id"] == kind]


def audit(lab: Lab) -> None:
    """Have every bridge audited now."""
    assert lab.controller.request("POST", "/saga/v1/audit")[0] == 202


def condition(flow: Dumped) -> str:
    """Return table, priority and match of a flow, as ``ovs-ofctl`` takes them."""
    return flow.text.split(" actions=")[0].replace(" ", ",", 1)


def rule_flow(found: list[Dumped], text: str = OUTBOUND) -> Dumped:
    """Return the one flow of the firewall that contains a text."""
    (flow,) = [flow for flow in found if f"table={tables.FIREWALL.number} " in flow.text and text in flow.text]
    return flow


def repair(lab: Lab, spoil: Callable[[], object]) -> tuple[dict[str, int], dict[str, int]]:
    """Spoil BRIDGE and have it audited until its flows and groups are the same again.

    Returns what the controller has counted as repaired, by kind, and the cookies of the flows that were written.
    """
    before, present, old = flows(lab, BRIDGE), groups(lab, BRIDGE), health(lab)
    spoil()
    assert (programmed(flows(lab, BRIDGE)), groups(lab, BRIDGE)) != (programmed(before), present)
    audit(lab)
    wanted = set(programmed(before)), present
    run_and_expect(lambda: (set(programmed(flows(lab, BRIDGE))), groups(lab, BRIDGE)), wanted, what="it is repaired")
    new = run_and_expect(lambda: health(lab), lambda seen: seen["settled"] and seen["changes"] > old["changes"])
    after = flows(lab, BRIDGE)
    assert learned(before).items() <= learned(after).items()
    written = dict(programmed(after).items() - programmed(before).items())
    assert {flow.round for flow in after if flow.text in written} <= {new["round"]}
    return {kind: new[f"repaired_{kind}"] - old[f"repaired_{kind}"] for kind in KINDS}, written


def by_kind(**counts: int) -> dict[str, int]:
    """Return counts of repairs, 0 where not given."""
    return {kind: counts.get(kind, 0) for kind in KINDS}


def test_a_flow_that_someone_deleted_is_put_back(lab: Lab) -> None:
    flow = rule_flow(flows(lab, BRIDGE))
    counted, written = repair(lab, lambda: lab.ofctl(BRIDGE, "del-flows", "--strict", condition(flow)))
    assert (counted, list(written)) == (by_kind(missing=1), [flow.text])


def test_a_flow_that_someone_altered_is_corrected(lab: Lab) -> None:
    flow = rule_flow(flows(lab, BRIDGE))
    counted, written = repair(
        lab, lambda: lab.ofctl(BRIDGE, "mod-flows", "--strict", f"{condition(flow)},actions=drop"))
    assert (counted, list(written)) == (by_kind(altered=1), [flow.text])


def test_a_flow_that_someone_added_is_deleted(lab: Lab) -> None:
    opened = f"table={tables.FIREWALL.number},priority=65000,tcp,nw_dst=10.0.0.3,actions=goto_table:{tables.NAT.number}"
    counted, written = repair(lab, lambda: lab.ofctl(BRIDGE, "add-flow", opened))
    assert (counted, written) == (by_kind(alien=1), {})


def test_flows_and_groups_of_a_table_that_someone_emptied_come_back(lab: Lab) -> None:
    lost = [flow for flow in flows(lab, BRIDGE) if f"table={tables.PUNT.number} " in flow.text]
    assert len(lost) > 3
    counted, written = repair(lab, lambda: lab.ofctl(BRIDGE, "del-flows", f"table={tables.PUNT.number}"))
    assert (counted, set(written)) == (by_kind(missing=len(lost)), {flow.text for flow in lost})


def test_a_group_that_someone_deleted_comes_back_with_the_flows_that_use_it(lab: Lab) -> None:
    users = {flow.text for flow in flows(lab, BRIDGE) if flow.text.endswith(f"group:{OWNER_SOUTH}")}
    assert len(users) == 2
    counted, written = repair(lab, lambda: lab.ofctl(BRIDGE, "del-groups", f"group_id={OWNER_SOUTH}"))
    assert (counted, set(written)) == (by_kind(missing=1 + len(users)), users)


def test_a_group_that_someone_altered_is_corrected(lab: Lab) -> None:
    (present,) = [group for group in groups(lab, BRIDGE) if f"group_id={OWNER_SOUTH}," in group]
    wrong = present.replace("ip_src", "ip_dst")
    assert wrong != present
    counted, written = repair(lab, lambda: lab.ofctl(BRIDGE, "mod-group", wrong))
    assert (counted, written) == (by_kind(altered=1), {})


def test_learned_flows_and_those_of_topology_discovery_are_left_alone(lab: Lab) -> None:
    with echo_server(lab.host("B"), 7):
        assert ask(lab.host("A"), Target("192.0.2.2", 7))[0].ok
    discovery = "priority=65535,dl_type=0x88cc,actions=CONTROLLER:65535"
    lab.ofctl(BRIDGE, "add-flow", f"table=0,{discovery}")
    try:
        before = flows(lab, BRIDGE)
        assert learned(before)
        counted, _ = repair(lab, lambda: lab.ofctl(BRIDGE, "del-flows", f"table={tables.PUNT.number}"))
        assert counted["alien"] == 0
        (kept,) = [flow for flow in flows(lab, BRIDGE) if "dl_type=0x88cc" in flow.text]
        assert kept.duration >= next(flow.duration for flow in before if flow.text == kept.text)
    finally:
        lab.ofctl(BRIDGE, "del-flows", "--strict", "table=0,priority=65535,dl_type=0x88cc")


def test_a_change_of_the_gateway_file_touches_only_what_differs(lab: Lab) -> None:
    before = all_flows(lab)
    rounds = {bridge: health(lab, bridge)["round"] for bridge in lab.bridges}
    lab.set_config(rules(udp_rule(3, 30)))
    lab.wait_settled()
    changed = changed_since(lab, before)
    assert set(changed) == ROUTERS
    for bridge in lab.bridges:
        assert health(lab, bridge)["round"] == rounds[bridge] + (bridge in ROUTERS)
        if bridge in ROUTERS:
            added = rule_flow(flows(lab, bridge), "udp")
            assert changed[bridge] == [added.text]
            assert added.round == rounds[bridge] + 1
    lab.set_config(rules())
    lab.wait_settled()
    assert changed_since(lab, before) == {}


@contextlib.contextmanager
def room_for(lab: Lab, count: int) -> Iterator[None]:
    """Let the firewall's table of BRIDGE take ``count`` flows more than it has, and refuse what does not fit."""
    number = tables.FIREWALL.number
    limit = count + sum(f"table={number} " in flow.text for flow in flows(lab, BRIDGE))
    row = lab.vsctl(BRIDGE, "--if-exists", "get", "bridge", BRIDGE, f"flow_tables:{number}").strip()
    if not row:
        row = lab.vsctl(BRIDGE, "--", "--id=@table", "create", "flow_table", "--", "set", "bridge", BRIDGE,
                        f"flow_tables:{number}=@table").strip()
    lab.vsctl(BRIDGE, "set", "flow_table", row, f"flow_limit={limit}", "overflow_policy=refuse")
    yield
    lab.vsctl(BRIDGE, "clear", "flow_table", row, "flow_limit", "overflow_policy")


def test_what_a_bridge_refuses_is_named_and_nothing_of_that_change_is_done_to_it(lab: Lab) -> None:
    before, settled = all_flows(lab), health(lab)
    three = rules(*(udp_rule(host, 30 + host) for host in (3, 4, 5)))
    with room_for(lab, 1):
        lab.set_config(edited(("default_action: DROP", "default_action: ALLOW"), text=three))
        (alarm,) = run_and_expect(lambda: alarms(lab, "flows_rejected"), what="the refusal is reported")
        for bridge in set(lab.bridges) - {BRIDGE}:
            run_and_expect(lambda: health(lab, bridge)["settled"], what=f"{bridge} is settled")  # noqa: B023
        assert (alarm["entity"], alarm["gateway"], alarm["severity"]) == (BRIDGE, "t0", "CRITICAL")
        assert "table=FIREWALL" in alarm["cause"] and "nw_dst=10.0.0.4" in alarm["cause"]
        assert "OFPFMFC_TABLE_FULL" in alarm["cause"]
        state = health(lab)
        assert state["connected"] and not state["settled"] and state["round"] == settled["round"]
        changed = changed_since(lab, before)
        assert set(changed) == ROUTERS - {BRIDGE}
        assert all(sum(",udp," in text for text in texts) == 3 for texts in changed.values())
    audit(lab)
    lab.wait_settled()
    assert alarms(lab, "flows_rejected") == []
    assert set(changed_since(lab, before)) == ROUTERS
    lab.set_config(rules())
    lab.wait_settled()
    for flow in ("priority=4096,ip ", "priority=4096,ipv6 "):
        assert rule_flow(flows(lab, BRIDGE), flow).text.endswith("actions=drop")
