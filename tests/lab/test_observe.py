"""Reading the output of Open vSwitch's tools, and polling."""

from __future__ import annotations

import itertools

import pytest

from topologies.errors import LabError
from topologies.expect import ExpectationError, run_and_expect
from topologies.observe import PortCounters, parse_connections, parse_ports

PORTS = """\
OFPST_PORT reply (OF1.5) (xid=0x2): 2 ports
  port  "t0-up1": rx pkts=306077, bytes=9442270554, drop=0, errs=0, frame=0, over=0, crc=0
           tx pkts=319363, bytes=11759944106, drop=3, errs=0, coll=0
           duration=31.203s
  port  LOCAL: rx pkts=0, bytes=0, drop=?, errs=?, frame=?, over=?, crc=?
           tx pkts=1, bytes=70, drop=?, errs=?, coll=?
           duration=31.213s
"""


def test_ports() -> None:
    assert parse_ports(PORTS) == {
        "t0-up1": PortCounters(306077, 319363, 9442270554, 11759944106, 0, 3),
        "LOCAL": PortCounters(0, 1, 0, 70, 0, 0),
    }


def test_connections() -> None:
    text = (
        "tcp,orig=(src=10.0.0.2,dst=192.0.2.2,sport=40000,dport=80),reply=(src=192.0.2.2,dst=198.51.100.1,sport=80,"
        "dport=40000),zone=257,mark=3,protoinfo=(state=ESTABLISHED)\n"
        "udp,orig=(src=2001:db8::1,dst=2001:db8::2,sport=1,dport=2),reply=(src=2001:db8::2,dst=2001:db8::1,sport=2,dport=1)"
        "\n\n"
    )
    tcp, udp = parse_connections(text)
    assert (tcp["proto"], tcp["zone"], tcp["mark"], tcp["orig"]["sport"]) == ("tcp", 257, 3, 40000)
    assert tcp["reply"] == {"src": "192.0.2.2", "dst": "198.51.100.1", "sport": 80, "dport": 40000}
    assert tcp["protoinfo"] == {"state": "ESTABLISHED"}
    assert (udp["zone"], udp["orig"]["src"]) == (0, "2001:db8::1")


def test_expectation_returns_the_value_that_came() -> None:
    counter = itertools.count()
    assert run_and_expect(lambda: next(counter), lambda value: value > 2, timeout=2, interval=0) == 3
    assert run_and_expect(lambda: "x", "x", timeout=0) == "x"


def test_expectation_takes_errors_of_the_lab_for_not_yet() -> None:
    counter = itertools.count()

    def late() -> str:
        if next(counter) < 3:
            raise LabError("not there yet")
        return "there"

    assert run_and_expect(late, timeout=2, interval=0) == "there"


def test_expectation_that_fails_says_what_was_expected_and_seen() -> None:
    with pytest.raises(ExpectationError, match=r"not within 0\.1 s: seven dwarfs; last value: 6") as caught:
        run_and_expect(lambda: 6, 7, timeout=0.1, what="seven dwarfs", interval=0.01)
    assert caught.value.last == 6

    def broken() -> None:
        raise LabError("no such bridge")

    with pytest.raises(ExpectationError, match="broken; last error: LabError: no such bridge"):
        run_and_expect(broken, timeout=0)


def test_expectation_does_not_hide_mistakes() -> None:
    with pytest.raises(ZeroDivisionError):
        run_and_expect(lambda: 1 / 0, timeout=5)
