"""A blocking OpenFlow 1.5 client for one bridge: Ryu's messages and parsers, as ``controller.compat`` mends them."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Any

from ryu.ofproto import ofproto_parser, ofproto_v1_5, ofproto_v1_5_parser
from ryu.ofproto.ofproto_protocol import ProtocolDesc

from controller import compat


class OpenFlowClient:
    """Speaks to a bridge over its management socket."""

    def __init__(self, path: Path) -> None:
        compat.patch_parsers()
        compat.register_fields()
        self.datapath = ProtocolDesc(version=ofproto_v1_5.OFP_VERSION)
        self.parser = ofproto_v1_5_parser
        self.ofproto = ofproto_v1_5
        self._xid = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(path))
        self.send(self.parser.OFPHello(self.datapath, [self.parser.OFPHelloElemVersionBitmap([6])]))
        assert self._receive().version == ofproto_v1_5.OFP_VERSION

    def __enter__(self) -> OpenFlowClient:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def send(self, message: Any) -> int:
        """Send a message; return its transaction id."""
        self._xid += 1
        message.set_xid(self._xid)
        message.serialize()
        self._socket.sendall(message.buf)
        return self._xid

    def request(self, message: Any) -> list[Any]:
        """Send a message and a barrier; return the messages that came back before the barrier's reply."""
        self.send(message)
        barrier = self.send(self.parser.OFPBarrierRequest(self.datapath))
        replies = []
        while (reply := self._receive()).xid != barrier:
            replies.append(reply)
        return replies

    def add_flow(self, match: Any, instructions: list[Any], **fields: Any) -> list[Any]:
        """Add a flow; return what the switch says about it (error messages, or nothing)."""
        flow = self.parser.OFPFlowMod(self.datapath, match=match, instructions=instructions, **fields)
        return self.request(flow)

    def flows(self) -> list[Any]:
        """Read back all flows (``OFPFlowDesc``)."""
        request = self.parser.OFPFlowDescStatsRequest(self.datapath, match=self.parser.OFPMatch())
        return [flow for reply in self.request(request) for flow in reply.body]

    def groups(self) -> list[Any]:
        """Read back all groups (``OFPGroupDescStats``)."""
        request = self.parser.OFPGroupDescStatsRequest(self.datapath, 0, self.ofproto.OFPG_ALL)
        return [group for reply in self.request(request) for group in reply.body]

    def _receive(self) -> Any:
        header = self._read(8)
        version, kind, length, xid = struct.unpack("!BBHI", header)
        body = header + self._read(length - 8)
        message = ofproto_parser.msg(self.datapath, version, kind, length, xid, body)
        assert message is not None, f"Ryu cannot parse message of type {kind}: {body.hex()}"
        return message

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            assert part, "the switch closed the connection"
            data += part
        return data
