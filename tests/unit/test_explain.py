"""Reading ``ofproto/trace``, telling it in words, and finding the gateway that a question is about."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controller.explain import oracle
from controller.explain.explain import ESTABLISHED, OPENING, Explainer, ExplainError, find_gateway, question
from controller.explain.trace import parse
from controller.explain.walk import Narrator

# What Open vSwitch 3.1 printed for a packet of A (10.0.0.2) to 192.0.2.2 that enters slot 1, shortened where nothing
# is read: punted to slot 2, whose tables follow after the connection tracker under the name of the first bridge.
TRACE = """\
Flow: tcp,in_port=1,vlan_tci=0x0000,dl_src=02:5b:01:03:00:00,nw_src=10.0.0.2,nw_dst=192.0.2.2,tp_src=1000,tp_dst=80

bridge("t0-sr1")
----------------
 0. in_port=1,dl_src=02:5b:01:03:00:00,dl_dst=02:5b:01:01:01:00, priority 4096, cookie 0x5a01000100000000
    set_field:0x1/0x3->reg0
    set_field:0xff000000/0xff000000->reg0
    goto_table:10
10. ip, priority 4096, cookie 0x5a01000100000000
    goto_table:20
20. ip,reg0=0x1/0x7, priority 4096, cookie 0x5a04000100000000
    group:1
     -> bucket 1: score 29858
     -> bucket 2: score 64751
     -> bucket 3: score 780
     -> bucket 4: score 26017
     -> using bucket 2
    bucket 2
            set_field:0x2/0xffff->reg1
            resubmit(,30)
        30. reg0=0x1/0x3,reg1=0x2/0xffff, priority 4096, cookie 0x5a04000100000000
            set_field:02:5a:01:01:01:00->eth_src
            set_field:02:5a:01:01:02:00->eth_dst
            output:3

        bridge("t0-ps")
        ---------------
         0. in_port=1,dl_src=02:5a:01:01:01:00/ff:ff:ff:ff:ff:00, priority 4096, cookie 0x5a02000100000000
            output:2

        bridge("t0-sr2")
        ----------------
         0. in_port=3,dl_dst=02:5a:01:01:02:00, priority 4096, cookie 0x5a02000100000000
            set_field:0x1/0x3->reg0
            set_field:0x4/0x4->reg0
            goto_table:10
        10. ip, priority 4096, cookie 0x5a01000100000000
            goto_table:20
        20. ip, priority 0, cookie 0x5a01000100000000
            goto_table:40
        40. ip, priority 4096, cookie 0x5a01000100000000
            ct(table=50,zone=258,nat)
            nat
             -> A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 50.
             -> Sets the packet to an untracked state, and clears all the conntrack fields.

Final flow: tcp,reg0=0xff000001,in_port=1
Megaflow: recirc_id=0,eth,ip,in_port=1,nw_dst=192.0.2.2,nw_ttl=63,nw_frag=no
Datapath actions: ct(zone=258,nat),recirc(0xa)

===============================================================================
recirc(0xa) - resume conntrack with default ct_state=trk|new (use --ct-next to customize)
===============================================================================

Flow: recirc_id=0xa,ct_state=new|trk,ct_zone=258,eth,tcp

bridge("t0-sr1")
----------------
    thaw
        Resuming from table 50
50. ct_state=+trk, priority 4096, cookie 0x5a01000100000000
    goto_table:70
70. ip, priority 8192, cookie 0x5a05000100000001
    set_field:0x1/0xff->reg2
    goto_table:80
80. ip,reg0=0x1/0x3,nw_src=10.0.0.0/24, priority 61439, cookie 0x5a06000100000001
    set_field:0x100/0x300->reg0
    goto_table:90
90. ip,reg0=0x1/0x3,nw_src=10.0.0.0/24, priority 61438, cookie 0x5a07000100000002
    ct(commit,table=100,zone=258,nat(src=198.51.100.1))
    nat(src=198.51.100.1)

Final flow: recirc_id=0xa,eth,tcp
Megaflow: recirc_id=0xa,ct_state=+new-inv+trk,eth,ip
Datapath actions: ct(commit,zone=258,nat(src=198.51.100.1)),recirc(0xb)
"""


def gateway(**changes) -> dict:
    """The part of a gateway's document that explaining reads."""
    routers = [{"slot": slot, "edge": f"edge{slot}", "bridge": f"t0-sr{slot}", "zone": 256 + slot,
                "legs": [{"index": 255, "port": f"t0-sr{slot}-bp", "mac": f"02:5b:01:01:0{slot}:00"},
                         {"index": 1, "port": f"t0-up{slot}", "mac": f"02:5b:01:02:0{slot}:01"}]}
               for slot in (1, 2, 3, 4)]
    return {
        "id": "t0", "prefix": "t0", "redirects": True, "redirection_policy": "IP_HASH", "routers": routers,
        "distributed_router": {"bridge": "t0-dr", "legs": [
            {"port": "t0-dr-bp", "mac": "02:5b:01:03:00:00"}, {"port": "t0-dr-web", "mac": "02:5b:01:04:00:01"}]},
        "segments": [{"id": "web", "port": "t0-dr-web", "addresses": ["10.0.0.1/24"]}],
        "translations": [
            {"action": "DNAT", "source": None, "destination": "198.51.100.80/32", "translated": ["10.0.0.2"] * 2},
            {"action": "SNAT", "source": "10.0.0.0/24", "destination": None, "translated": ["198.51.100.1"] * 2}],
        "nat_rules": ["web", "out"], "firewall_rules": ["outbound"], "ports": {},
        "owner_table": [{"slot": slot, "member": f"edge{slot}", "holder": f"edge{slot}"} for slot in (1, 2, 3, 4)],
    } | changes


