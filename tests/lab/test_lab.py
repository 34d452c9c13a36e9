"""The lab itself, on real namespaces and a real Open vSwitch, without a controller."""

from __future__ import annotations

import random
import re
import textwrap
from ipaddress import ip_network

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from controller.model import names
from topologies.errors import CommandError, LabError
from topologies.expect import run_and_expect
from topologies.hosts import PhysicalRouter
from topologies.lab import Lab


def test_every_port_of_the_naming_convention_is_on_its_bridge(lab: Lab) -> None:
    slots = range(1, 5)
    expected = {
        "t0-dr": {names.dr_port("t0"), names.default_segment_port("t0", "web")},
        "seg-web": {"seg-web-dr", "A-web", "C-web"},
        "t0-bp": {names.switch_port_of_dr("t0"), *(names.switch_port_of_sr("t0", "bp", k) for k in slots)},
        **{f"t0-{s}": {names.switch_port_of_sr("t0", s, k) for k in slots} for s in ("pn", "ps")},
        **{
            names.sr_bridge("t0", k): {
                *(names.sr_port("t0", k, switch) for switch in ("bp", "pn", "ps")),
                names.default_uplink_port("t0", f"up{k}"),
            }
            for k in slots
        },
    }
    assert set(lab.vsctl("t0-dr", "list-br").split()) == set(expected)
    for bridge, ports in expected.items():
        assert set(lab.vsctl(bridge, "list-ports", bridge).split()) == ports
        assert ports < set(lab.counters(bridge))


def test_bridges_wait_for_the_controller_and_segments_switch_by_themselves(lab: Lab) -> None:
    for bridge in lab.bridges:
        assert lab.vsctl(bridge, "get-fail-mode", bridge).strip() == "secure"
        assert lab.vsctl(bridge, "get-controller", bridge).strip() == f"tcp:127.0.0.1:{lab.controller.openflow_port}"
        assert lab.vsctl(bridge, "get", "bridge", bridge, "protocols").strip() == "[OpenFlow15]"
        assert lab.dump_flows(bridge) == []
    assert lab.vsctl("seg-web", "get-controller", "seg-web") == ""
    assert "3 received" in lab.host("A").run("ping -c 3 -i 0.1 10.0.0.3").stdout
    assert "3 received" in lab.host("A").run("ping -c 3 -i 0.1 2001:db8:a::3").stdout


def test_switches_know_their_edge(lab: Lab) -> None:
    assert [lab.switch(f"t0-sr{k}").edge for k in (1, 2, 3, 4)] == ["edge1", "edge2", "edge3", "edge4"]
    assert lab.switch("t0-dr").edge is None


def test_large_segments_and_right_checksums_over_the_userspace_datapath(lab: Lab) -> None:
    if lab.switch("seg-web").ovs.datapath == "netdev":
        assert "userspace-tso-enable=\"true\"" in lab.vsctl("t0-dr", "get", "Open_vSwitch", ".", "other_config")
    a, c = lab.host("A"), lab.host("C")
    assert "tx-checksumming: on" in a.run("ethtool -k A-eth0").stdout
    before = lab.counters("seg-web")["A-web"]
    server = c.popen("nc -l -N -p 9000 </dev/null | sha256sum")
    run_and_expect(lambda: ":9000" in c.run("ss -Hltn").stdout, what="the receiver listens")
    sent = a.run("head -c 50000000 /dev/urandom | tee >(nc -N 10.0.0.3 9000) | sha256sum").stdout
    assert server.communicate(timeout=20)[0] == sent
    after = lab.counters("seg-web")["A-web"]
    assert (after.rx_bytes - before.rx_bytes) / (after.rx_packets - before.rx_packets) > 3000
    for host in (a, c):
        assert re.search(r"TcpInCsumErrors\s+0\s", host.run("nstat -az").stdout)


def test_bursts_find_room_at_the_ports_of_the_userspace_datapath(lab: Lab) -> None:
    if lab.switch("t0-sr1").ovs.datapath == "netdev":
        sockets = lab.run("ss -0 -H -a -n -m").stdout.split("p_raw")
        ours = [text for text in sockets if re.search(r"\*:(A-web|C-web|t0-up[1-4])\s", text)]
        assert len(ours) == 6
        assert all(int(re.search(r",rb(\d+),", text)[1]) >= 2**24 for text in ours)


def test_congestion_control_is_the_same_whatever_the_machine_prefers(lab: Lab) -> None:
    for host, destination in (("A", "192.0.2.2"), ("A", "2001:db8:b::2"), ("B", "198.51.100.1"), ("B", "10.0.0.2")):
        family = "-6" if ":" in destination else "-4"
        assert "congctl cubic" in lab.host(host).run(f"ip {family} route get {destination}; ip {family} route").stdout


def test_b_answers_on_every_address_of_its_prefixes(lab: Lab) -> None:
    chosen = random.Random(1)
    prefixes = [ip_network(p) for p in ("192.0.2.0/24", "203.0.113.0/24", "198.18.0.0/15", "2001:db8:b::/64")]
    sizes = (100, 100, 500, 300)
    addresses = [
        str(prefix[chosen.randrange(1, prefix.num_addresses - 1)])
        for prefix, size in zip(prefixes, sizes, strict=True)
        for _ in range(size)
    ]
    server = textwrap.dedent("""\
        import socket
        with socket.create_server(("::", 9002), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512) as server:
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(connection.getsockname()[0].removeprefix("::ffff:").encode())
        """)
    client = textwrap.dedent("""\
        import socket, sys
        for address in sys.stdin.read().split():
            with socket.create_connection((address, 9002), timeout=2) as connection:
                answer = connection.recv(100).decode()
                print(address, socket.inet_pton(socket.AF_INET6 if ":" in answer else socket.AF_INET, answer) ==
                      socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address))
        """)
    lab.host("B").popen(["python3", "-c", server])
    run_and_expect(lambda: ":9002" in lab.host("B").run("ss -Hltn").stdout, what="B listens")
    answers = lab.host("R").run(["python3", "-c", client], stdin="\n".join(addresses)).stdout.splitlines()
    assert answers == [f"{address} True" for address in addresses]


