"""Programs as text."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from controller.compile import actions as a
from controller.compile.builder import match
from controller.compile.text import action_text, flow_text, group_text, mark_text, program_lines
from controller.compile.values import Bucket, Flow, Group, GroupType, Program
from controller.pipeline import fields as f
from controller.pipeline import groups, tables
from controller.pipeline.cookies import Category, Cookie
from tests.unit.gateways import VARIANTS, gateway, programs

POOL = IPv4Address("198.51.100.1")


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (a.Set("eth_dst", 0x025A01010302), "set dl_dst=02:5a:01:01:03:02"),
        (a.Set("ipv4_src", 0x0A000001), "set nw_src=10.0.0.1"),
        (a.Set("tcp_dst", 80), "set tcp_dst=80"),
        (a.Set("in_port_nxm", 0), "set in_port=0"),
        (a.Set("tcp_dst", 0x10, 0xF0), "set tcp_dst=0x10/0xf0"),
        (a.SetMark(f.NORTH), "set DIRECTION=NORTH"),
        (a.SetMark(f.SLOT.at(3)), "set SLOT=3"),
        (a.Copy("arp_sha", "arp_tha"), "copy arp_sha->arp_tha"),
        (a.Output(5), "output:5"),
        (a.OutputInPort(), "in_port"),
        (a.ToGroup(groups.OWNER_NORTH), "group:OWNER_NORTH"),
        (a.Resubmit(tables.NEIGHBOUR), "resubmit(,NEIGHBOUR)"),
        (a.Goto(tables.OUT), "goto_table:OUT"),
        (a.DecTtl(), "dec_ttl"),
        (a.ToController(a.Reason.RESOLVE), "controller(RESOLVE)"),
        (a.Ct(257, tables.STATE), "ct(zone=257,nat,table=STATE)"),
        (a.Ct(257, tables.FORWARD, commit=True), "ct(commit,zone=257,table=FORWARD)"),
        (a.Ct(1, tables.FORWARD, True, a.Nat(a.NatKind.SOURCE, POOL, POOL)),
         "ct(commit,zone=1,nat(src=198.51.100.1),table=FORWARD)"),
        (a.Ct(1, tables.FORWARD, True, a.Nat(a.NatKind.SOURCE, POOL, POOL + 3)),
         "ct(commit,zone=1,nat(src=198.51.100.1-198.51.100.4),table=FORWARD)"),
        (a.Ct(1, tables.FORWARD, True, a.Nat(a.NatKind.DESTINATION, POOL, POOL, 8080)),
         "ct(commit,zone=1,nat(dst=198.51.100.1:8080),table=FORWARD)"),
        (a.Learn(tables.NEIGHBOUR, 1, 600,
                 (a.LearnMatch(f.EGRESS, value=1), a.LearnMatch("eth_type", value=0x800),
                  a.LearnMatch(f.NEXT_HOP_4, source="arp_spa")),
                 (a.LearnSet("eth_dst", source="arp_sha"),)),
         "learn(NEIGHBOUR: EGRESS=1,dl_type=0x0800,NEXT_HOP_4=arp_spa -> dl_dst=arp_sha)"),
        (a.Multipath(4, f.LINK), "multipath(symmetric_l3,hrw,4,LINK)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_actions(action: a.Action, text: str) -> None:
    assert action_text(action) == text


def test_what_is_no_action_has_no_text() -> None:
    with pytest.raises(TypeError, match="no text"):
        action_text("drop")


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ((), "any"),
        (match(f.SOUTH, f.INGRESS.at(2)), "DIRECTION=SOUTH,INGRESS=2"),
        (match(eth_type=0x800, ipv4_dst=IPv4Network("10.0.0.0/24")), "dl_type=0x0800,nw_dst=10.0.0.0/24"),
        (match(eth_type=0x800, ipv4_dst=POOL), "dl_type=0x0800,nw_dst=198.51.100.1"),
        (match(ipv6_src=IPv6Network("fe80::/10")), "ipv6_src=fe80::/10"),
        (match(eth_src=(0x025A << 32, 0xFFFF << 32)), "dl_src=02:5a:00:00:00:00/ff:ff:00:00:00:00"),
        (match(tcp_dst=(8000, 0xFFFC)), "tcp_dst=0x1f40/0xfffc"),
        (match(ct_state=f.CtState(("trk",), ("new", "inv"))), "ct_state=-new-inv+trk"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_matches(conditions: tuple, text: str) -> None:
    flow = Flow(tables.CLASSIFY, 7, conditions, (), Cookie(Category.BASE))
    assert flow_text(flow) == f"table=CLASSIFY priority=7 {text} actions=drop"


def test_groups() -> None:
    bucket = Bucket(2, (a.SetMark(f.SLOT.at(2)), a.Resubmit(tables.PUNT)))
    assert group_text(Group(groups.OWNER_SOUTH, GroupType.SELECT_HASH, (bucket,), ("ipv4_src", "ipv6_src"))) == (
        "group=OWNER_SOUTH select by hash(nw_src,ipv6_src) [2: set SLOT=2,resubmit(,PUNT)]")
    assert "by dp_hash" in group_text(Group(groups.route_group(0), GroupType.SELECT_DP_HASH, (bucket,)))


def test_marks() -> None:
    assert mark_text(f.REJECT) == "VERDICT=REJECT"
    assert mark_text(f.VERDICT.at(0)) == "VERDICT=0"


def test_a_program_with_its_notes() -> None:
    flow = Flow(tables.OUT, 1, (), (a.Output(1),), Cookie(Category.BASE), "leave")
    quiet = Flow(tables.OUT, 2, (), (), Cookie(Category.BASE))
    assert list(program_lines(Program("b", (quiet, flow), ()))) == [
        "table=OUT priority=2 any actions=drop", "table=OUT priority=1 any actions=output:1  # leave"]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_flow_of_every_program_has_a_text_of_its_own(name: str) -> None:
    for program in programs(gateway(VARIANTS[name]())).values():
        lines = [flow_text(flow).split(" actions=")[0] for flow in program.flows]
        assert len(set(lines)) == len(lines) > 0
        assert len(list(program_lines(program))) == len(program.flows) + len(program.groups)
