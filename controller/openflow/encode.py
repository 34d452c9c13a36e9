"""Desired flows and groups to OpenFlow 1.5 messages of Ryu, with Nicira's extensions."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from ryu.ofproto import nicira_ext, ofproto_v1_5, ofproto_v1_5_parser

from controller.compile import actions as a
from controller.compile.values import Bucket, Flow, Group, GroupType, Term
from controller.pipeline import addresses
from controller.pipeline.cookies import Category, Cookie
from controller.pipeline.fields import FIELDS, RegField

ofp = ofproto_v1_5
parser = ofproto_v1_5_parser

CT_COMMIT = 1
NAT_SOURCE = 1
NAT_DESTINATION = 2
NX_HASH_FIELDS_SYMMETRIC_L3 = 6
NX_MP_ALG_HRW = 2
NO_BUFFER = ofp.OFP_NO_BUFFER
NTR_SELECTION_METHOD = 1
"""Experimenter type of the group property that names a selection method (Netronome's extension, in Open vSwitch)."""
NTR_EXPERIMENTER = 0x0000154D

_ETHERNET = frozenset(("eth_src", "eth_dst", "arp_sha", "arp_tha", "ipv6_nd_sll", "ipv6_nd_tll"))
_IPV4 = frozenset(("ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa"))
_IPV6 = frozenset(("ipv6_src", "ipv6_dst", "ipv6_nd_target"))


_NXM_NAMES = {"ipv6_nd_target": "nd_target", "ipv6_nd_tll": "nd_tll"} | {name: f"{name}_nxm" for name in (
    "eth_src", "eth_dst", "eth_type", "ip_proto", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "arp_op", "arp_spa",
    "arp_tpa", "arp_sha", "arp_tha")}
"""Names under which Nicira's actions know fields; Open vSwitch reports them so, whatever it was sent."""


def _user(name: str, value: int):
    """A field's value in the notation Ryu takes."""
    if name in _ETHERNET:
        return addresses.text(value)
    if name in _IPV4:
        return str(IPv4Address(value))
    if name in _IPV6:
        return str(IPv6Address(value))
    return value


_FIRST_OF_ALL = ("eth_type", "ip_proto", "icmpv4_type", "icmpv6_type", "ct_state", "ct_nw_proto")
"""Fields that others need, which must come before these (OpenFlow 1.5, section 7.2.3.6)."""


class RawMatch(parser.OFPMatch):
    """A match given as its OXM bytes: in the order the switch wants, or just as the switch reported them."""

    def __init__(self, raw: bytes):
        super().__init__()
        self._raw = raw

    def serialize(self, buf: bytearray, offset: int) -> int:
        """Append the match to ``buf``, padded to 8 bytes; return its padded length."""
        length = 4 + len(self._raw)
        padded = (length + 7) // 8 * 8
        buf[offset:] = struct.pack("!HH", ofp.OFPMT_OXM, length) + self._raw + bytes(padded - length)
        return padded


def match_bytes(terms: tuple[Term, ...]) -> bytes:
    """Return the OXM bytes of a flow's packet terms, every field after those it needs."""
    rank = {name: position for position, name in enumerate(_FIRST_OF_ALL)}
    raw = bytearray()
    for term in sorted(terms, key=lambda term: rank.get(term.name, len(rank))):
        value = _user(term.name, term.value)
        number, value, mask = ofp.oxm_from_user(
            term.name, value if term.mask is None else (value, _user(term.name, term.mask)))
        ofp.oxm_serialize(number, value, mask, raw, len(raw))
    return bytes(raw)


def _place(target: str | RegField) -> tuple[str, int, int]:
    """Field name, first bit and width of what an action works on."""
    if isinstance(target, RegField):
        return target.register, target.first, target.bits
    return target, 0, FIELDS[target].bits


def _set_field(name: str, value: int, mask: int | None = None):
    if mask is None:
        return parser.OFPActionSetField(**{name: _user(name, value)})
    return parser.OFPActionSetField(**{name: (_user(name, value), _user(name, mask))})


def _set_reg(target: RegField, value: int):
    return _set_field(target.register, value << target.first, None if target.whole else target.mask)


def _push(name: str):
    return parser.NXActionStackPush(field=_NXM_NAMES.get(name, name), start=0, end=FIELDS[name].bits)


def _pop(name: str):
    return parser.NXActionStackPop(field=_NXM_NAMES.get(name, name), start=0, end=FIELDS[name].bits)


def _nat(nat: a.Nat):
    flag = NAT_SOURCE if nat.kind is a.NatKind.SOURCE else NAT_DESTINATION
    last = str(nat.last) if nat.last != nat.first else ""
    return parser.NXActionNAT(flags=flag, range_ipv4_min=str(nat.first), range_ipv4_max=last,
                              range_proto_min=nat.port)


def _ct(ct: a.Ct):
    nested = []
    if ct.nat is not None:
        nested = [_nat(ct.nat)]
    elif not ct.commit:
        nested = [parser.NXActionNAT(flags=0)]
    return parser.NXActionCT(flags=CT_COMMIT if ct.commit else 0, zone_src="", zone_ofs_nbits=ct.zone,
                             recirc_table=ct.table.number, alg=0, actions=nested)


def _learn(learn: a.Learn):
    def spec(kind, part):
        name, first, bits = _place(part.target)
        source = part.value if part.source is None else (_NXM_NAMES.get(part.source, part.source), 0)
        return kind(src=source, dst=(_NXM_NAMES.get(name, name), first), n_bits=bits)

    specs = [spec(parser.NXFlowSpecMatch, part) for part in learn.matches]
    specs += [spec(parser.NXFlowSpecLoad, part) for part in learn.sets]
    return parser.NXActionLearn(table_id=learn.table.number, specs=specs, idle_timeout=learn.idle_timeout,
                                priority=learn.priority, cookie=int(Cookie(Category.LEARNED)))


def encode_actions(actions: tuple[a.Action, ...]) -> list:
    """Return Ryu's actions for desired ones.  ``Goto`` is an instruction and not allowed here."""
    encoded = []
    for action in actions:
        match action:
            case a.Set(field=name, value=value, mask=mask):
                encoded.append(_set_field(name, value, mask))
            case a.SetMark(mark=mark):
                encoded.append(_set_reg(mark.field, mark.value))
            case a.Copy(source=source, target=target):
                encoded += [_push(source), _pop(target)]
            case a.Output(port=port):
                encoded.append(parser.OFPActionOutput(port, 0))
            case a.OutputInPort():
                encoded.append(parser.OFPActionOutput(ofp.OFPP_IN_PORT, 0))
            case a.ToGroup(group_id=group_id):
                encoded.append(parser.OFPActionGroup(group_id))
            case a.Resubmit(table=table):
                encoded.append(parser.NXActionResubmitTable(table_id=table.number))
            case a.DecTtl():
                encoded.append(parser.OFPActionDecNwTtl())
            case a.ToController():
                encoded.append(parser.OFPActionOutput(ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER))
            case a.Ct():
                encoded.append(_ct(action))
            case a.Learn():
                encoded.append(_learn(action))
            case a.Multipath(links=links, target=target):
                encoded.append(parser.NXActionMultipath(
                    fields=NX_HASH_FIELDS_SYMMETRIC_L3, basis=0, algorithm=NX_MP_ALG_HRW, max_link=links - 1, arg=0,
                    ofs_nbits=nicira_ext.ofs_nbits(target.first, target.first + target.bits - 1),
                    dst=target.register))
            case _:
                raise TypeError(f"no encoding for {action}")
    return encoded


def encode_instructions(actions: tuple[a.Action, ...]) -> list:
    """Return the instructions of a flow: apply its actions, then go to the next table."""
    goto = [action for action in actions if isinstance(action, a.Goto)]
    applied = encode_actions(tuple(action for action in actions if not isinstance(action, a.Goto)))
    instructions = []
    if applied:
        instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, applied))
    if goto:
        instructions.append(parser.OFPInstructionGotoTable(goto[0].table.number))
    return instructions


