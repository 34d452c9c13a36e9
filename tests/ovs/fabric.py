"""All bridges of a gateway in one real Open vSwitch, programmed by the real controller.

The datapath is Open vSwitch's own dummy one: the userspace datapath, conntrack included, whose ports are no network
devices, so the tests need no privileges and see nothing but their own packets.  Bridges are wired with patch ports; the
ports to the outside (uplinks and segments) take frames from the test and write what leaves to files.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovs.unixctl.client import UnixctlClient
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import PcapReader

from controller.compile.gateway import bridges, compile_bridge
from controller.compile.values import Program
from controller.model import names
from controller.model.gateway import Gateway
from controller.pipeline.tables import FRAMES, TABLES
from tests.process.manager import Manager
from tests.process.private_ovs import PrivateOvs
from tests.process.waiting import wait_until
from tests.unit.checksums import assert_checksums
from tests.unit.gateways import Document, gateway

PREFIX = "t0"
SLOTS = range(1, 7)
SWITCHES = (names.BACKPLANE, names.PUNT_NORTH, names.PUNT_SOUTH)
SEGMENTS = ("web", "db")

_BRIDGE = re.compile(r'^ *bridge\("(?P<name>[^"]+)"\)$')
_HIT = re.compile(r"^ *(?P<table>\d+)\. (?P<match>.+)$")
_SCORE = re.compile(r"-> bucket (\d+): score (\d+)\n")
_CHOSEN = re.compile(r"-> using bucket (\d+)\n")
_REGISTER = re.compile(r"\b(x*reg\d+)=(0x[0-9a-f]+)")


@dataclass(frozen=True)
class Hit:
    """One flow that a traced packet met: bridge, table, and its match with priority and cookie."""

    bridge: str
    table: str
    match: str


@dataclass(frozen=True)
class Trace:
    """What ``ofproto/trace`` says of a packet."""

    text: str
    hits: tuple[Hit, ...]

    def tables(self, bridge: str) -> list[str]:
        """Names of the tables of a bridge that the packet met, in order."""
        return [hit.table for hit in self.hits if hit.bridge == bridge]

    def bridges(self) -> list[str]:
        """Names of the bridges that the packet met, in order, each once."""
        return list(dict.fromkeys(hit.bridge for hit in self.hits))

    def hit(self, bridge: str, table: str) -> str:
        """Match of the flow that the packet met in a table of a bridge."""
        (match,) = [hit.match for hit in self.hits if (hit.bridge, hit.table) == (bridge, table)]
        return match

    def scores(self) -> dict[int, int]:
        """Scores of the slots in the packet's only choice of an owner."""
        return {int(slot): int(score) for slot, score in _SCORE.findall(self.text)}

    def chosen(self) -> list[int]:
        """Slots chosen by select groups by hash, in order."""
        return [int(slot) for slot in _CHOSEN.findall(self.text)]

    def registers(self) -> dict[str, int]:
        """Registers at the end of the first pass, those that are not zero."""
        final = next(line for line in self.text.splitlines() if line.startswith("Final flow: "))
        return {name: int(value, 16) for name, value in _REGISTER.findall(final)}

    @property
    def datapath_actions(self) -> list[str]:
        """What the datapath does with the packet, pass by pass."""
        lines = self.text.splitlines()
        return [line.removeprefix("Datapath actions: ") for line in lines if line.startswith("Datapath actions: ")]

    @property
    def dropped(self) -> bool:
        """True where the packet goes nowhere in the end."""
        return self.datapath_actions[-1] == "drop"


def _hits(text: str) -> Iterator[Hit]:
    """Yield the flows of a trace, each with the bridge that it is in.

    What a bridge does after it sent a packet to another one is told by the indentation alone.  Packets come back from
    the connection tracker in the order they were sent there, to the bridge that sent them, whatever the headline says.
    """
    numbers = {table.number: table.name for table in TABLES if table is not FRAMES}
    sent_away: deque[str] = deque()
    inside: list[tuple[str, int]] = []
    resumed = False
    for line in text.splitlines():
        if line.startswith("recirc("):
            resumed = True
        elif found := _BRIDGE.match(line):
            if resumed:
                inside = []
            inside.append((sent_away.popleft() if resumed else found["name"], -1))
            resumed = False
        elif found := _HIT.match(line):
            column = line.index(".") - 2
            while column < inside[-1][1]:
                inside.pop()
            bridge = inside[-1][0]
            if inside[-1][1] == -1:
                inside[-1] = bridge, column
            switch = bridge.removeprefix(f"{PREFIX}-") in SWITCHES
            yield Hit(bridge, FRAMES.name if switch else numbers[int(found["table"])], found["match"])
        elif line.strip().startswith("ct("):
            sent_away.append(inside[-1][0])


