"""Compiled programs as wholes: what they refer to is there, and they depend on the gateway file's meaning alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from controller.compile import actions as a
from controller.compile.gateway import bridges, compile_bridge, compile_gateway
from controller.compile.values import GroupType, Program
from controller.model.gateway import Gateway
from controller.pipeline import addresses, groups, tables
from controller.pipeline import fields as f
from controller.pipeline.cookies import Category
from tests.unit.gateways import (
    VARIANTS,
    Document,
    aligned,
    every_nat,
    every_rule,
    example,
    gateway,
    policy,
    programs,
    stateless,
    two_groups,
    with_edges,
    with_rules,
)

BY_VARIANT = pytest.mark.parametrize("name", VARIANTS)


def all_actions(program: Program) -> list[a.Action]:
    """Actions of flows and of buckets."""
    return [action for holder in (*program.flows, *(bucket for group in program.groups for bucket in group.buckets))
            for action in holder.actions]


def group_of(program: Program, group_id: int):
    return next((group for group in program.groups if group.group_id == group_id), None)


def test_bridges_of_a_gateway() -> None:
    t0 = gateway()
    assert tuple(bridges(t0)) == ("t0-dr", "t0-sr1", "t0-sr2", "t0-sr3", "t0-sr4", "t0-bp", "t0-pn", "t0-ps")
    with pytest.raises(KeyError):
        compile_bridge(t0, "t0-sr5", {})
    connected = compile_gateway(t0, {"t0-sr2": {}, "t0-pn": {}, "br-int": {}})
    assert list(connected) == ["t0-sr2", "t0-pn"]


@BY_VARIANT
def test_compiling_is_deterministic(name: str) -> None:
    assert programs(gateway(VARIANTS[name]())) == programs(gateway(VARIANTS[name]()))


@pytest.mark.parametrize("make", [every_rule, every_nat])
def test_the_order_of_rules_in_the_file_does_not_matter_where_they_have_sequence_numbers(make) -> None:
    def numbered(shuffle: random.Random | None) -> Document:
        document = make()
        tier0 = document["tier0s"][0]
        for rules in (tier0["nat_rules"], tier0["gateway_firewall"]["rules"]):
            for number, rule in enumerate(rules):
                rule["sequence_number"] = 10 * number
            if shuffle:
                shuffle.shuffle(rules)
        return document

    expected = programs(gateway(numbered(None)))
    assert all(programs(gateway(numbered(random.Random(seed)))) == expected for seed in range(5))


def test_the_order_of_edges_and_interfaces_in_the_file_does_not_matter() -> None:
    document = example()
    document["edge_clusters"][0]["edges"].reverse()
    document["tier0s"][0]["locale_service"]["interfaces"].reverse()
    document["tier0s"][0]["locale_service"]["interface_groups"][0]["members"].reverse()
    assert programs(gateway(document)) == programs(gateway())


@BY_VARIANT
def test_what_flows_refer_to_is_there(name: str) -> None:
    t0 = gateway(VARIANTS[name]())
    for bridge in bridges(t0):
        wanted = compile_bridge(t0, bridge, {}).missing
        ports = {port: number for number, port in enumerate(wanted, start=100)}
        program = compile_bridge(t0, bridge, ports)
        outputs = {action.port for action in all_actions(program) if isinstance(action, a.Output)}
        inputs = {term.value for flow in program.flows for term in flow.match if term.name == "in_port"}
        assert outputs | inputs <= set(ports.values()), bridge
        assert set(ports.values()) == inputs, "a port that no flow takes frames from has no use"
        used = {action.group_id for action in all_actions(program) if isinstance(action, a.ToGroup)}
        assert used == {group.group_id for group in program.groups}, bridge


@BY_VARIANT
def test_every_router_tracks_in_its_own_zone(name: str) -> None:
    t0 = gateway(VARIANTS[name]())
    compiled = programs(t0)
    zones = {router.bridge: router.zone for router in t0.routers}
    assert len(set(zones.values())) == len(zones)
    for bridge, program in compiled.items():
        used = {action.zone for action in all_actions(program) if isinstance(action, a.Ct)}
        assert used == ({zones[bridge]} if bridge in zones else set())


@BY_VARIANT
def test_no_flow_on_the_way_copies_addresses_or_ports_into_registers(name: str) -> None:
    """Every value in a register would become an exact match, and cost an upcall per connection."""
    for program in programs(gateway(VARIANTS[name]())).values():
        for flow in program.flows:
            for action in flow.actions:
                if isinstance(action, a.Copy):
                    assert action.target in f.FIELDS and "reg" not in action.target
                if isinstance(action, a.Copy | a.Learn):
                    assert flow.table in (tables.LOCAL, tables.ADVERTISE)


@BY_VARIANT
def test_packets_to_the_controller_say_why(name: str) -> None:
    for program in programs(gateway(VARIANTS[name]())).values():
        for flow in program.flows:
            reasons = [action.reason for action in flow.actions if isinstance(action, a.ToController)]
            assert (flow.cookie.category is Category.TO_CONTROLLER) == bool(reasons)
            if reasons:
                assert reasons == [flow.cookie.object]


def test_a_missing_port_is_named_and_the_rest_is_served() -> None:
    t0 = gateway()
    ports = {port: n for n, port in enumerate(compile_bridge(t0, "t0-sr1", {}).missing, start=1)}
    whole = compile_bridge(t0, "t0-sr1", ports)
    for lost in ports:
        part = compile_bridge(t0, "t0-sr1", {port: n for port, n in ports.items() if port != lost})
        assert part.missing == (lost,)
        assert set(part.flows) < set(whole.flows)
        assert part.groups == whole.groups


def test_the_owner_table() -> None:
    for count in (2, 4, 6):
        t0 = gateway(with_edges(count))
        for router in t0.routers:
            program = programs(t0)[router.bridge]
            for group_id, fields in ((groups.OWNER_NORTH, ("ipv4_dst", "ipv6_dst")),
                                     (groups.OWNER_SOUTH, ("ipv4_src", "ipv6_src"))):
                group = group_of(program, group_id)
                assert (group.type, group.hash_fields) == (GroupType.SELECT_HASH, fields)
                assert [bucket.bucket_id for bucket in group.buckets] == list(range(1, count + 1))
                assert [bucket.actions[0] for bucket in group.buckets] == [
                    a.SetMark(f.SLOT.at(slot)) for slot in range(1, count + 1)]


@pytest.mark.parametrize("document", [policy("NONE"), policy("SRC_DST_IP_HASH"), stateless()],
                         ids=["NONE", "SRC_DST_IP_HASH", "stateless"])
def test_gateways_without_an_owner_table(document: Document) -> None:
    program = programs(gateway(document))["t0-sr1"]
    assert not program.groups
    by_both = any(isinstance(action, a.Multipath) for action in all_actions(program))
    assert by_both == (gateway(document).redirection_policy.value == "SRC_DST_IP_HASH")
    assert any(flow.table is tables.PUNT for flow in program.flows) == by_both


def test_how_the_distributed_router_spreads_traffic() -> None:
    for document, kind, fields in ((example(), GroupType.SELECT_DP_HASH, ()),
                                   (aligned(), GroupType.SELECT_HASH, ("ipv4_dst", "ipv6_dst"))):
        group = group_of(programs(gateway(document))["t0-dr"], groups.DR_ECMP)
        assert (group.type, group.hash_fields) == (kind, fields)
        assert [bucket.bucket_id for bucket in group.buckets] == [1, 2, 3, 4]


def test_equal_cost_next_hops_are_a_group_and_a_single_one_is_not() -> None:
    assert not [group for group in programs(gateway())["t0-sr1"].groups if group.group_id >= groups.FIRST_ROUTE]
    program = programs(gateway(VARIANTS["ecmp"]()))["t0-sr1"]
    group = group_of(program, groups.route_group(0))
    hops = [action.mark.value for bucket in group.buckets for action in bucket.actions
            if isinstance(action, a.SetMark) and action.mark.field is f.NEXT_HOP_4]
    assert hops == [0xAC100101, 0xAC100103] and group.type is GroupType.SELECT_DP_HASH


def answered(of: Gateway, slot: int) -> set[int]:
    """IPv4 addresses that a service router answers ARP for."""
    program = programs(of)[of.router(slot).bridge]
    return {term.value for flow in program.flows if flow.table is tables.LOCAL for term in flow.match
            if term.name == "arp_tpa"}


def test_translations_on_a_shared_link_are_answered_for_by_one_router() -> None:
    t0 = gateway(two_groups())
    in_subnet = {0xC0A80900 + last for last in (80, 90, 91)}
    assert in_subnet <= answered(t0, 1)
    for slot in (2, 3, 4):
        assert not in_subnet & answered(t0, slot)


def test_punt_switches_know_every_pair_and_nothing_else() -> None:
    for switch in ("t0-pn", "t0-ps"):
        program = programs(gateway())[switch]
        assert len(program.flows) == 4 * 3 and not program.groups
        pairs = {tuple((term.value >> 8) & 0xFF for term in flow.match if term.name.startswith("eth"))
                 for flow in program.flows}
        assert len(pairs) == 12 and all(target != source for target, source in pairs)
        for flow in program.flows:
            assert {term.name for term in flow.match} == {"in_port", "eth_src", "eth_dst"}


@BY_VARIANT
def test_no_two_ports_of_a_gateway_share_an_ethernet_address(name: str) -> None:
    t0 = gateway(VARIANTS[name]())
    seen: dict[int, str] = {}
    for bridge, program in programs(t0).items():
        if not bridge.startswith(("t0-sr", "t0-dr")):
            continue
        own = {action.value for flow in program.flows if flow.table is tables.OUT for action in flow.actions
               if isinstance(action, a.Set) and action.field == "eth_src"}
        for address in own:
            assert seen.setdefault(address, bridge) == bridge
            assert address >> 32 == addresses.INTERFACE_PREFIX
    assert len(seen) == 1 + len(t0.segments) + sum(1 + len(router.interfaces) for router in t0.routers)


def test_firewall_rules_keep_their_order_in_the_priorities() -> None:
    document = with_rules(*({"action": "ALLOW" if n % 2 else "DROP", "sources": [f"10.0.{n}.0/24"]} for n in range(9)))
    flows = [flow for flow in programs(gateway(document))["t0-sr1"].flows
             if flow.table is tables.FIREWALL and flow.cookie.category is Category.FIREWALL and flow.cookie.object]
    ranks = [flow.cookie.object for flow in sorted(flows, key=lambda flow: -flow.priority)]
    assert ranks == sorted(ranks) and set(ranks) == set(range(1, 10))


def test_a_program_says_what_it_is_for() -> None:
    program = programs(gateway())["t0-sr1"]
    assert any("rule web-in" in flow.note for flow in program.flows)
    assert replace(program.flows[0], note="other") == program.flows[0], "notes are not part of what is desired"


def test_a_hash_of_both_addresses_reaches_every_slot_and_no_other_also_with_gaps_between_them() -> None:
    document = policy("SRC_DST_IP_HASH")
    for edge, index in zip(document["edge_clusters"][0]["edges"], (1, 2, 3, 5), strict=True):
        edge["member_index"] = index
    for bridge, program in programs(gateway(document)).items():
        if not bridge.startswith("t0-sr"):
            continue
        links = {action.links for action in all_actions(program) if isinstance(action, a.Multipath)}
        taken = {term.value for flow in program.flows if flow.table is tables.PUNT for term in flow.match
                 if term.name == f.LINK.name}
        assert links == {4} and taken == {0, 1, 2, 3}
