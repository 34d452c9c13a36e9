"""What is read back from a real Open vSwitch is what was sent, and nothing that a switch says can hang the parsers."""

from __future__ import annotations

import struct
import subprocess
import sys
from typing import Any, Iterator

import pytest
from ryu.exception import OFPMalformedMessage
from ryu.ofproto import ofproto_parser, ofproto_v1_5
from ryu.ofproto.ofproto_protocol import ProtocolDesc

from controller import compat
from tests.process.openflow_client import OpenFlowClient
from tests.process.private_ovs import PrivateOvs

ETH_IPV4, ETH_IPV6, TCP, ICMPV6 = 0x0800, 0x86DD, 6, 58
TRACKED_ESTABLISHED = (0x22, 0x32)  # +trk+est-inv
MULTIPART_REPLY = 19


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateOvs]:
    with PrivateOvs(tmp_path_factory.mktemp("ovs")) as ovs:
        yield ovs


@pytest.fixture
def client(switch: PrivateOvs) -> Iterator[OpenFlowClient]:
    path = switch.add_bridge("br0")
    with OpenFlowClient(path) as opened:
        yield opened
    switch.run("ovs-vsctl", "--timeout=10", "del-br", "br0")


def apply(client: OpenFlowClient, *actions: Any) -> list[Any]:
    return [client.parser.OFPInstructionActions(client.ofproto.OFPIT_APPLY_ACTIONS, list(actions))]


def wire(instructions: list[Any]) -> bytes:
    buf = bytearray()
    for instruction in instructions:
        instruction.serialize(buf, len(buf))
    return bytes(buf)


@pytest.mark.parametrize(
    "match",
    [
        {"eth_type": ETH_IPV4, "ct_nw_src": "10.0.0.1", "ct_nw_dst": ("10.0.1.0", "255.255.255.0")},
        {"eth_type": ETH_IPV4, "ct_nw_proto": TCP, "ct_tp_src": 4242, "ct_tp_dst": (0x1F40, 0xFFF0)},
        {"eth_type": ETH_IPV6, "ct_ipv6_src": "2001:db8::1", "ct_ipv6_dst": ("2001:db8::", "ffff:ffff::")},
    ],
)
def test_original_tuple_of_a_connection_can_be_matched(client: OpenFlowClient, match: dict[str, Any]) -> None:
    match = match | {"ct_state": TRACKED_ESTABLISHED}

    assert client.add_flow(client.parser.OFPMatch(**match), [], priority=7) == []

    (flow,) = client.flows()
    assert not flow.unparsed
    assert dict(flow.match.items()) == match
    assert flow.raw_instructions == b""


def test_neighbour_advertisement_can_be_made_of_a_solicitation(client: OpenFlowClient) -> None:
    fields = [{"icmpv6_type": 136}, {"nd_options_type": 2}, {"nd_reserved": 0xE0000000}]
    solicitation = {"eth_type": ETH_IPV6, "ip_proto": ICMPV6, "icmpv6_type": 135, "icmpv6_code": 0}
    instructions = apply(client, *(client.parser.OFPActionSetField(**field) for field in fields))

    assert client.add_flow(client.parser.OFPMatch(**solicitation), instructions) == []

    (flow,) = client.flows()
    assert not flow.unparsed
    assert flow.raw_instructions == wire(instructions)
    assert [{action.key: action.value} for action in flow.instructions[0].actions] == fields


def test_a_field_without_its_prerequisite_is_refused(client: OpenFlowClient) -> None:
    match = client.parser.OFPMatch(eth_type=ETH_IPV4, ct_nw_src="10.0.0.1")

    (error,) = client.add_flow(match, [])

    assert (error.type, error.code) == (client.ofproto.OFPET_BAD_MATCH, client.ofproto.OFPBMC_BAD_PREREQ)
    assert client.flows() == []


def test_raw_match_is_the_fields_without_header_and_padding(client: OpenFlowClient) -> None:
    assert client.add_flow(client.parser.OFPMatch(in_port=7, eth_type=ETH_IPV4), [], cookie=5, table_id=3) == []

    (flow,) = client.flows()

    assert flow.raw_match == bytes.fromhex("80000004 00000007 80000a02 0800")
    assert (flow.cookie, flow.table_id) == (5, 3)


