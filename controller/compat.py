"""Everything that Ryu 4.34 needs to run on today's Python and to tell the truth about an OpenFlow 1.5 switch.

Ryu is no longer maintained, so its defects are mended here, and only here:

* ``prepare_eventlet`` - Ryu imports a name that eventlet removed in 0.30.3;
* ``patch_parsers`` - reading back flows and groups: the bytes as the switch sent them, no endless loops
  (faucetsdn/ryu#188 to #194), and one strange action does not lose the whole reply;
* ``register_fields`` - match fields of Open vSwitch that Ryu does not know;
* ``patch_ofctl_rest`` - the flow listing of Ryu's own REST application.

``prepare_eventlet`` and ``patch_ofctl_rest`` belong to the launcher; the other two change nothing but tables and
classes of ``ryu.ofproto``, can be called again, and are what tests and tools call that use Ryu's messages without a
running controller.
"""

from __future__ import annotations

import struct
import warnings
from typing import Any, Callable

MIN_ACTION = 8
MIN_PROPERTY = 4
MIN_HELLO_ELEMENT = 4

OXM_CLASS_ERICSSON = 0x1000

RAW = ("raw_match", "raw_instructions", "raw_buckets", "raw_properties")


def prepare_eventlet() -> None:
    """Make the standard library cooperative and eventlet fit for Ryu; to be called before anything imports Ryu.

    ``ALREADY_HANDLED`` must be an empty iterable: with None or a bare object a closing WebSocket gets an error page.
    Listening sockets lose eventlet's default SO_REUSEPORT, with which a second controller would silently share the
    ports of the first one instead of failing.
    """
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import functools

    import eventlet

    eventlet.monkey_patch()
    import eventlet.wsgi

    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        eventlet.wsgi.ALREADY_HANDLED = ()
    if not isinstance(eventlet.listen, functools.partial):
        eventlet.listen = functools.partial(eventlet.listen, reuse_port=False)


def register_fields() -> None:
    """Teach Ryu's OpenFlow 1.5 the match fields of Open vSwitch that it lacks.

    Original direction tuple of a tracked connection (NXM class 1): ``ct_nw_proto``, ``ct_nw_src``, ``ct_nw_dst``,
    ``ct_ipv6_src``, ``ct_ipv6_dst``, ``ct_tp_src``, ``ct_tp_dst``.  Neighbour discovery (class 0x1000):
    ``nd_reserved`` (flags word of an advertisement) and ``nd_options_type``.
    Numbers: Open vSwitch 3.1, ``include/openvswitch/meta-flow.h``.
    """
    from ryu.lib import type_desc
    from ryu.ofproto import ofproto_v1_5, oxm_fields

    class EricssonExtended(oxm_fields._OxmClass):
        _class = OXM_CLASS_ERICSSON

    nicira = oxm_fields.NiciraExtended1
    fields = (
        nicira("ct_nw_proto", 119, type_desc.Int1),
        nicira("ct_nw_src", 120, type_desc.IPv4Addr),
        nicira("ct_nw_dst", 121, type_desc.IPv4Addr),
        nicira("ct_ipv6_src", 122, type_desc.IPv6Addr),
        nicira("ct_ipv6_dst", 123, type_desc.IPv6Addr),
        nicira("ct_tp_src", 124, type_desc.Int2),
        nicira("ct_tp_dst", 125, type_desc.Int2),
        EricssonExtended("nd_reserved", 1, type_desc.Int4),
        EricssonExtended("nd_options_type", 2, type_desc.Int1),
    )
    known = {field.name for field in ofproto_v1_5.oxm_types}
    missing = [field for field in fields if field.name not in known]
    if missing:
        ofproto_v1_5.oxm_types.extend(missing)
        oxm_fields.generate(ofproto_v1_5.__name__)