class Fabric:
    """The bridges, the controller, and what tests do with them."""

    def __init__(self, ovs: PrivateOvs, manager: Manager, gateway_file: Path):
        self.ovs = ovs
        self._manager = manager
        self._file = gateway_file
        self._loaded: Document | None = None
        self._outside: list[str] = []
        self._seen: dict[str, int] = {}
        self.gateway: Gateway
        self._control: UnixctlClient

    def build(self) -> None:
        """Make all bridges and ports, more than any one gateway needs, and connect them to the controller."""
        words: list[str] = []

        def bridge(name: str, number: int) -> None:
            words.extend(["--", "add-br", name, "--", "set", "bridge", name, "datapath_type=dummy",
                          "protocols=OpenFlow15", "fail_mode=secure", f"other_config:datapath-id={number:016x}",
                          "--", "set-controller", name, f"tcp:127.0.0.1:{self._manager.openflow_port}"])

        def port(owner: str, name: str, *settings: str) -> None:
            words.extend(["--", "add-port", owner, name, "--", "set", "interface", name, *settings])

        def wire(one: str, port_of_one: str, other: str, port_of_other: str) -> None:
            port(one, port_of_one, "type=patch", f"options:peer={port_of_other}")
            port(other, port_of_other, "type=patch", f"options:peer={port_of_one}")

        dr = names.dr_bridge(PREFIX)
        bridge(dr, 0xD0)
        for number, switch in enumerate(SWITCHES):
            bridge(names.switch_bridge(PREFIX, switch), 0xE0 + number)
        wire(dr, names.dr_port(PREFIX), names.switch_bridge(PREFIX, names.BACKPLANE), names.switch_port_of_dr(PREFIX))
        for slot in SLOTS:
            sr = names.sr_bridge(PREFIX, slot)
            bridge(sr, slot)
            for switch in SWITCHES:
                wire(sr, names.sr_port(PREFIX, slot, switch), names.switch_bridge(PREFIX, switch),
                     names.switch_port_of_sr(PREFIX, switch, slot))
            for interface in ("up", "dmz"):
                words += self.outside(sr, names.default_uplink_port(PREFIX, f"{interface}{slot}"))
        for segment in SEGMENTS:
            words += self.outside(dr, names.default_segment_port(PREFIX, segment))
        self.ovs.run("ovs-vsctl", "--timeout=30", *words)
        error, self._control = UnixctlClient.create(str(self.ovs.directory / "ovs-vswitchd.ctl"))
        assert not error

    def outside(self, bridge: str, name: str) -> list[str]:
        """Words for ``ovs-vsctl`` that make a port to the outside."""
        if name not in self._outside:
            self._outside.append(name)
        return ["--", "add-port", bridge, name, "--", "set", "interface", name, "type=dummy",
                f"options:tx_pcap={self._capture(name)}"]

    def load(self, document: Document) -> Gateway:
        """Give the controller a gateway file and wait until every bridge holds its program."""
        if document != self._loaded:
            self._file.write_text(json.dumps(document))
            self.post("/saga/v1/reload")
            self._loaded, self.gateway = document, gateway(document)
        wait_until(lambda: self.health()["settled"], f"the gateway to be settled\n{self._manager.output()[-3000:]}")
        return self.gateway

    def post(self, path: str) -> None:
        """POST to the controller."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._manager.rest_port}{path}", data=b"", method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def health(self) -> dict:
        """What the controller says of its bridges."""
        return self._manager.get("/saga/v1/health")

    def alarms(self) -> list[dict]:
        """The open alarms of the controller."""
        return self._manager.get("/saga/v1/alarms")

    def port(self, bridge: str, name: str) -> int:
        """OpenFlow number of a port."""
        return self.health()["bridges"][bridge]["ports"][name]

    def programs(self) -> dict[str, Program]:
        """What every bridge of the loaded gateway ought to hold."""
        state = self.health()["bridges"]
        return {name: compile_bridge(self.gateway, name, state[name]["ports"]) for name in bridges(self.gateway)}

    def control(self, command: str, *arguments: str) -> str:
        """Run a command of ``ovs-appctl`` on the switch's daemon."""
        _, error, result = self._control.transact(command, list(arguments))
        assert error is None, f"{command} {arguments}: {error}"
        return result

    def trace(self, bridge: str, port: str, flow: str, *ct_states: str) -> Trace:
        """Trace a packet that comes in by a port; ``ct_states`` are the connection tracker's verdicts, in order."""
        options = [word for state in ct_states for word in ("--ct-next", state)]
        text = self.control("ofproto/trace", bridge, f"in_port={port},{flow}", *options)
        return Trace(text, tuple(_hits(text)))

    def forget_connections(self) -> None:
        """Empty the connection tracker."""
        self.control("dpctl/flush-conntrack")

    def connections(self) -> list[str]:
        """What the connection tracker holds, one line per connection."""
        return self.control("dpctl/dump-conntrack").splitlines()

    def send(self, port: str, frame: Ether) -> None:
        """Let a frame arrive at a port to the outside."""
        self.control("netdev-dummy/receive", port, bytes(frame).hex())

    def sent(self, port: str) -> list[Ether]:
        """All frames that have left by a port to the outside, oldest first."""
        with PcapReader(str(self._capture(port))) as capture:
            return list(capture)

    def forget_what_was_sent(self) -> None:
        """Let ``answers`` look at nothing older than this moment."""
        self._seen = {port: len(self.sent(port)) for port in self._outside}

    def answers(self, port: str, layer: type[Packet], what: str, **fields: object) -> Packet:
        """Wait for the one new frame with a layer (and values of its fields) to leave by a port, and return it.

        Its checksums are proved to be right.
        """
        def found() -> list[Packet]:
            return [frame for frame in self.sent(port)[self._seen[port]:] if layer in frame
                    and all(getattr(frame[layer], name) == value for name, value in fields.items())]

        (frame,) = wait_until(found, what)
        assert_checksums(frame)
        return frame

    def _capture(self, port: str) -> Path:
        return self.ovs.directory / f"{port}.pcap"