@pytest.mark.parametrize("destination", ["198.51.100.1", "2001:db8:a::2"])
def test_r_spreads_flows_over_the_uplinks_as_its_hash_policy_says(lab: Lab, destination: str) -> None:
    r = lab.host("R")
    for k in (1, 2, 3, 4):
        r.run(f"ip neigh replace 172.16.{k}.2 lladdr 02:00:00:00:00:0{k} dev R-up{k}; "
              f"ip -6 neigh replace 2001:db8:{k}::2 lladdr 02:00:00:00:00:0{k} dev R-up{k}")
    family = "AF_INET6" if ":" in destination else "AF_INET"
    burst = textwrap.dedent(f"""\
        import socket
        for port in range(10000, 10400):
            with socket.socket(socket.{family}, socket.SOCK_DGRAM) as one:
                one.sendto(b"x", ("{destination}", port))
        """)

    def sent_per_uplink() -> list[int]:
        before = [lab.counters(f"t0-sr{k}")[f"t0-up{k}"].rx_packets for k in (1, 2, 3, 4)]
        lab.host("B").run(["python3", "-c", burst])

        def increase() -> list[int]:
            return [lab.counters(f"t0-sr{k}")[f"t0-up{k}"].rx_packets - before[k - 1] for k in (1, 2, 3, 4)]

        return run_and_expect(increase, lambda found: sum(found) >= 400, what="all packets have arrived")

    r.set_hash_policy(PhysicalRouter.HASH_ADDRESSES)
    *others, most = sorted(sent_per_uplink())
    assert most >= 400 and max(others) < 20
    r.set_hash_policy(PhysicalRouter.HASH_FLOW)
    assert min(sent_per_uplink()) > 50


def test_hash_policy_by_chosen_fields(lab: Lab) -> None:
    destination_port = 0x20  # kernel documentation, networking/ip-sysctl, fib_multipath_hash_fields
    lab.host("R").set_hash_policy(PhysicalRouter.HASH_CUSTOM, fields=destination_port)
    assert "= 32" in lab.host("R").run("sysctl net.ipv6.fib_multipath_hash_fields").stdout
    lab.host("R").set_hash_policy(PhysicalRouter.HASH_FLOW)


def test_capture_sees_the_packets_of_a_port_and_of_a_host(lab: Lab) -> None:
    with lab.capture("seg-web", "A-web", "icmp") as at_bridge, lab.capture("C", "C-eth0", "icmp") as at_host:
        lab.host("A").run("ping -c 2 -i 0.1 10.0.0.3")
        for seen in (at_bridge, at_host):
            run_and_expect(lambda: len(seen.lines), 4, what="two requests, two answers")  # noqa: B023
    for seen in (at_bridge, at_host):
        assert sum("10.0.0.2 > 10.0.0.3: ICMP echo request" in line for line in seen.lines) == 2
        assert sum("10.0.0.3 > 10.0.0.2: ICMP echo reply" in line for line in seen.lines) == 2


def test_capture_on_a_patch_port_says_why_not(lab: Lab) -> None:
    with pytest.raises(LabError, match="t0-sr1-bp is a patch port .* use counters"):
        lab.capture("t0-sr1", "t0-sr1-bp")
    with pytest.raises(LabError, match="nonsense"):
        lab.capture("A", "nonsense")


def test_conntrack_is_read_by_zone(lab: Lab) -> None:
    packet = bytes(Ether() / IP(src="10.0.0.2", dst="192.0.2.2") / UDP(sport=40000, dport=53) / b"?").hex()
    for zone in (4711, 4712):
        lab.ofctl("t0-pn", "packet-out", f"in_port=t0-pn-sr1 packet={packet} actions=ct(commit,zone={zone})")
        (found,) = run_and_expect(lambda: lab.conntrack(zone), what="the connection")  # noqa: B023
        assert (found["proto"], found["zone"], found["orig"]["dport"]) == ("udp", zone, 53)
    assert {4711, 4712} <= {connection["zone"] for connection in lab.conntrack()}


def test_commands_in_hosts(lab: Lab) -> None:
    a = lab.host("A")
    assert a.run(["echo", "two  words"]).stdout == "two  words\n"
    assert a.run("cat", stdin="hello").stdout == "hello"
    assert a.run("exit 3", check=False).returncode == 3
    with pytest.raises(CommandError, match="exit code 3: echo out; exit 3\nout"):
        a.run("echo out; exit 3")
    with pytest.raises(CommandError, match=r"still running after 0\.3 s: echo before; sleep 60\nbefore"):
        a.run("echo before; sleep 60", timeout=0.3)
    assert "sleep 60" not in lab.run("ps ax -o args").stdout
    with pytest.raises(LabError, match="no host 'Z'; there are A, B, C, R"):
        lab.host("Z")
    with pytest.raises(LabError, match="no bridge 't0-sr9'"):
        lab.appctl("t0-sr9", "version")
    with pytest.raises(CommandError, match="unknown keyword nonsense"):
        lab.ofctl("t0-dr", "add-flow", "priority=1,nonsense=1 actions=drop")