def patch_parsers() -> None:
    """Replace Ryu's OpenFlow 1.5 parsers of what is read back from a switch.

    Entries of a flow description reply (``OFPFlowDescStatsReply.body``) get ``raw_match`` (the OXM fields, without
    header and padding), ``raw_instructions`` and ``unparsed``; those of a group description reply get ``raw_buckets``
    (a list of bucket_id, action bytes, property bytes), ``raw_properties`` and ``unparsed``.  Where Ryu cannot parse
    a part, ``unparsed`` is True, ``instructions`` (or ``buckets`` and ``properties``) is [], and the rest stands.
    A reply whose own structure is wrong, such as an entry of length zero, raises ``OFPMalformedMessage``, upon which
    Ryu logs it and drops the message.
    """
    from ryu.ofproto import ofproto_v1_3_parser, ofproto_v1_4_parser, ofproto_v1_5_parser

    ofp = ofproto_v1_5_parser
    if getattr(ofp.OFPFlowDesc, "saga_patched", False):
        return
    ofp.OFPFlowDesc.saga_patched = True
    for described in (ofp.OFPFlowDesc, ofp.OFPGroupDescStats):
        described._base_attributes = [*described._base_attributes, *RAW]  # not for str() and JSON, which take no bytes
    ofp.OFPAction.parser = classmethod(_bounded(ofp.OFPAction.parser.__func__))
    ofp.OFPInstruction.parser = classmethod(_bounded(ofp.OFPInstruction.parser.__func__))
    for base in (ofp.OFPPropBase, ofp.OFPActionId, ofp.OFPInstructionId):
        base.parse = classmethod(_progressing(base.parse.__func__))
    for module in (ofproto_v1_3_parser, ofproto_v1_4_parser, ofproto_v1_5_parser):
        module.OFPHello.parser = classmethod(_checked_hello(module.OFPHello.parser.__func__))
        module._MSG_PARSERS[module.OFPHello.cls_msg_type] = module.OFPHello.parser
    ofp.OFPMeterBandHeader.parser = classmethod(_bounded(ofp.OFPMeterBandHeader.parser.__func__))
    ofp.OFPBucket.parser = classmethod(_parse_bucket)
    ofp.OFPFlowDesc.parser = classmethod(_parse_flow_desc)
    ofp.OFPGroupDescStats.parser = classmethod(_parse_group_desc)


def patch_ofctl_rest() -> None:
    """Let ``/stats/flow`` and ``/stats/flowdesc`` of ``ryu.app.ofctl_rest`` list the flows of an OpenFlow 1.5 switch.

    Both ask for OFPMP_FLOW_STATS, which Open vSwitch does not have (it knows OFPMP_FLOW_DESC), and the application does
    not listen for the reply to the other.
    """
    from ryu.app import ofctl_rest
    from ryu.controller import handler, ofp_event
    from ryu.lib import ofctl_v1_5

    ofctl_v1_5.get_flow_stats = ofctl_v1_5.get_flow_desc_stats
    listen = handler.set_ev_cls(ofp_event.EventOFPFlowDescStatsReply, handler.MAIN_DISPATCHER)
    listen(ofctl_rest.RestStatsApi.stats_reply_handler)


def _malformed(why: str) -> Exception:
    from ryu import exception

    return exception.OFPMalformedMessage(msg=why)


def _slice(buf: bytes, start: int, length: int, minimum: int, what: str) -> bytes:
    """Return the ``length`` bytes at ``start``; OFPMalformedMessage if too short for ``what`` or beyond the end."""
    if length < minimum or start + length > len(buf):
        raise _malformed(f"{what} of length {length} at byte {start} of {len(buf)}")
    return bytes(buf[start : start + length])


