"""Requests and answers on one OpenFlow connection: waits in the calling green thread, matches replies by xid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eventlet.event import Event
from eventlet.timeout import Timeout

from controller.compile.text import flow_text
from controller.openflow import encode
from controller.openflow.entries import FlowEntry, GroupEntry, installed_flow, installed_group
from controller.pipeline.groups import name_of
from controller.reconcile.diff import Change

ofp = encode.ofp
parser = encode.parser

ANSWER_TIMEOUT = 30
"""Seconds to wait for a switch before its connection counts as stuck."""


class ChannelError(Exception):
    """The switch did not answer, or the connection is gone."""


@dataclass(frozen=True)
class Rejection:
    """A message that the switch refused: what it was for, and the error it gave."""

    what: str
    error: str


class Rejected(Exception):
    """The switch refused a change as a whole; ``rejections`` name the messages that it did not like."""

    def __init__(self, rejections: tuple[Rejection, ...]):
        super().__init__("; ".join(f"{rejection.what}: {rejection.error}" for rejection in rejections))
        self.rejections = rejections


class Channel:
    """One OpenFlow 1.5 connection to a bridge.  ``deliver`` is fed every reply and error that arrives on it."""

    def __init__(self, datapath):
        self.datapath = datapath
        self._waiting: dict[int, tuple[list, Event]] = {}
        self._bundle_errors: dict[int, str] = {}
        self._bundle = 0

    def deliver(self, message) -> bool:
        """Take a reply or error message; False if nobody waits for its xid."""
        if isinstance(message, parser.OFPErrorMsg) and message.xid in self._bundle_errors:
            self._bundle_errors[message.xid] = error_text(message)
            return True
        waiter = self._waiting.get(message.xid)
        if waiter is None:
            return False
        parts, done = waiter
        parts.append(message)
        if not getattr(message, "flags", 0) & ofp.OFPMPF_REPLY_MORE or not isinstance(message,
                                                                                     parser.OFPMultipartReply):
            if not done.ready():
                done.send(None)
        return True

    def request(self, message) -> list:
        """Send a message and return the messages that answer it.

        Raises ChannelError when no answer comes or the answer is an error.
        """
        self.datapath.set_xid(message)
        parts: list = []
        done = Event()
        self._waiting[message.xid] = parts, done
        try:
            if self.datapath.send_msg(message) is False:
                raise ChannelError("the connection is closed")
            with Timeout(ANSWER_TIMEOUT, ChannelError(f"no answer to {type(message).__name__}")):
                done.wait()
        finally:
            del self._waiting[message.xid]
        if isinstance(parts[-1], parser.OFPErrorMsg):
            raise ChannelError(f"{type(message).__name__} refused: {error_text(parts[-1])}")
        return parts

    def ports(self) -> dict[str, int]:
        """Return the bridge's ports: name to OpenFlow port number; the local port is there under the bridge's name."""
        replies = self.request(parser.OFPPortDescStatsRequest(self.datapath, 0, ofp.OFPP_ANY))
        return {port.name.decode(): port.port_no for reply in replies for port in reply.body}

    def flows(self) -> list[FlowEntry]:
        """Return every flow of the bridge."""
        replies = self.request(parser.OFPFlowDescStatsRequest(self.datapath))
        return [installed_flow(stats) for reply in replies for stats in reply.body]

    def groups(self) -> list[GroupEntry]:
        """Return every group of the bridge."""
        replies = self.request(parser.OFPGroupDescStatsRequest(self.datapath, group_id=ofp.OFPG_ALL))
        return [installed_group(stats) for reply in replies for stats in reply.body]

    def apply(self, change: Change, round_: int) -> None:
        """Carry a change out, whole or not at all.

        The barrier before the commit is what makes it whole: Open vSwitch refuses a bad message when it is added to the
        bundle, and would commit the rest.  Raises Rejected with what the switch refused, or ChannelError.
        """
        self._bundle += 1
        flags = ofp.OFPBF_ATOMIC | ofp.OFPBF_ORDERED
        labels: dict[int, str] = {}
        self.request(self._control(ofp.OFPBCT_OPEN_REQUEST, flags))
        try:
            for what, message in self._messages(change, round_):
                add = parser.OFPBundleAddMsg(self.datapath, self._bundle, flags, message, [])
                self.datapath.set_xid(add)
                labels[add.xid] = what
                self._bundle_errors[add.xid] = ""
                self.datapath.send_msg(add)
            self.request(parser.OFPBarrierRequest(self.datapath))
            rejections = tuple(Rejection(labels[xid], self._bundle_errors[xid]) for xid in labels
                               if self._bundle_errors[xid])
            if rejections:
                self.request(self._control(ofp.OFPBCT_DISCARD_REQUEST, flags))
                raise Rejected(rejections)
            try:
                self.request(self._control(ofp.OFPBCT_COMMIT_REQUEST, flags))
            except ChannelError as error:
                raise Rejected(tuple(Rejection(labels[xid], text) for xid, text in self._bundle_errors.items()
                                     if xid in labels and text)
                               or (Rejection("the bundle as a whole", str(error)),)) from error
        finally:
            for xid in labels:
                self._bundle_errors.pop(xid, None)

    def _control(self, kind: int, flags: int):
        return parser.OFPBundleCtrlMsg(self.datapath, self._bundle, kind, flags, [])

    def _messages(self, change: Change, round_: int) -> Iterable[tuple[str, object]]:
        """Groups come before the flows that use them, and go after these are gone."""
        for group in change.groups_added:
            yield f"add group {name_of(group.group_id)}", encode.group_mod(self.datapath, group, ofp.OFPGC_ADD)
        for group in change.groups_modified:
            yield f"modify group {name_of(group.group_id)}", encode.group_mod(self.datapath, group, ofp.OFPGC_MODIFY)
        for entry in change.flows_deleted:
            yield (f"delete flow of table {entry.key.table}, priority {entry.key.priority}",
                   encode.flow_delete(self.datapath, entry.key.table, entry.key.priority, entry.raw_match))
        for flow in change.flows_put:
            yield f"flow {flow_text(flow)}", encode.flow_add(self.datapath, flow, round_)
        for group_id in change.groups_deleted:
            yield f"delete group {name_of(group_id)}", encode.group_delete(self.datapath, group_id)


def error_text(message) -> str:
    """Name of the error in an OpenFlow error message."""
    kind = ofp.ofp_error_type_to_str(message.type)
    code = ofp.ofp_error_code_to_str(message.type, message.code)
    return f"{kind} {code}"