@pytest.mark.parametrize(
    "actions",
    ["move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],output:1", "output:1,move:NXM_OF_IP_SRC[]->NXM_NX_REG1[]"],
)
def test_an_action_that_ryu_cannot_parse_hides_no_other_flow(
    switch: PrivateOvs, client: OpenFlowClient, actions: str
) -> None:
    goto = [client.parser.OFPInstructionGotoTable(9)]
    assert client.add_flow(client.parser.OFPMatch(), goto, priority=1) == []
    switch.ofctl("add-flow", "br0", f"priority=2,ip,actions={actions}")

    flows = {flow.priority: flow for flow in client.flows()}

    assert sorted(flows) == [1, 2]
    assert not flows[1].unparsed and flows[1].raw_instructions == wire(goto)
    assert flows[2].unparsed and flows[2].instructions == []
    assert dict(flows[2].match.items()) == {"eth_type": ETH_IPV4}
    assert flows[2].raw_instructions[:2] == struct.pack("!H", client.ofproto.OFPIT_APPLY_ACTIONS)
    assert struct.pack("!HH", client.ofproto.OFPAT_COPY_FIELD, 24) in flows[2].raw_instructions


def test_groups_are_read_back_bucket_by_bucket(switch: PrivateOvs, client: OpenFlowClient) -> None:
    switch.ofctl(
        "add-group",
        "br0",
        "group_id=3,type=select,selection_method=hash,fields(ip_dst),"
        "bucket=bucket_id:1,weight:100,actions=set_field:1->reg1,output:1,"
        "bucket=bucket_id:2,weight:50,actions=output:2",
    )
    switch.ofctl(
        "add-group",
        "br0",
        "group_id=4,type=ff,bucket=bucket_id:8,watch_port:1,actions=output:1,"
        "bucket=bucket_id:9,watch_port:2,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],output:2",
    )

    groups = {group.group_id: group for group in client.groups()}

    select, failover = groups[3], groups[4]
    assert not select.unparsed
    assert [bucket.bucket_id for bucket in select.buckets] == [1, 2]
    assert [len(bucket.actions) for bucket in select.buckets] == [2, 1]
    assert [bucket.properties[0].weight for bucket in select.buckets] == [100, 50]
    assert [prop.experimenter for prop in select.properties] == [0x154D]
    assert select.raw_properties[16:32] == b"hash".ljust(16, b"\0")
    output2 = struct.pack("!HHIH6x", client.ofproto.OFPAT_OUTPUT, 16, 2, 0)
    weight50 = struct.pack("!HHHxx", client.ofproto.OFPGBPT_WEIGHT, 8, 50)
    assert select.raw_buckets[1] == (2, output2, weight50)

    assert failover.unparsed and failover.buckets == []
    assert [bucket_id for bucket_id, _, _ in failover.raw_buckets] == [8, 9]
    assert failover.raw_properties == b""


def flow_entry(length: int | None = None, instructions: bytes = b"") -> bytes:
    """An ``ofp_flow_desc`` with an empty match and no statistics; ``length`` overrides the right one."""
    right = 24 + 8 + 8 + len(instructions)
    header = struct.pack("!H2xBxHHHHHQ", right if length is None else length, 0, 1, 0, 0, 0, 0, 0)
    return header + struct.pack("!HH4x", 1, 4) + struct.pack("!HH4x", 0, 4) + instructions


def group_entry(buckets: bytes, properties: bytes = b"", length: int | None = None) -> bytes:
    """An ``ofp_group_desc``; ``length`` overrides the right one."""
    right = 16 + len(buckets) + len(properties)
    return struct.pack("!HBxIH6x", right if length is None else length, 1, 5, len(buckets)) + buckets + properties


def parse_reply(kind: int, body: bytes) -> Any:
    compat.patch_parsers()
    compat.register_fields()
    length = 16 + len(body)
    message = struct.pack("!BBHIHH4x", 6, MULTIPART_REPLY, length, 1, kind, 0) + body
    datapath = ProtocolDesc(version=ofproto_v1_5.OFP_VERSION)
    return ofproto_parser.msg(datapath, 6, MULTIPART_REPLY, length, 1, message)


