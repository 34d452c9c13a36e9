"""``saga`` on a running gateway: what it shows and explains is what the switches do."""

from __future__ import annotations

import json
import random
from ipaddress import IPv4Address, ip_address

import pytest

from controller.explain import oracle
from tests.e2e.helpers import edited
from topologies.expect import run_and_expect


def test_show_lists_every_router_and_the_owner_table(lab):
    gateways = json.loads(lab.saga("show", "--json").stdout)["gateways"]
    assert [router["edge"] for router in gateways[0]["routers"]] == ["edge1", "edge2", "edge3", "edge4"]
    assert [(row["slot"], row["holder"]) for row in gateways[0]["owner_table"]] == [
        (slot, f"edge{slot}") for slot in (1, 2, 3, 4)]
    text = lab.saga("show").stdout
    for word in ("edge4", "t0-sr4", "260", "172.16.4.2/24", "rack-b", "settled"):
        assert word in text


def test_explain_names_owner_and_the_walk_that_packets_take(lab):
    lab.host("A").run("ping -c 1 192.0.2.2")
    told = json.loads(lab.saga("explain", "--src", "10.0.0.2", "--dst", "192.0.2.2", "--json").stdout)
    owner = told["owner"]
    assert owner["slot"] == told["oracle_slot"] == oracle.owner(ip_address("192.0.2.2"), (1, 2, 3, 4))
    holding = {entry["zone"] for entry in lab.conntrack() if entry["orig"]["dst"] == "192.0.2.2"}
    assert holding == {owner["zone"]}
    for direction, leaving in (("north", f"leaves by t0-up{owner['slot']}"), ("south", "leaves by t0-dr-web")):
        for edge, walk in told[direction].items():
            assert walk["punted"] == (edge != owner["member"]), (direction, edge)
            assert walk["hops"][-1]["what"] == leaving, (direction, edge)


def test_the_owner_is_the_one_the_oracle_computes_for_every_address(lab):
    addresses = [str(IPv4Address(number)) for number in random.Random(5).sample(range(0x01000000, 0xDF000000), 50)]
    assert {address: lab.owner(address)["slot"] for address in addresses} == {
        address: oracle.owner(ip_address(address), (1, 2, 3, 4)) for address in addresses}


def test_explain_of_a_published_service_names_the_rules(lab):
    told = lab.path("192.0.2.9", "198.51.100.80")
    reasons = [hop["why"] for walk in told["south"].values() for hop in walk["hops"]]
    assert reasons.count("NAT rule web") == 8, "looked up and committed, from each of four routers"
    assert reasons.count("rule web-in") == 4


def test_explain_speaks_ipv6_and_udp(lab):
    told = lab.path("A", "2001:db8:b::2", proto="udp", dport=53, version=6)
    assert told["owner"]["slot"] == told["oracle_slot"]
    assert all(walk["hops"][-1]["what"].startswith("leaves by t0-up") for walk in told["north"].values())


def test_explain_says_which_rule_drops(lab):
    told = lab.path("192.0.2.9", "10.0.0.3", dport=22)
    assert {walk["hops"][-1]["what"] for walk in told["south"].values()} == {"firewall: dropped"}
    assert {walk["hops"][-1]["why"] for walk in told["south"].values()} == {"default action"}


def test_explain_knows_what_a_router_answers_itself(lab):
    walk = lab.path("A", "172.16.1.2", proto="icmp")["north"]["edge1"]
    assert "answered by the router itself" in [hop["what"] for hop in walk["hops"]] and not walk["punted"]


def test_explain_says_which_rule_rejects(lab):
    text = (lab.directory / "gateway.yaml").read_text()
    try:
        lab.set_config(edited(("default_action: DROP", "default_action: REJECT"), text=text))
        lab.wait_settled()
        told = lab.path("192.0.2.9", "10.0.0.3", dport=22)
        assert {tuple(hop["what"] for hop in walk["hops"])[-2:] for walk in told["south"].values()} == {
            ("firewall: rejected", "rejected")}
    finally:
        lab.set_config(text)
        lab.wait_settled()


def test_flow_tables_have_names_in_dumps(lab):
    run_and_expect(lambda: lab.dump_flows("t0-sr1"), lambda flows: any("table=FIREWALL" in flow for flow in flows), 10,
                   "table names in the dump")
    run_and_expect(lab.controller.log.read_text, lambda log: log.count("flow tables named") == len(lab.bridges), 10,
                   "the database's answer for every bridge")
    names = {flow.split("table=")[1].split(",")[0] for flow in lab.dump_flows("t0-sr1")}
    assert names == {"CLASSIFY", "LOCAL", "ADVERTISE", "OWNER", "PUNT", "TRACK", "STATE", "DNAT", "ROUTE", "FIREWALL",
                     "NAT", "FORWARD", "NEIGHBOUR", "OUT"}


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("explain", "--src", "10.0.0.2", "--dst", "10.0.0.3"), 2, "crosses no gateway"),
    (("explain", "--src", "10.0.0.2", "--dst", "2001:db8::1"), 2, "not of one address family"),
    (("explain", "--src", "ten", "--dst", "192.0.2.2"), 2, "'ten' does not appear to be"),
    (("--api", "http://127.0.0.1:1", "show"), 1, "no controller at http://127.0.0.1:1"),
    (("check", "/nonexistent.yaml"), 2, "nonexistent.yaml"),
])
def test_a_question_that_cannot_be_answered_says_why(lab, arguments, code, words):
    result = lab.saga(*arguments, check=False)
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr


def test_a_policy_of_both_addresses_and_none_are_explained_too(lab):
    text = (lab.directory / "gateway.yaml").read_text()
    no_nat = text[:text.index("    nat_rules:")] + text[text.index("    gateway_firewall:"):]
    try:
        lab.set_config(edited(("IP_HASH", "SRC_DST_IP_HASH"), text=no_nat))
        lab.wait_settled()
        owners = {lab.path(f"10.0.0.{host}", "192.0.2.2")["owner"]["slot"] for host in range(2, 40)}
        assert owners == {1, 2, 3, 4}, "one remote address, but the owner depends on the inside address too"
        lab.set_config(edited(("IP_HASH", "NONE"), text=text))
        lab.wait_settled()
        told = lab.path("A", "192.0.2.2")
        assert told["owner"] is None and not any(walk["punted"] for walk in told["north"].values())
        assert {walk["hops"][-1]["what"] for walk in told["south"].values()} == {"dropped"}, "over another router"
    finally:
        lab.set_config(text)
        lab.wait_settled()
