"""The switch's side of OpenFlow 1.5 over TCP, made of bytes only, so that it shares no code with the controller."""

from __future__ import annotations

import socket
import struct
import threading
from dataclasses import dataclass

from tests.process.waiting import wait_until

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY = 0, 1, 2, 3
FEATURES_REQUEST, FEATURES_REPLY, GET_CONFIG_REQUEST, GET_CONFIG_REPLY, SET_CONFIG = 5, 6, 7, 8, 9
FLOW_MOD, GROUP_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = 14, 15, 18, 19
BARRIER_REQUEST, BARRIER_REPLY, ROLE_REQUEST, ROLE_REPLY = 20, 21, 24, 25
BUNDLE_CONTROL, BUNDLE_ADD_MESSAGE = 33, 34
MP_DESC, MP_FLOW_DESC, MP_GROUP_DESC, MP_PORT_DESC = 0, 1, 7, 13
BUNDLE_OPEN_REQUEST, BUNDLE_COMMIT_REQUEST = 0, 4
BUNDLE_FAILED, MESSAGE_FAILED = 17, 13
LOCAL_PORT = 0xFFFFFFFE


@dataclass(frozen=True)
class Message:
    """A message received from the controller; ``body`` is what follows the header."""

    version: int
    kind: int
    xid: int
    body: bytes


def flow_description(flow_mod: bytes) -> bytes:
    """Make the body of an OFPFC_ADD into the ``ofp_flow_desc`` of that flow."""
    cookie, _, table, command, idle, hard, priority, _, _, _, flags, importance = struct.unpack_from(
        "!QQBBHHHIIIHH", flow_mod
    )
    assert command == 0, f"this switch can only add flows, not {command}"
    (match_length,) = struct.unpack_from("!H", flow_mod, 42)
    end_of_match = 40 + (match_length + 7) // 8 * 8
    no_statistics = struct.pack("!HH4x", 0, 4)
    rest = flow_mod[40:end_of_match] + no_statistics + flow_mod[end_of_match:]
    head = struct.pack("!H2xBxHHHHHQ", 24 + len(rest), table, priority, idle, hard, flags, importance, cookie)
    return head + rest


def group_description(group_mod: bytes) -> bytes:
    """Make the body of an OFPGC_ADD into the ``ofp_group_desc`` of that group."""
    command, kind, group, buckets_length, _ = struct.unpack_from("!HBxIH2xI", group_mod)
    assert command == 0, f"this switch can only add groups, not {command}"
    rest = group_mod[16:]
    return struct.pack("!HBxIH6x", 16 + len(rest), kind, group, buckets_length) + rest


class FakeSwitch:
    """Connects to a controller and answers it; a context manager.

    It has the ports ``ports`` (number to name), and the flows and groups that were added in a committed bundle, and
    shows them as it was given them.  ``messages`` is what the controller sent.
    While ``silent`` is True it answers nothing at all, while ``refusing`` is True it refuses to commit bundles.
    """

    def __init__(self, port: int, datapath_id: int, ports: dict[int, str] | None = None) -> None:
        self.messages: list[Message] = []
        self.silent = False
        self.refusing = False
        self.closed = False
        self._flows: list[bytes] = []
        self._groups: list[bytes] = []
        self._bundle: list[bytes] = []
        self._datapath_id = datapath_id
        self._ports = ports or {}
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeSwitch:
        self._send(HELLO, 1, struct.pack("!HHI", 1, 8, 1 << 6))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(10)
        self._socket.close()

    def wait_for(self, kind: int, after: int = 0, timeout: float = 20.0) -> Message:
        """Return the first message of a kind among those from number ``after`` on."""
        return wait_until(
            lambda: next((message for message in self.messages[after:] if message.kind == kind), None),
            f"a message of type {kind}",
            timeout,
        )

    def wait_closed(self, timeout: float = 20.0) -> None:
        """Wait until the controller has closed the connection."""
        wait_until(lambda: self.closed, "the controller to close the connection", timeout)

    def _serve(self) -> None:
        stream = self._socket.makefile("rb")
        try:
            while len(header := stream.read(8)) == 8:
                version, kind, length, xid = struct.unpack("!BBHI", header)
                message = Message(version, kind, xid, stream.read(length - 8))
                self.messages.append(message)
                if not self.silent:
                    self._answer(message)
        except OSError:
            pass
        self.closed = True

    def _answer(self, message: Message) -> None:
        body, xid = message.body, message.xid
        if message.kind == ECHO_REQUEST:
            self._send(ECHO_REPLY, xid, body)
        elif message.kind == FEATURES_REQUEST:
            self._send(FEATURES_REPLY, xid, struct.pack("!QIBB2xII", self._datapath_id, 0, 254, 0, 0, 0))
        elif message.kind == GET_CONFIG_REQUEST:
            self._send(GET_CONFIG_REPLY, xid, struct.pack("!HH", 0, 0xFFFF))
        elif message.kind == BARRIER_REQUEST:
            self._send(BARRIER_REPLY, xid)
        elif message.kind == ROLE_REQUEST:
            self._send(ROLE_REPLY, xid, body)
        elif message.kind == BUNDLE_CONTROL:
            bundle, step, flags = struct.unpack("!IHH", body[:8])
            if step == BUNDLE_COMMIT_REQUEST and self.refusing:
                self._send(ERROR, xid, struct.pack("!HH", BUNDLE_FAILED, MESSAGE_FAILED) + body[:56])
                return
            if step == BUNDLE_COMMIT_REQUEST:
                self._commit()
            self._send(BUNDLE_CONTROL, xid, struct.pack("!IHH", bundle, step + 1, flags))
        elif message.kind == BUNDLE_ADD_MESSAGE:
            self._bundle.append(body[8:])
        elif message.kind == MULTIPART_REQUEST:
            self._answer_multipart(message)

    def _commit(self) -> None:
        for message in self._bundle:
            kind, body = message[1], message[8:]
            if kind == FLOW_MOD:
                self._flows.append(flow_description(body))
            elif kind == GROUP_MOD:
                self._groups.append(group_description(body))
        self._bundle.clear()

    def _answer_multipart(self, message: Message) -> None:
        (kind,) = struct.unpack_from("!H", message.body)
        body = b""
        if kind == MP_PORT_DESC:
            body = b"".join(self._port(number, name) for number, name in self._ports.items())
        elif kind in (MP_FLOW_DESC, MP_GROUP_DESC):
            body = b"".join(self._flows if kind == MP_FLOW_DESC else self._groups)
        elif kind == MP_DESC:
            body = struct.pack("!256s256s256s32s256s", b"", b"", b"", b"", b"")
        self._send(MULTIPART_REPLY, message.xid, struct.pack("!HH4x", kind, 0) + body)

    @staticmethod
    def _port(number: int, name: str) -> bytes:
        address = bytes([2, 0, 0, 0, 0, number & 0xFF])
        live = 4
        return struct.pack("!IH2x6s2x16sII", number, 40, address, name.encode(), 0, live)

    def _send(self, kind: int, xid: int, body: bytes = b"") -> None:
        self._socket.sendall(struct.pack("!BBHI", 6, kind, 8 + len(body), xid) + body)
