"""The isolated lab: every edge a network namespace with an Open vSwitch of its own, and what can happen to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from topologies.errors import LabError
from topologies.expect import run_and_expect
from topologies.lab import Lab
from topologies.record import processes_with

EDGES = ("edge1", "edge2", "edge3", "edge4")
DATA_PORTS = {"t0-up4", "t0-sr4-bp", "t0-sr4-pn", "t0-sr4-ps"}
FAR_ENDS = {"t0-bp": "t0-bp-sr4", "t0-pn": "t0-pn-sr4", "t0-ps": "t0-ps-sr4"}
FAULTS = ("link", "power", "crash", "freeze", "management", "port:t0-sr4-pn", "port:t0-up4")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A settled lab; each test leaves it settled."""
    with Lab("four_edge", isolated=True) as running:
        running.wait_settled()
        yield running


@pytest.fixture
def mended(lab: Lab) -> Iterator[Lab]:
    """The lab, with edge 4 mended and programmed again after the test."""
    yield lab
    lab.restore_edge("edge4")
    wait_programmed(lab)


def wait_programmed(lab: Lab) -> None:
    """Wait until edge 4 has its program again (health alone may still speak of the connection before a fault)."""
    run_and_expect(lambda: lab.dump_flows("t0-sr4"), timeout=20, what="the controller has programmed t0-sr4")
    lab.wait_settled()


def carrier(lab: Lab) -> dict[str, bool]:
    """Return whether the far ends of edge 4's cables have carrier, as Open vSwitch and the physical router say."""
    found = {}
    for bridge, port in FAR_ENDS.items():
        text = lab.ofctl(bridge, "dump-ports-desc", port)
        assert "config:     0" in text, "the far end itself is up"
        found[port] = "LINK_DOWN" not in text
    found["R-up4"] = "LOWER_UP" in lab.host("R").run("ip -br link show R-up4").stdout
    return found


def own_carrier(lab: Lab) -> dict[str, bool]:
    """Return whether the ports of edge 4 have carrier, as its Open vSwitch says."""
    return {port: "LINK_DOWN" not in lab.ofctl("t0-sr4", "dump-ports-desc", port) for port in DATA_PORTS}


def connected(lab: Lab) -> bool:
    """Whether edge 4's switch is connected to the controller, by its own account."""
    return lab.switch("t0-sr4").connected()


def remote_of(lab: Lab, edge: str, version: int = 4) -> str:
    """Return an address of host B that an edge owns."""
    addresses = (f"192.0.2.{n}" if version == 4 else f"2001:db8:b::{n:x}" for n in range(2, 250))
    return next(address for address in addresses if lab.owner(address)["member"] == edge)


def ping(lab: Lab, address: str) -> None:
    """Wait until host A reaches an address."""
    run_and_expect(lambda: lab.host("A").run(f"ping -c 1 -W 1 {address}"), lambda _: True, 15, f"{address} answers")


def inventory(lab: Lab) -> dict[str, tuple]:
    """Return edge, role, datapath id, fail mode and port numbers of every bridge."""
    return {
        switch.name: (
            switch.edge, switch.role, switch.dpid, lab.vsctl(switch.name, "get-fail-mode", switch.name).strip(),
            {port: lab.vsctl(switch.name, "get", "Interface", port, "ofport").strip()
             for port in lab.vsctl(switch.name, "list-ports", switch.name).split()},
        )
        for switch in lab.net.switches
    }


def test_both_labs_have_the_same_bridges_and_ports(lab: Lab) -> None:
    program = ("import json; from topologies.lab import Lab; from tests.lab.test_isolated import inventory\n"
               "with Lab('four_edge', controller=False) as lab: print(json.dumps(inventory(lab)))")
    # A network namespace holds one lab, so the shared one gets another.
    shared = subprocess.run(
        ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, "-c", program],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60, check=True,
    )
    assert json.loads(json.dumps(inventory(lab))) == json.loads(shared.stdout)


