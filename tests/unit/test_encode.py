"""Desired values as OpenFlow 1.5 messages: the bytes, read back with Ryu's parsers or by hand."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace

import pytest
from ryu.ofproto import ofproto_v1_5 as ofp

from controller import compat
from controller.compile import actions as a
from controller.compile.builder import match
from controller.compile.values import Bucket, Flow, Group, GroupType
from controller.openflow import encode
from controller.pipeline import fields as f
from controller.pipeline import groups, tables
from controller.pipeline.cookies import Category, Cookie

DATAPATH = SimpleNamespace(ofproto=ofp, ofproto_parser=encode.parser)


@pytest.fixture(autouse=True, scope="module")
def fields() -> None:
    compat.register_fields()


def wire(*actions: a.Action) -> bytes:
    """Bytes of encoded actions."""
    buffer = bytearray()
    for action in encode.encode_actions(actions):
        action.serialize(buffer, len(buffer))
    return bytes(buffer)


def oxm_names(raw: bytes) -> list[str]:
    names, offset = [], 0
    while offset < len(raw):
        number, length = ofp.oxm_parse_header(raw, offset)[0], raw[offset + 3]
        names.append(ofp.oxm_to_user(number, None, None)[0])
        offset += 4 + length
    return names


def test_a_match_puts_every_field_behind_those_it_needs() -> None:
    nd = match(f.INGRESS.at(1), ipv6_nd_target=IPv6Address("::1"), icmpv6_type=135, ip_proto=58, eth_type=0x86DD,
               icmpv6_code=0, nw_ttl=255)
    names = oxm_names(encode.match_bytes(Flow(tables.LOCAL, 1, nd, (), Cookie(Category.BASE)).packet_terms()))
    assert names[:3] == ["eth_type", "ip_proto", "icmpv6_type"]
    assert sorted(names[3:]) == sorted(["icmpv6_code", "ipv6_nd_target", "nw_ttl", "reg0"])


def test_a_match_is_padded_to_eight_bytes() -> None:
    for raw in (b"", b"\x80\x00\x0a\x02\x08\x00", bytes(4), bytes(12)):
        buffer = bytearray(b"before")
        length = encode.RawMatch(raw).serialize(buffer, 6)
        assert len(buffer) - 6 == length and length % 8 == 0
        assert struct.unpack_from("!HH", buffer, 6) == (ofp.OFPMT_OXM, 4 + len(raw))
        assert bytes(buffer[10:10 + len(raw)]) == raw and not any(buffer[10 + len(raw):])


def test_a_flow_goes_on_after_its_actions() -> None:
    instructions = encode.encode_instructions((a.Set("eth_src", 1), a.DecTtl(), a.Goto(tables.ROUTE)))
    assert [type(instruction).__name__ for instruction in instructions] == [
        "OFPInstructionActions", "OFPInstructionGotoTable"]
    assert instructions[1].table_id == tables.ROUTE.number
    assert encode.encode_instructions(()) == []
    with pytest.raises(TypeError, match="no encoding"):
        encode.encode_actions((a.Goto(tables.ROUTE),))


def test_setting_a_mark_leaves_the_other_bits_of_the_register() -> None:
    assert wire(a.SetMark(f.SOUTH)) == bytes.fromhex("0019 0010 0001 01 08 00000002 00000003")
    assert wire(a.SetMark(f.INGRESS.at(5))).endswith(bytes.fromhex("05000000ff000000"))
    assert wire(a.SetMark(f.NEXT_HOP_4.at(0x0A000001)))[:12] == bytes.fromhex("00190010000106040a000001"), "no mask"


def test_the_controller_gets_whole_packets() -> None:
    (output,) = encode.encode_actions((a.ToController(a.Reason.RESOLVE),))
    assert (output.port, output.max_len) == (ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER)


def test_tracking_and_translating() -> None:
    pool = IPv4Address("198.51.100.1")

    def nested(ct: a.Ct) -> tuple[int, int, int, list]:
        (action,) = encode.encode_actions((ct,))
        assert action.zone_src == "" and action.zone_ofs_nbits == 260
        return action.flags, action.recirc_table, len(action.actions), action.actions

    flags, table, count, (nat,) = nested(a.Ct(260, tables.STATE))
    assert (flags, table, count, nat.flags) == (0, 50, 1, 0), "known translations are applied"
    assert nested(a.Ct(260, tables.FORWARD, commit=True))[:3] == (1, 100, 0)
    _, _, _, (nat,) = nested(a.Ct(260, tables.FORWARD, True, a.Nat(a.NatKind.SOURCE, pool, pool + 3)))
    assert (nat.flags, nat.range_ipv4_min, nat.range_ipv4_max) == (1, "198.51.100.1", "198.51.100.4")
    assert nat.range_proto_min is None, "without a port range Open vSwitch keeps the port where it can"
    _, _, _, (nat,) = nested(a.Ct(260, tables.FORWARD, True, a.Nat(a.NatKind.DESTINATION, pool, pool, 8080)))
    assert (nat.flags, nat.range_ipv4_max, nat.range_proto_min) == (2, "", 8080)


def test_learned_flows_carry_a_cookie_of_their_own() -> None:
    (learn,) = encode.encode_actions((a.Learn(
        tables.NEIGHBOUR, 4096, 600, (a.LearnMatch(f.EGRESS, value=1), a.LearnMatch(f.NEXT_HOP_4, source="arp_spa")),
        (a.LearnSet("eth_dst", source="arp_sha"), a.LearnSet(f.RESOLVED, value=1))),))
    assert learn.cookie == int(Cookie(Category.LEARNED))
    assert (learn.table_id, learn.priority, learn.idle_timeout, learn.hard_timeout) == (110, 4096, 600, 0)
    assert [(spec.dst, spec.n_bits) for spec in learn.specs] == [
        (("reg2", 0), 8), (("reg3", 0), 32), (("eth_dst_nxm", 0), 48), (("reg0", 4), 1)]


def test_choosing_a_link_by_both_addresses() -> None:
    (action,) = encode.encode_actions((a.Multipath(4, f.LINK),))
    assert (action.max_link, action.basis, action.dst) == (3, 0, "reg1")
    assert action.ofs_nbits == 16 << 6 | 15, "bits 16 to 31"


def test_the_selection_method_of_an_owner_group() -> None:
    group = Group(groups.OWNER_NORTH, GroupType.SELECT_HASH,
                  (Bucket(4, (a.SetMark(f.SLOT.at(4)), a.Resubmit(tables.PUNT))),), ("ipv4_dst", "ipv6_dst"))
    message = encode.group_mod(DATAPATH, group, ofp.OFPGC_ADD)
    assert (message.command, message.type, message.group_id) == (ofp.OFPGC_ADD, ofp.OFPGT_SELECT, 1)
    (bucket,) = message.buckets
    assert bucket.bucket_id == 4 and bucket.properties[0].weight == 1
    (method,) = message.properties
    data = struct.pack(f"!{len(method.data)}I", *method.data)
    assert data[:28] == bytes(4) + b"hash".ljust(16, b"\0") + bytes(8)
    assert data[28:] == bytes.fromhex("80001804ffffffff" + "80003610" + "ff" * 16)
    assert (method.experimenter, method.exp_type) == (0x154D, 1)
    plain = encode.group_mod(DATAPATH, Group(256, GroupType.SELECT_DP_HASH, group.buckets), ofp.OFPGC_MODIFY)
    assert plain.properties == [] and plain.command == ofp.OFPGC_MODIFY


def test_adding_and_deleting_a_flow() -> None:
    wanted = Flow(tables.LOCAL, 4098, match(eth_type=0x0800), (a.Goto(tables.ROUTE),), Cookie(Category.LOCAL, 7))
    added = encode.flow_add(DATAPATH, wanted, 513)
    assert (added.cookie, added.command, added.table_id, added.priority) == (
        0x5A03020100000007, ofp.OFPFC_ADD, 10, 4098)
    assert added.flags == 0 and added.idle_timeout == added.hard_timeout == 0
    deleted = encode.flow_delete(DATAPATH, 10, 4098, b"\x80\x00\x0a\x02\x08\x00")
    assert (deleted.command, deleted.table_id, deleted.priority) == (ofp.OFPFC_DELETE_STRICT, 10, 4098)
    assert (deleted.out_port, deleted.out_group, deleted.cookie_mask) == (ofp.OFPP_ANY, ofp.OFPG_ANY, 0)
    for message in (added, deleted):
        message.xid = 1
        message.serialize()
        assert bytes.fromhex("80000a020800") in bytes(message.buf)


def test_sending_a_packet() -> None:
    message = encode.packet_out(DATAPATH, b"frame", encode.encode_actions((a.Output(3),)))
    message.xid = 1
    message.serialize()
    assert bytes(message.buf).endswith(b"frame") and message.buffer_id == ofp.OFP_NO_BUFFER