def test_steps_carry_the_bridge_that_the_packet_is_really_in():
    steps = parse(TRACE).steps
    assert [(step.bridge, step.table) for step in steps] == [
        ("t0-sr1", 0), ("t0-sr1", 10), ("t0-sr1", 20), ("t0-sr1", 30), ("t0-ps", 0), ("t0-sr2", 0), ("t0-sr2", 10),
        ("t0-sr2", 20), ("t0-sr2", 40), ("t0-sr2", 50), ("t0-sr2", 70), ("t0-sr2", 80), ("t0-sr2", 90)]


def test_the_choice_of_a_select_group_is_read_with_its_scores():
    owner = parse(TRACE).steps[2]
    assert (owner.bucket, owner.scores) == (2, {1: 29858, 2: 64751, 3: 780, 4: 26017})
    assert owner.scores == oracle.bucket_scores(ip_address("192.0.2.2"), (1, 2, 3, 4))


def test_no_line_of_the_trace_frame_becomes_an_action():
    actions = [action for step in parse(TRACE).steps for action in step.actions]
    assert not [action for action in actions if action.startswith(("=", "Final", "Megaflow", "recirc(", "->"))]
    assert "ct(table=50,zone=258,nat)" in actions


def test_the_walk_names_rules_and_reasons():
    told = [(hop.bridge, hop.what, hop.why) for hop in Narrator(gateway()).tell(parse(TRACE))]
    assert ("t0-sr1", "punted over the south punt switch", "another router holds the slot") in told
    assert ("t0-sr2", "taken from the shadow port", "punted: treated as if received on its backplane") in told
    assert ("t0-sr2", "firewall: let through", "rule outbound") in told
    assert ("t0-sr2", "connection entered, src=198.51.100.1", "NAT rule out") in told


def test_the_explanation_asks_for_both_directions_from_every_router():
    asked = []

    def tracer(bridge, flow, options):
        asked.append((bridge, flow.split(",")[1], options))
        return TRACE

    told = Explainer(gateway(), tracer).explain(question("10.0.0.2", "192.0.2.2"), north=True)
    assert told["owner"] == {"slot": 2, "member": "edge2", "holder": "edge2", "bridge": "t0-sr2", "zone": 258}
    assert told["oracle_slot"] == 2
    assert set(told["north"]) == set(told["south"]) == {"edge1", "edge2", "edge3", "edge4"}
    assert ("t0-sr3", "in_port=t0-sr3-bp", OPENING) in asked
    assert ("t0-sr3", "in_port=t0-up3", ESTABLISHED) in asked
    assert ("t0-dr", "in_port=t0-dr-web", OPENING) in asked


def test_an_uplink_is_not_taken_for_the_backplane_by_its_name():
    document, asked = gateway(), []
    for router in document["routers"]:
        router["legs"].reverse()
        router["legs"][0]["port"] = f"t0-up{router['slot']}-bp"
    Explainer(document, lambda _, flow, __: asked.append(flow) or TRACE).explain(
        question("10.0.0.2", "192.0.2.2"), north=True)
    by_uplink = [flow for flow in asked if "in_port=t0-up" in flow]
    assert len(by_uplink) == 4 and all("nw_src=192.0.2.2" in flow for flow in by_uplink)


@pytest.mark.parametrize(("src", "dst", "north"), [
    ("10.0.0.2", "192.0.2.2", True), ("192.0.2.2", "198.51.100.80", False), ("192.0.2.2", "10.0.0.9", False)])
def test_the_gateway_and_the_direction_are_found(src, dst, north):
    assert find_gateway([gateway()], question(src, dst)) == (gateway(), north)


@pytest.mark.parametrize(("src", "dst"), [("10.0.0.2", "10.0.0.3"), ("192.0.2.2", "192.0.2.3")])
def test_a_question_that_crosses_no_gateway_is_refused(src, dst):
    with pytest.raises(ExplainError, match=f"{src} -> {dst} crosses no gateway"):
        find_gateway([gateway()], question(src, dst))


def test_addresses_of_two_families_are_refused():
    with pytest.raises(ValueError, match="not of one address family"):
        question("10.0.0.2", "2001:db8::1")