def test_every_edge_is_an_open_vswitch_of_its_own(lab: Lab) -> None:
    instances = {lab.switch(f"t0-sr{k}").ovs for k in (1, 2, 3, 4)} | {lab.switch("t0-dr").ovs}
    assert len(instances) == 5
    assert tuple(lab.edges) == EDGES
    assert lab.vsctl("t0-sr2", "list-br").split() == ["t0-sr2"]
    assert not {device for _, device in socket.if_nameindex()} & DATA_PORTS
    assert DATA_PORTS < set(lab.edge("edge4").run("ls /sys/class/net").stdout.split())
    assert lab.vsctl("t0-sr4", "get-controller", "t0-sr4").strip() == f"tcp:100.127.0.1:{lab.controller.openflow_port}"
    assert os.stat(f"/proc/{lab.controller.pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino


def test_tables_have_names_at_every_instance(lab: Lab) -> None:
    for bridge in ("t0-dr", *(f"t0-sr{k}" for k in (1, 2, 3, 4))):
        run_and_expect(lambda: any("table=CLASSIFY" in flow for flow in lab.dump_flows(bridge)), what=bridge)  # noqa: B023


def test_sequence_checking_is_off_everywhere(lab: Lab) -> None:
    for bridge in ("t0-dr", "t0-sr1", "t0-sr4"):
        assert "disabled" in lab.appctl(bridge, "dpctl/ct-get-tcp-seq-chk")


def test_traffic_of_both_families_with_its_translations(lab: Lab) -> None:
    for version in (4, 6):
        for edge in EDGES:
            ping(lab, remote_of(lab, edge, version))
    remote = remote_of(lab, "edge2")
    ping(lab, remote)
    zones = {router.edge: router.zone for router in lab.config.gateways[0].routers}
    holders = {edge for edge, zone in zones.items()
               if any(entry["orig"]["dst"] == remote for entry in lab.conntrack(zone))}
    assert holders == {"edge2"}


@pytest.mark.parametrize("version", [4, 6])
def test_fifty_megabytes_arrive_as_they_were_sent(lab: Lab, version: int) -> None:
    a, b, remote = lab.host("A"), lab.host("B"), remote_of(lab, "edge3", version)
    ping(lab, remote)
    server = b.popen(f"nc -{version} -l -N -p 9000 </dev/null | sha256sum")
    run_and_expect(lambda: ":9000" in b.run("ss -Hltn").stdout, what="the receiver listens")
    before = lab.counters("t0-sr3")["t0-up3"]
    sent = a.run(f"head -c 50000000 /dev/urandom | tee >(nc -N {remote} 9000) | sha256sum").stdout
    assert server.communicate(timeout=30)[0] == sent
    after = lab.counters("t0-sr3")["t0-up3"]
    assert (after.tx_bytes - before.tx_bytes) / (after.tx_packets - before.tx_packets) > 3000, "TSO over veth"


# --- faults


def address_around_edge4(lab: Lab) -> str:
    """Return an address of B that pings from A reach, and answer, without passing edge 4.

    Neither the distributed router nor the physical router looks at more of a ping than its addresses.
    """

    def passed() -> int:
        return sum(counters.rx_packets for port, counters in lab.counters("t0-sr4").items() if port in DATA_PORTS)

    for number in range(2, 250):
        address = f"192.0.2.{number}"
        ping(lab, address)
        before = passed()
        lab.host("A").run(f"ping -c 10 -i 0.01 -W 1 {address}")
        if passed() - before < 5:
            return address
    raise AssertionError("every address passes edge 4")


@pytest.mark.parametrize("how", FAULTS)
def test_traffic_past_the_failed_edge_goes_on_and_all_traffic_returns(mended: Lab, how: str) -> None:
    around, through = address_around_edge4(mended), remote_of(mended, "edge4")
    ping(mended, through)
    with mended.host("A").popen(f"ping -q -i 0.01 -c 200 -W 1 {around}") as pinging:
        before = time.monotonic()
        assert before <= mended.fail_edge("edge4", how) <= time.monotonic()
        assert " 0% packet loss" in pinging.communicate(timeout=20)[0]
    assert mended.edge("edge4").faults == [how]
    mended.restore_edge("edge4")
    assert mended.edge("edge4").faults == []
    for version in (4, 6):
        ping(mended, remote_of(mended, "edge4", version))


def test_a_pulled_port_has_no_carrier_at_either_end(mended: Lab) -> None:
    mended.fail_edge("edge4", "port:t0-sr4-pn")
    run_and_expect(lambda: carrier(mended), {"t0-bp-sr4": True, "t0-pn-sr4": False, "t0-ps-sr4": True, "R-up4": True})
    run_and_expect(lambda: own_carrier(mended), {port: port != "t0-sr4-pn" for port in DATA_PORTS})
    mended.fail_edge("edge4", "port:t0-up4")
    run_and_expect(lambda: carrier(mended), {"t0-bp-sr4": True, "t0-pn-sr4": False, "t0-ps-sr4": True, "R-up4": False})
    mended.restore_edge("edge4")
    run_and_expect(lambda: carrier(mended), dict.fromkeys([*FAR_ENDS.values(), "R-up4"], True))


def test_without_links_no_cable_has_carrier_but_the_controller_is_there(mended: Lab) -> None:
    mended.fail_edge("edge4", "link")
    run_and_expect(lambda: carrier(mended), dict.fromkeys([*FAR_ENDS.values(), "R-up4"], False))
    run_and_expect(lambda: own_carrier(mended), dict.fromkeys(DATA_PORTS, False))
    assert "linkdown" in mended.host("R").run("ip route show 198.51.100.0/24").stdout
    assert connected(mended)
    mended.restore_edge("edge4")
    run_and_expect(lambda: carrier(mended), dict.fromkeys([*FAR_ENDS.values(), "R-up4"], True))
    run_and_expect(lambda: own_carrier(mended), dict.fromkeys(DATA_PORTS, True))


def test_without_management_only_the_controller_is_lost(mended: Lab) -> None:
    remote = remote_of(mended, "edge4")
    ping(mended, remote)
    mended.fail_edge("edge4", "management")
    run_and_expect(lambda: connected(mended), False, 20, "the switch notices")
    run_and_expect(lambda: mended.controller.request("GET", "/saga/v1/health")[1]["bridges"]["t0-sr4"]["connected"],
                   False, 20, "the controller notices")
    assert all(carrier(mended).values()) and all(own_carrier(mended).values())
    assert " 0% packet loss" in mended.host("A").run(f"ping -q -i 0.01 -c 50 -W 1 {remote}").stdout
    mended.restore_edge("edge4")
    run_and_expect(lambda: connected(mended), True, 20, "the switch is connected again")


@pytest.fixture
def unattended(mended: Lab) -> Iterator[Lab]:
    """The lab with a connection tracked in edge 4, then without controller."""
    ping(mended, remote_of(mended, "edge4"))
    zone = zone_of_edge4(mended)
    assert mended.conntrack(zone)
    mended.stop_controller()
    yield mended
    mended.start_controller()
    mended.restore_edge("edge4")
    mended.wait_settled()


def zone_of_edge4(lab: Lab) -> int:
    return next(router.zone for router in lab.config.gateways[0].routers if router.edge == "edge4")


def assert_empty_and_set_up(lab: Lab) -> None:
    """Edge 4 has its ports, but neither flows nor connections, and tracks as edges must."""
    assert set(lab.vsctl("t0-sr4", "list-ports", "t0-sr4").split()) == DATA_PORTS
    run_and_expect(lambda: own_carrier(lab), dict.fromkeys(DATA_PORTS, True))
    assert lab.dump_flows("t0-sr4") == []
    assert lab.conntrack(zone_of_edge4(lab)) == []
    assert "disabled" in lab.appctl("t0-sr4", "dpctl/ct-get-tcp-seq-chk")
    sockets = lab.edge("edge4").run("ss -0 -H -a -n -m").stdout.split("p_raw")
    ours = [text for text in sockets if any(f"*:{port} " in text for port in DATA_PORTS)]
    assert len(ours) == 4 and all(",rb33554432," in text or ",rb16777216," in text for text in ours)


def test_after_a_crash_links_stay_up_and_the_switch_comes_back_empty(unattended: Lab) -> None:
    lab, zone = unattended, zone_of_edge4(unattended)
    lab.vsctl("t0-sr4", "set", "Bridge", "t0-sr4", "external_ids:marker=before")
    pid = lab.switch("t0-sr4").ovs.switchd_pid
    lab.fail_edge("edge4", "crash")
    assert pid not in lab.edge("edge4").namespace.processes()
    assert all(carrier(lab).values())
    with pytest.raises(LabError, match="edge4: ovs-vswitchd is not running"):
        lab.dump_flows("t0-sr4")
    assert lab.conntrack(zone) == []
    lab.restore_edge("edge4")
    assert lab.switch("t0-sr4").ovs.switchd_pid != pid
    assert_empty_and_set_up(lab)
    assert "before" in lab.vsctl("t0-sr4", "get", "Bridge", "t0-sr4", "external_ids")


def test_without_power_the_edge_vanishes_and_comes_back_with_nothing(unattended: Lab) -> None:
    lab, zone = unattended, zone_of_edge4(unattended)
    lab.vsctl("t0-sr4", "set", "Bridge", "t0-sr4", "external_ids:marker=before")
    edge = lab.edge("edge4")
    numbers = {port: lab.vsctl(bridge, "get", "Interface", port, "ofport", "ifindex")
               for bridge, port in FAR_ENDS.items()}
    namespace = os.stat(f"/proc/{edge.namespace.pid}/ns/net").st_ino
    lab.fail_edge("edge4", "power")
    assert namespace not in namespaces(lab)
    run_and_expect(lambda: carrier(lab), dict.fromkeys([*FAR_ENDS.values(), "R-up4"], False))
    assert lab.conntrack(zone) == []
    for question in (lambda: lab.vsctl("t0-sr4", "list-br"), lambda: lab.dump_flows("t0-sr4"),
                     lambda: edge.run("true"), lambda: lab.capture("t0-sr4", "t0-up4")):
        with pytest.raises(LabError, match="edge4"):
            question()
    lab.restore_edge("edge4")
    assert_empty_and_set_up(lab)
    assert "before" not in lab.vsctl("t0-sr4", "get", "Bridge", "t0-sr4", "external_ids")
    run_and_expect(lambda: carrier(lab), dict.fromkeys([*FAR_ENDS.values(), "R-up4"], True))
    assert numbers == {port: lab.vsctl(bridge, "get", "Interface", port, "ofport", "ifindex")
                       for bridge, port in FAR_ENDS.items()}, "the far ends are the same devices and ports"


def namespaces(lab: Lab) -> set[int]:
    """Return the network namespaces that processes of the lab are in."""
    token = lab.environment["SAGA_LAB"]
    return {os.stat(f"/proc/{pid}/ns/net").st_ino for pid in processes_with(token)}


def test_a_frozen_switch_keeps_its_links_and_wakes_up_with_what_it_had(unattended: Lab) -> None:
    lab, zone = unattended, zone_of_edge4(unattended)
    ovs = lab.switch("t0-sr4").ovs
    flows, pid = lab.dump_flows("t0-sr4"), ovs.switchd_pid
    lab.fail_edge("edge4", "freeze")
    assert Path(f"/proc/{pid}/stat").read_text().split()[2] == "T"
    assert all(carrier(lab).values())
    with pytest.raises(LabError, match="edge4: ovs-vswitchd is frozen"):
        lab.dump_flows("t0-sr4")
    assert lab.conntrack(zone) == []
    lab.restore_edge("edge4")
    assert ovs.switchd_pid == pid
    assert lab.conntrack(zone) != []
    assert sorted(lab.dump_flows("t0-sr4")) == sorted(flows)


def test_faults_add_up_and_are_mended_together(mended: Lab) -> None:
    for how in ("port:t0-sr4-ps", "management", "link", "freeze"):
        mended.fail_edge("edge4", how)
    with pytest.raises(LabError, match="edge4 has failed already: port:t0-sr4-ps, management, link, freeze"):
        mended.fail_edge("edge4", "link")
    mended.restore_edge("edge4")
    run_and_expect(lambda: own_carrier(mended), dict.fromkeys(DATA_PORTS, True))
    mended.fail_edge("edge4", "crash")
    mended.fail_edge("edge4", "power")
    with pytest.raises(LabError, match="failed already: crash, power"):
        mended.fail_edge("edge4", "link")
    mended.restore_edge("edge4")
    ping(mended, remote_of(mended, "edge4"))


def test_faults_that_do_not_exist_are_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="no fault 'fire'; there are link, power, crash, freeze, management, port:NAME"):
        lab.fail_edge("edge4", "fire")
    with pytest.raises(LabError, match="no port 't0-up1' of edge4 has a cable; there are t0-sr4-bp, .*, t0-up4"):
        lab.fail_edge("edge4", "port:t0-up1")
    with pytest.raises(LabError, match="no edge 'edge9'; there are edge1, edge2, edge3, edge4"):
        lab.fail_edge("edge9", "link")
    assert lab.edge("edge4").faults == []


def test_capture_at_a_port_between_routers(lab: Lab) -> None:
    with lab.capture("t0-sr4", "t0-up4", "icmp") as inside, lab.capture("R", "R-up4", "icmp") as outside:
        remote = remote_of(lab, "edge4")
        lab.host("A").run(f"ping -c 3 -i 0.1 {remote}")
        for seen in (inside, outside):
            run_and_expect(lambda: sum(f"> {remote}: ICMP echo request" in line for line in seen.lines), 3)  # noqa: B023