def _selection_method(fields: tuple[str, ...]):
    """Property ``selection_method=hash,fields(…)``: method, parameter (hash basis 0), fields with full masks."""
    data = struct.pack("!4x16sQ", b"hash", 0)
    for name in fields:
        size = FIELDS[name].bits // 8
        header = bytearray()
        parser.ofproto.oxm_serialize_header(parser.ofproto.oxm_from_user_header(name), header, 0)
        data += bytes(header[:3]) + bytes([size]) + b"\xff" * size
    words = struct.unpack(f"!{len(data) // 4}I", data)
    return parser.OFPGroupPropExperimenter(type_=ofp.OFPGPT_EXPERIMENTER, experimenter=NTR_EXPERIMENTER,
                                           exp_type=NTR_SELECTION_METHOD, data=list(words))


def encode_bucket(bucket: Bucket):
    """Return Ryu's bucket, with weight 1."""
    weight = parser.OFPGroupBucketPropWeight(type_=ofp.OFPGBPT_WEIGHT, length=8, weight=1)
    return parser.OFPBucket(bucket_id=bucket.bucket_id, actions=encode_actions(bucket.actions), properties=[weight])


def group_mod(datapath, group: Group, command: int):
    """Return the message that adds (OFPGC_ADD) or modifies (OFPGC_MODIFY) a group."""
    properties = [_selection_method(group.hash_fields)] if group.type is GroupType.SELECT_HASH else []
    return parser.OFPGroupMod(datapath, command=command, type_=ofp.OFPGT_SELECT, group_id=group.group_id,
                              buckets=[encode_bucket(bucket) for bucket in group.buckets], properties=properties)


def group_delete(datapath, group_id: int):
    """Return the message that deletes a group."""
    return parser.OFPGroupMod(datapath, command=ofp.OFPGC_DELETE, type_=ofp.OFPGT_SELECT, group_id=group_id)


def flow_delete(datapath, table: int, priority: int, raw_match: bytes):
    """Return the message that deletes exactly the flow with this table, priority and match."""
    return parser.OFPFlowMod(datapath, table_id=table, command=ofp.OFPFC_DELETE_STRICT, priority=priority,
                             buffer_id=NO_BUFFER, out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY,
                             match=RawMatch(raw_match), instructions=[])


def flow_add(datapath, flow: Flow, round_: int):
    """Return the message that adds a flow or replaces the one with its match, marked with a round."""
    cookie = int(Cookie(flow.cookie.category, flow.cookie.object, round_))
    return parser.OFPFlowMod(datapath, cookie=cookie, table_id=flow.table.number, command=ofp.OFPFC_ADD,
                             priority=flow.priority, buffer_id=NO_BUFFER, out_port=ofp.OFPP_ANY,
                             out_group=ofp.OFPG_ANY, match=RawMatch(match_bytes(flow.packet_terms())),
                             instructions=encode_instructions(flow.actions))


def packet_out(datapath, data: bytes, actions: list):
    """Return the message that sends a packet through actions (Ryu's), as if it came by the bridge's LOCAL port.

    With in_port CONTROLLER Open vSwitch 3.1 loses a packet that crosses a patch port and is recirculated behind it (by
    the connection tracker of a service router): it resumes a packet where a port without a peer brought it in.
    """
    return parser.OFPPacketOut(datapath, buffer_id=NO_BUFFER, match=parser.OFPMatch(in_port=ofp.OFPP_LOCAL),
                               actions=actions, data=data)
