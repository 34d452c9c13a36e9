"""Reading what Open vSwitch and tcpdump print: counters, connections, packets."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from topologies.errors import LabError
from topologies.process import end


@dataclass(frozen=True)
class PortCounters:
    """What a port has received (``rx``, into the bridge) and sent (``tx``) since it was made."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int


_PORT = re.compile(
    r'port\s+"?(?P<name>[^\s":]+)"?:\s+rx pkts=(?P<rp>\d+), bytes=(?P<rb>\d+), drop=(?P<rd>\d+|\?).*?'
    r"tx pkts=(?P<tp>\d+), bytes=(?P<tb>\d+), drop=(?P<td>\d+|\?)",
    re.DOTALL,
)


def parse_ports(text: str) -> dict[str, PortCounters]:
    """Return the counters by port name from the output of ``ovs-ofctl --names dump-ports``."""

    def number(word: str) -> int:
        return 0 if word == "?" else int(word)

    return {
        m["name"]: PortCounters(*(number(m[key]) for key in ("rp", "tp", "rb", "tb", "rd", "td")))
        for m in _PORT.finditer(text)
    }


def parse_connections(text: str) -> list[dict[str, Any]]:
    """Return one dictionary per line of ``dpctl/dump-conntrack``.

    Example: ``{"proto": "tcp", "orig": {"src": "10.0.0.2", …, "sport": 40000}, "reply": {…}, "zone": 257,
    "protoinfo": {"state": "ESTABLISHED"}}``.  Numbers are int, ``zone`` is 0 when the line has none.
    """
    return [{"zone": 0, **_fields(line)} for line in text.splitlines() if line.strip()]


def _fields(text: str) -> dict[str, Any]:
    """Parse ``key=value`` and ``key=(…)`` pairs separated by commas; a bare word is the protocol."""
    found: dict[str, Any] = {}
    for item in _split(text.strip()):
        key, equals, value = item.partition("=")
        if not equals:
            found["proto"] = key
        elif value.startswith("("):
            found[key] = _fields(value[1:-1])
        else:
            found[key] = int(value, 0) if re.fullmatch(r"\d+|0x[0-9a-fA-F]+", value) else value
    return found


def _split(text: str) -> Iterator[str]:
    """Split at the commas that are not within parentheses."""
    depth = start = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    yield text[start:]


class Capture:
    """A running tcpdump.  ``lines`` grows as packets come, one line each; also a context manager that ends it.

    A packet appears a moment after it was sent: poll ``lines`` (run_and_expect) rather than look once.
    """

    def __init__(self, process: subprocess.Popen) -> None:
        """Wait until the tcpdump (with text pipes) listens; LabError if it does not start to."""
        self._process = process
        self.lines: list[str] = []
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "listening on" in line:
                break
        else:
            end(process)
            raise LabError("".join(said).strip())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def stop(self) -> list[str]:
        """End the capture and return its lines."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=5.0)
        self._reader.join(timeout=5.0)
        end(self._process)
        return self.lines

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def tcpdump(interface: str, expression: str) -> list[str]:
    """Return the tcpdump command for an interface: numbers, Ethernet addresses, every packet at once."""
    return ["tcpdump", "--immediate-mode", "-l", "-n", "-e", "-i", interface, *expression.split()]