def _bounded(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a parser of type-length-value structures: it sees only its own bytes and moves on by their number."""

    def parser(cls: type, buf: bytes, offset: int) -> Any:
        (length,) = struct.unpack_from("!H", buf, offset + 2)
        parsed = parse(cls, _slice(buf, offset, length, MIN_ACTION, cls.__name__), 0)
        parsed.len = length
        return parsed

    return parser


def _progressing(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a parser that returns (object, rest): the structure must have a length that moves it on."""

    def parser(cls: type, buf: bytes) -> Any:
        (length,) = struct.unpack_from("!H", buf, 2)
        _slice(buf, 0, length, MIN_PROPERTY, cls.__name__)
        return parse(cls, buf)

    return parser


def _checked_hello(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the parser of OFPT_HELLO, whose loop over the elements trusts their lengths."""

    def parser(cls: type, datapath: Any, version: int, msg_type: int, msg_len: int, xid: int, buf: bytes) -> Any:
        offset = 8
        while offset < msg_len:
            (length,) = struct.unpack_from("!H", buf, offset + 2)
            if length < MIN_HELLO_ELEMENT:
                raise _malformed(f"hello element of length {length}")
            offset += length
        return parse(cls, datapath, version, msg_type, msg_len, xid, buf)

    return parser


def _attempt(parse: Callable[[], Any]) -> tuple[Any, bool]:
    """Return what ``parse`` returns and True; or None and False when Ryu cannot parse it, for whatever reason."""
    try:
        return parse(), True
    except Exception:  # Ryu's parsers raise anything, from AssertionError to struct.error and plain Exception
        return None, False


def _parse_all(parser: Callable[[bytes, int], Any], data: bytes) -> list[Any]:
    """Parse a sequence of structures that carry their length in ``len``."""
    parsed, offset = [], 0
    while offset < len(data):
        parsed.append(parser(data, offset))
        offset += parsed[-1].len
    return parsed


def _parse_properties(base: type, data: bytes) -> list[Any]:
    """Parse a sequence of properties of the family ``base``."""
    parsed = []
    while data:
        prop, data = base.parse(data)
        parsed.append(prop)
    return parsed


def _parse_flow_desc(cls: type, buf: bytes, offset: int) -> Any:
    """Parse one ``ofp_flow_desc`` (OpenFlow 1.5.1, section 7.3.5.2): header, match, statistics, instructions."""
    from ryu.ofproto import ofproto_v1_5 as ofproto
    from ryu.ofproto import ofproto_v1_5_parser as ofp

    (length,) = struct.unpack_from("!H", buf, offset)
    entry = _slice(buf, offset, length, ofproto.OFP_FLOW_DESC_0_SIZE + 16, "flow description")
    flow = cls()
    (
        flow.length,
        flow.table_id,
        flow.priority,
        flow.idle_timeout,
        flow.hard_timeout,
        flow.flags,
        flow.importance,
        flow.cookie,
    ) = struct.unpack_from(ofproto.OFP_FLOW_DESC_0_PACK_STR, entry, 0)

    match_at = ofproto.OFP_FLOW_DESC_0_SIZE
    match_len, stats_at = _padded_part(entry, match_at, "match")
    _, instructions_at = _padded_part(entry, stats_at, "flow statistics")
    flow.raw_match = entry[match_at + 4 : match_at + match_len]
    flow.raw_instructions = entry[instructions_at:]

    match, match_ok = _attempt(lambda: ofp.OFPMatch.parser(entry[:stats_at], match_at))
    stats, stats_ok = _attempt(lambda: ofp.OFPStats.parser(entry[:instructions_at], stats_at))
    instructions, instructions_ok = _attempt(lambda: _parse_all(ofp.OFPInstruction.parser, flow.raw_instructions))
    flow.match = match if match_ok else ofp.OFPMatch()
    flow.stats = stats if stats_ok else ofp.OFPStats()
    flow.instructions = instructions if instructions_ok else []
    flow.unparsed = not (match_ok and stats_ok and instructions_ok)
    return flow


def _padded_part(entry: bytes, start: int, what: str) -> tuple[int, int]:
    """Return the length of the part at ``start`` (type or reserved, length, contents) and where the next one starts."""
    _slice(entry, start, 4, 4, what)
    (length,) = struct.unpack_from("!H", entry, start + 2)
    _slice(entry, start, length, 4, what)
    end = start + (length + 7) // 8 * 8
    if end > len(entry):
        raise _malformed(f"padding of {what} ends at byte {end} of {len(entry)}")
    return length, end


def _split_bucket(data: bytes) -> tuple[int, int, bytes, bytes]:
    """Split the bucket at the start of ``data`` into its length, bucket_id, action bytes and property bytes."""
    from ryu.ofproto import ofproto_v1_5 as ofproto

    header = ofproto.OFP_BUCKET_SIZE
    _slice(data, 0, header, header, "bucket header")
    length, actions_len, bucket_id = struct.unpack_from(ofproto.OFP_BUCKET_PACK_STR, data, 0)
    bucket = _slice(data, 0, length, header + actions_len, "bucket")
    return length, bucket_id, bucket[header : header + actions_len], bucket[header + actions_len :]


def _parse_bucket(cls: type, buf: bytes, offset: int) -> Any:
    """Parse one ``ofp_bucket``.  Ryu takes its properties from the wrong place and never ends on what is there."""
    from ryu.ofproto import ofproto_v1_5_parser as ofp

    length, bucket_id, actions, properties = _split_bucket(bytes(buf[offset:]))
    bucket = cls(
        bucket_id,
        _parse_all(ofp.OFPAction.parser, actions),
        _parse_properties(ofp.OFPGroupBucketProp, properties),
    )
    bucket.len, bucket.action_array_len = length, len(actions)
    return bucket


def _parse_group_desc(cls: type, buf: bytes, offset: int) -> Any:
    """Parse one ``ofp_group_desc`` (OpenFlow 1.5.1, section 7.3.5.11): header, buckets, properties."""
    from ryu.ofproto import ofproto_v1_5 as ofproto
    from ryu.ofproto import ofproto_v1_5_parser as ofp

    header = ofproto.OFP_GROUP_DESC_STATS_SIZE
    (length,) = struct.unpack_from("!H", buf, offset)
    entry = _slice(buf, offset, length, header, "group description")
    group = cls()
    group.length, group.type, group.group_id, group.bucket_array_len = struct.unpack_from(
        ofproto.OFP_GROUP_DESC_STATS_PACK_STR, entry, 0
    )
    array = _slice(entry, header, group.bucket_array_len, 0, "bucket array")
    group.raw_properties = entry[header + group.bucket_array_len :]
    group.raw_buckets = []
    at = 0
    while at < len(array):
        bucket_len, *bucket = _split_bucket(array[at:])
        group.raw_buckets.append(tuple(bucket))
        at += bucket_len

    buckets, buckets_ok = _attempt(lambda: _parse_all(ofp.OFPBucket.parser, array))
    properties, properties_ok = _attempt(lambda: _parse_properties(ofp.OFPGroupProp, group.raw_properties))
    group.buckets = buckets if buckets_ok else []
    group.properties = properties if properties_ok else []
    group.unparsed = not (buckets_ok and properties_ok)
    return group