def logged_exception(caplog: pytest.LogCaptureFixture) -> type[BaseException] | None:
    """Why Ryu dropped a message: its bare ``except`` swallows anything, even the end of the test's time."""
    (record,) = caplog.records
    return record.exc_info[0] if record.exc_info else None


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(flow_entry(length=0), id="length zero"),
        pytest.param(flow_entry(length=23), id="shorter than the header"),
        pytest.param(flow_entry(length=400), id="longer than the message"),
        pytest.param(flow_entry() + flow_entry(length=0), id="second entry of length zero"),
    ],
)
def test_a_malformed_flow_description_is_dropped(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert parse_reply(ofproto_v1_5.OFPMP_FLOW_DESC, body) is None
    assert logged_exception(caplog) is OFPMalformedMessage


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "instructions",
    [
        pytest.param(struct.pack("!HH4x", 4, 0), id="instruction of length zero"),
        pytest.param(struct.pack("!HH4xHH4x", 4, 16, 0, 0), id="action of length zero"),
        pytest.param(struct.pack("!HH4xHH4x", 4, 16, 0, 64), id="action longer than its instruction"),
        pytest.param(struct.pack("!HH4x", 99, 8), id="unknown instruction"),
        pytest.param(struct.pack("!HH4xHH4x", 4, 16, 99, 8), id="unknown action"),
    ],
)
def test_instructions_that_make_no_sense_are_kept_raw(instructions: bytes) -> None:
    reply = parse_reply(ofproto_v1_5.OFPMP_FLOW_DESC, flow_entry(instructions=instructions) + flow_entry())

    strange, plain = reply.body
    assert strange.unparsed and strange.instructions == [] and strange.raw_instructions == instructions
    assert not plain.unparsed


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(group_entry(struct.pack("!HHI", 0, 0, 1)), id="bucket of length zero"),
        pytest.param(group_entry(struct.pack("!HHI", 8, 16, 1)), id="actions longer than the bucket"),
        pytest.param(group_entry(b"\0" * 4), id="half a bucket header"),
        pytest.param(group_entry(b"", length=0), id="group of length zero"),
    ],
)
def test_a_malformed_group_description_is_dropped(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert parse_reply(ofproto_v1_5.OFPMP_GROUP_DESC, body) is None
    assert logged_exception(caplog) is OFPMalformedMessage


@pytest.mark.timeout(20)
def test_group_properties_that_make_no_sense_are_kept_raw() -> None:
    endless = struct.pack("!HH4x", 0xFFFF, 0)
    bucket = struct.pack("!HHI", 8, 0, 1)

    (group,) = parse_reply(ofproto_v1_5.OFPMP_GROUP_DESC, group_entry(bucket, endless)).body

    assert group.unparsed and group.properties == [] and group.raw_properties == endless
    assert group.raw_buckets == [(1, b"", b"")]


@pytest.mark.timeout(20)
def test_a_hello_element_of_length_zero_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    compat.patch_parsers()
    message = struct.pack("!BBHIHH", 6, 0, 12, 1, 9, 0)
    assert ofproto_parser.msg(ProtocolDesc(version=6), 6, 0, 12, 1, message) is None
    assert logged_exception(caplog) is OFPMalformedMessage


def test_the_same_group_description_hangs_ryu_as_it_is() -> None:
    """Negative control: it is the patch that ends the parsing, so keep it until Ryu can do without."""
    bucket = struct.pack("!HHIHHHxx", 16, 0, 1, 0, 8, 50)
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (3, 3))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from ryu.ofproto import ofproto_v1_5_parser as ofp\n"
        f"ofp.OFPGroupDescStats.parser(bytes.fromhex({group_entry(bucket * 2).hex()!r}), 0)\n"
    )

    stock = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    patched = script.replace("ofp.OFPG", "__import__('controller.compat').compat.patch_parsers(); ofp.OFPG")
    ours = subprocess.run([sys.executable, "-c", patched], capture_output=True, timeout=60)

    assert stock.returncode != 0
    assert ours.returncode == 0, ours.stderr
