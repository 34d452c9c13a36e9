"""The flow builder refuses whatever the pipeline does not declare."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from controller.compile import actions as a
from controller.compile.builder import PipelineError, ProgramBuilder, match
from controller.compile.values import Bucket, Flow, GroupType, Term
from controller.pipeline import fields as f
from controller.pipeline import tables
from controller.pipeline.cookies import Category, Cookie
from controller.pipeline.tables import Kind

IP4 = {"eth_type": f.ETH_IPV4}


@pytest.fixture
def builder() -> ProgramBuilder:
    return ProgramBuilder("t0-sr1", Kind.SERVICE_ROUTER, {"t0-sr1-bp": 7})


def add(builder: ProgramBuilder, table: tables.Table, conditions: tuple[Term, ...], *actions: a.Action) -> None:
    builder.flow(table, 100, conditions, actions, Category.BASE)


def test_a_flow_that_keeps_the_contract(builder: ProgramBuilder) -> None:
    conditions = match(f.NORTH, **IP4)
    builder.flow(tables.OWNER, 7, conditions, [a.SetMark(f.SLOT.at(1)), a.Goto(tables.PUNT)], Category.OWNER, 3, "why")
    (flow,) = builder.program().flows
    assert flow == Flow(tables.OWNER, 7, conditions, (a.SetMark(f.SLOT.at(1)), a.Goto(tables.PUNT)),
                        Cookie(Category.OWNER, 3))
    assert flow.note == "why"


def test_match_takes_values_of_every_kind() -> None:
    assert match(ipv4_src=IPv4Address("10.0.0.1")) == (Term("ipv4_src", 0x0A000001),)
    assert match(ipv4_src=IPv4Network("10.0.0.0/8")) == (Term("ipv4_src", 0x0A000000, 0xFF000000),)
    assert match(ipv6_dst=IPv6Address("::5")) == (Term("ipv6_dst", 5),)
    assert match(tcp_dst=(0x1F40, 0xFFFF)) == (Term("tcp_dst", 8000),), "a full mask is no mask"
    assert match(ct_state=f.CtState(("trk",), ("new", "inv"))) == (Term("ct_state", 0x20, 0x31),)
    assert match(f.SOUTH, eth_type=0x800, in_port=None) == (Term("DIRECTION", 2), Term("eth_type", 0x800))
    assert match(ipv4_src=IPv4Network("0.0.0.0/0"), tcp_dst=(0, 0), in_port=0) == (Term("in_port", 0),)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ipv4_source": 1}, "undeclared field ipv4_source"),
        ({"eth_type": 0x10000}, "outside its mask"),
        ({"tcp_dst": (0x1F41, 0xFFF0)}, "outside its mask"),
        ({"tcp_dst": (0, 0x1FFFF)}, "outside its mask"),
    ],
)
def test_a_match_that_means_nothing(fields: dict, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        match(**fields)


@pytest.mark.parametrize(
    ("table", "conditions", "actions", "message"),
    [
        (tables.PUNT, match(in_port=1), (), "PUNT does not declare a match on in_port"),
        (tables.PUNT, match(f.PUNTED.at(1)), (), "PUNT does not declare a match on PUNTED"),
        (tables.ROUTE, match(ipv4_dst=IPv4Address("10.0.0.1")), (), "ipv4_dst needs one of"),
        (tables.ROUTE, match(eth_type=f.ETH_IPV6, ipv4_dst=1), (), "ipv4_dst needs one of"),
        (tables.FIREWALL, match(**IP4, tcp_dst=80), (), "tcp_dst needs one of"),
        (tables.FIREWALL, match(**IP4, ip_proto=f.PROTO_UDP, tcp_dst=80), (), "tcp_dst needs one of"),
        (tables.FRAMES, (), (), "service router has no table FRAMES"),
        (tables.PUNT, (), (a.Set("ipv4_dst", 1),), "PUNT does not declare setting ipv4_dst"),
        (tables.PUNT, (), (a.Copy("eth_src", "ipv4_src"),), "PUNT does not declare setting ipv4_src"),
        (tables.PUNT, (), (a.SetMark(f.ALLOW),), "PUNT does not declare setting VERDICT"),
        (tables.PUNT, (), (a.Multipath(4, f.LINK),), "PUNT does not declare setting LINK"),
        (tables.PUNT, (), (a.Goto(tables.FIREWALL),), "PUNT does not declare FIREWALL as a next table"),
        (tables.PUNT, (), (a.Goto(tables.OWNER),), "PUNT does not declare OWNER as a next table"),
        (tables.PUNT, (), (a.Resubmit(tables.OUT),), "PUNT does not declare OUT as a next table"),
        (tables.PUNT, (), (a.Ct(1, tables.STATE),), "PUNT does not declare STATE as a next table"),
        (tables.PUNT, (), (a.Goto(tables.TRACK), a.OutputInPort()), "goto is not the last action"),
        (tables.PUNT, (), (a.ToGroup(1),), "group 1 is not there"),
        (tables.LOCAL, (), (a.Learn(tables.NEIGHBOUR, 1, 60, (a.LearnMatch("arp_spa", source="arp_spa"),), ()),),
         "learned match on arp_spa is not declared in NEIGHBOUR"),
        (tables.LOCAL, (), (a.Learn(tables.NEIGHBOUR, 1, 60, (a.LearnMatch(f.SLOT, value=1),), ()),),
         "learned match on SLOT is not declared in NEIGHBOUR"),
        (tables.LOCAL, (), (a.Learn(tables.NEIGHBOUR, 1, 60, (), (a.LearnSet("eth_src", source="eth_src"),)),),
         "NEIGHBOUR does not declare setting eth_src"),
        (tables.LOCAL, (), (a.Learn(tables.NEIGHBOUR, 1, 60, (), (a.LearnSet(f.EGRESS, value=1),)),),
         "NEIGHBOUR does not declare setting EGRESS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_flow_that_breaks_the_contract(builder: ProgramBuilder, table: tables.Table, conditions: tuple[Term, ...],
                                         actions: tuple[a.Action, ...], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        add(builder, table, conditions, *actions)
    assert builder.program().flows == ()


def test_a_table_of_another_kind_of_bridge() -> None:
    distributed = ProgramBuilder("t0-dr", Kind.DISTRIBUTED_ROUTER, {})
    with pytest.raises(PipelineError, match="a distributed router has no table OWNER"):
        add(distributed, tables.OWNER, match(f.NORTH))
    with pytest.raises(PipelineError, match="a distributed router has no table OWNER"):
        add(distributed, tables.LOCAL, (), a.Goto(tables.OWNER))


def test_a_goto_backwards(builder: ProgramBuilder) -> None:
    wrong = tables.Table("PUNT", 30, (Kind.SERVICE_ROUTER,), "", (), (), ("OWNER", "PUNT"))
    for target in (tables.OWNER, wrong):
        with pytest.raises(PipelineError, match="goto backwards"):
            add(builder, wrong, (), a.Goto(target))


def test_one_match_twice(builder: ProgramBuilder) -> None:
    add(builder, tables.OWNER, match(f.NORTH, **IP4))
    with pytest.raises(PipelineError, match="two flows with one match"):
        add(builder, tables.OWNER, match(f.NORTH, eth_type=f.ETH_IPV4), a.Goto(tables.TRACK))
    builder.flow(tables.OWNER, 101, match(f.NORTH, **IP4), (), Category.BASE)
    assert len(builder.program().flows) == 2


def test_groups_are_held_to_the_contract_of_their_table(builder: ProgramBuilder) -> None:
    buckets = [Bucket(1, (a.SetMark(f.SLOT.at(1)), a.Resubmit(tables.PUNT)))]
    builder.group(tables.OWNER, 5, GroupType.SELECT_HASH, buckets, ("ipv4_dst",))
    assert [group.group_id for group in builder.program().groups] == [5]
    add(builder, tables.OWNER, match(f.NORTH), a.ToGroup(5))
    with pytest.raises(PipelineError, match="group 5 twice"):
        builder.group(tables.OWNER, 5, GroupType.SELECT_HASH, buckets)
    with pytest.raises(PipelineError, match="PUNT does not declare setting SLOT"):
        builder.group(tables.PUNT, 6, GroupType.SELECT_HASH, buckets)


def test_a_flow_to_the_controller_carries_its_reason(builder: ProgramBuilder) -> None:
    builder.flow(tables.TRACK, 7, match(**IP4, nw_ttl=1), [a.ToController(a.Reason.TTL_EXPIRED)], Category.BASE, 99)
    (flow,) = builder.program().flows
    assert flow.cookie == Cookie(Category.TO_CONTROLLER, a.Reason.TTL_EXPIRED)


def test_ports(builder: ProgramBuilder) -> None:
    assert builder.port("t0-sr1-bp") == 7
    assert builder.port("t0-up1") is None and builder.port("t0-up1") is None
    assert builder.program().missing == ("t0-up1",)


def test_a_program_is_in_a_fixed_order(builder: ProgramBuilder) -> None:
    for table, priority, conditions in ((tables.PUNT, 5, ()), (tables.OWNER, 5, match(f.SOUTH)), (tables.OWNER, 9, ()),
                                        (tables.OWNER, 5, match(f.NORTH))):
        builder.flow(table, priority, conditions, (), Category.BASE)
    assert [(flow.table.name, flow.priority, flow.match) for flow in builder.program().flows] == [
        ("OWNER", 9, ()), ("OWNER", 5, match(f.NORTH)), ("OWNER", 5, match(f.SOUTH)), ("PUNT", 5, ())]


def test_register_fields_of_one_register_become_one_condition() -> None:
    flow = Flow(tables.OWNER, 1, match(f.SOUTH, f.PUNTED.at(0), f.INGRESS_GROUP.at(3), f.SLOT.at(5)), (),
                Cookie(Category.BASE))
    assert set(flow.packet_terms()) == {Term("reg0", 0x30002, 0xFF0007), Term("reg1", 5, 0xFFFF)}
    whole = Flow(tables.NEIGHBOUR, 1, match(f.NEXT_HOP_4.at(9), f.NEXT_HOP_6.at(8)), (), Cookie(Category.BASE))
    assert set(whole.packet_terms()) == {Term("reg3", 9), Term("xxreg2", 8)}


def test_one_field_twice_in_a_match() -> None:
    with pytest.raises(PipelineError, match="one field matched twice"):
        match(f.NORTH, f.SOUTH)
