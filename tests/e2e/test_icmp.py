"""What the routers say themselves: ping, traceroute, unreachable; and how they find neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from controller.pipeline.tables import NEIGHBOUR
from tests.e2e.helpers import SLOTS, Target, ask, echo_server
from tests.e2e.helpers_rules import (
    OUT,
    PUBLIC,
    SNAT_ADDRESS,
    captured,
    errors,
    gateway,
    inject,
    owned_on_link,
    owner,
    remotes,
    service,
    use,
)
from topologies.expect import run_and_expect
from topologies.hosts import LabHost
from topologies.lab import Lab

A, A6, C, C6 = "10.0.0.2", "2001:db8:a::2", "10.0.0.3", "2001:db8:a::3"
SEGMENT, SEGMENT6 = "10.0.0.1", "2001:db8:a::1"
BACKPLANE = [f"169.254.0.{host}" for host in range(1, 6)]
UPLINKS = [f"172.16.{slot}.2" for slot in SLOTS]
UPLINKS6 = [f"2001:db8:{slot}::2" for slot in SLOTS]
REMOTES, REMOTES6 = remotes(16), remotes(16, 6)
PORT = 7000
PUBLIC_SERVICE = {"id": "web", "action": "DNAT", "destination_network": PUBLIC, "service": service("UDP", PORT),
                  "translated_network": A, "sequence_number": 10}
SILENT_SERVICE = {"id": "silent", "action": "DNAT", "destination_network": "198.51.100.81", "translated_network": C,
                  "sequence_number": 20}
GATEWAY = gateway([PUBLIC_SERVICE, SILENT_SERVICE, OUT])
ROUTED = gateway()
"""No translations."""


@pytest.fixture(scope="module", autouse=True)
def servers(lab: Lab) -> Iterator[None]:
    """Servers on all hosts."""
    with echo_server(lab.host("B"), PORT), echo_server(lab.host("A"), PORT), echo_server(lab.host("C"), PORT):
        yield


@pytest.fixture(autouse=True)
def standard(lab: Lab) -> None:
    use(lab, GATEWAY)


def unanswered(host: LabHost, addresses: list[str], source: str = "") -> list[str]:
    """Ping addresses, and return those that do not answer themselves."""
    option = f"-I {source}" if source else ""
    said = host.run(f"for to in {' '.join(addresses)}; do ping -n -c 1 -W 1 {option} $to; done", check=False).stdout
    return [address for address in addresses if f"from {address}: icmp_seq=1" not in said]


@pytest.mark.parametrize(("name", "addresses"), [
    ("A", [SEGMENT, SEGMENT6, *BACKPLANE, *UPLINKS, *UPLINKS6]), ("R", [SEGMENT, SEGMENT6, *UPLINKS, *UPLINKS6]),
    ("B", [SEGMENT, SEGMENT6, *UPLINKS, *UPLINKS6])])
def test_every_address_of_every_router_answers(lab: Lab, name: str, addresses: list[str]) -> None:
    """The backplane's are link-local addresses, which nobody outside can reach (RFC 3927, section 2.7)."""
    assert unanswered(lab.host(name), addresses) == []


def test_large_pings_of_routers(lab: Lab) -> None:
    for host, to in ((lab.host("A"), SEGMENT), (lab.host("A"), BACKPLANE[2]), (lab.host("R"), UPLINKS[1])):
        assert "1 received" in host.run(f"ping -n -c 1 -W 1 -M do -s 1472 {to}", check=False).stdout


def hops(host: LabHost, *arguments: str) -> list[str]:
    """Return who answers traceroute, hop by hop ("*": nobody does), to the end of the way.

    Asked again where the end is not heard: traceroute -T now and then misses answers that did arrive (its host resets
    the connections they open, as it should).
    """
    def ask() -> list[str]:
        said = host.run(f"traceroute -n -w 2 -q 1 -N 1 -m 6 {' '.join(arguments)}").stdout
        return re.findall(r"^ ?\d+ +(\S+)", said, re.MULTILINE)

    return run_and_expect(ask, lambda heard: heard[-1] != "*", 30, "the end of the way answers traceroute")


@pytest.mark.parametrize("method", ["-U -p 33434", "-I", "-T -p 7000"])
def test_traceroute_from_inside_shows_the_owner(lab: Lab, method: str) -> None:
    """The physical router is seen, too, though its address has other owners than the remote addresses have."""
    for listed, first in ((REMOTES, SEGMENT), (REMOTES6, SEGMENT6)):
        walks = {remote: hops(lab.host("A"), method, remote) for remote in listed[:6]}
        for remote, walk in walks.items():
            slot = owner(remote)
            assert walk[:2] == [first, f"2001:db8:{slot}::2" if ":" in remote else BACKPLANE[slot]]
            assert re.fullmatch(r"172\.16\.\d\.1|2001:db8:\d::1", walk[2])
            assert len(walk) == 4 and walk[3] in (remote, REMOTES6[0])  # B reports closed ports with its first address
        assert any(owner(walk[2]) != owner(remote) for remote, walk in walks.items())


@pytest.mark.parametrize(("method", "target", "inside"), [
    (f"-T -p {PORT}", "198.51.100.81", "198.51.100.81"), (f"-U -p {PORT}", PUBLIC, PUBLIC), ("-I", A, BACKPLANE[0]),
    ("-U", A6, SEGMENT6)])
def test_traceroute_from_outside_shows_the_owner(lab: Lab, method: str, target: str, inside: str) -> None:
    """Behind a translation the distributed router's error comes from the external address (RFC 5508, REQ-5)."""
    for source in (REMOTES6 if ":" in target else REMOTES)[:6]:
        uplink = (f"2001:db8:{owner(source)}::2" if ":" in target else f"172.16.{owner(source)}.2")
        assert hops(lab.host("B"), method, "-s", source, target)[1:] == [uplink, inside, target]


def test_path_mtu_is_learned_through_a_translation(lab: Lab) -> None:
    """Fragmentation needed, from a router whose address has another owner than the remote address."""
    r = lab.host("R")
    try:
        r.run("ip link set R-B mtu 1400")
        for remote, version in ((REMOTES[3], 4), (REMOTES6[3], 6)):
            said = lab.host("A").run(f"ping -n -c 3 -i 0.2 -W 1 -M do -s 1440 {remote}", check=False)
            assert re.search(r"mtu ?= ?1400|Packet too big: mtu=1400", said.stdout + said.stderr), (version, said)
    finally:
        r.run("ip link set R-B mtu 1500")


def test_no_route(lab: Lab) -> None:
    use(lab, gateway(static_routes=[]))
    for remote, answers in ((REMOTES[0], "Net Unreachable"), (REMOTES6[0], "No route")):
        said = lab.host("A").run(f"ping -n -c 1 -W 2 {remote}", check=False).stdout
        assert answers in said


def test_no_route_for_a_translated_connection_any_more(lab: Lab) -> None:
    """The packet has its translated source already when the route is looked up: the error is translated back."""
    a = lab.host("A")
    text = GATEWAY.replace("id: default4", "id: partial4").replace("network: 0.0.0.0/0", "network: 203.0.113.0/24")
    process = a.popen(f"ping -n -i 0.2 -w 20 {REMOTES[0]}")
    try:
        run_and_expect(process.stdout.readline, lambda line: "icmp_seq" in line, 5, "an answer", interval=0)
        lab.set_config(text)
        lab.wait_settled()
        run_and_expect(process.stdout.readline, lambda line: "Destination Net Unreachable" in line, 5, "the error",
                       interval=0)
    finally:
        process.kill()


@pytest.mark.parametrize("translated", [False, True])
def test_neighbour_outside_does_not_answer(lab: Lab, translated: bool) -> None:
    use(lab, GATEWAY if translated else ROUTED)
    silent = {owned_on_link(slot): f"From {BACKPLANE[slot]} icmp_seq=1 Destination Host Unreachable" for slot in SLOTS}
    if not translated:
        silent |= {owned_on_link(slot, "2001:db8:{}::{:x}"): f"From {UPLINKS6[slot - 1]} icmp_seq=1 Destination "
                   "unreachable: Address unreachable" for slot in SLOTS}
    said = lab.host("A").run(f"for to in {' '.join(silent)}; do ping -n -c 1 -W 5 $to & done; wait").stdout
    assert [answer for answer in silent.values() if answer not in said] == []


def test_host_inside_does_not_answer(lab: Lab) -> None:
    use(lab, ROUTED)
    said = lab.host("B").run(f"ping -n -c 1 -W 5 -I {REMOTES[0]} 10.0.0.99 & "
                             f"ping -n -c 1 -W 5 -I {REMOTES6[0]} 2001:db8:a::99; wait").stdout
    assert "Destination Host Unreachable" in said and "Address unreachable" in said


@pytest.mark.parametrize(("name", "addresses"), [
    ("A", [SEGMENT, SEGMENT6, *BACKPLANE, UPLINKS6[0]]), ("B", [SEGMENT, SEGMENT6, UPLINKS[0], UPLINKS6[1]])])
def test_routers_have_no_open_ports(lab: Lab, name: str, addresses: list[str]) -> None:
    answers = ask(lab.host(name), *(Target(address, 179, proto) for address in addresses for proto in ("tcp", "udp")))
    assert {answer.error for answer in answers} == {"ECONNREFUSED"}


def forget_neighbours(lab: Lab) -> None:
    """Make routers and inside hosts forget all neighbours."""
    for bridge in ("t0-dr", *(f"t0-sr{slot}" for slot in SLOTS)):
        lab.ofctl(bridge, "del-flows", f"table={NEIGHBOUR.number}")
    for name in ("A", "C", "R"):
        lab.host(name).run("ip neighbour flush all; ip -6 neighbour flush all")


@pytest.mark.parametrize(("targets", "sources"), [
    ([C, "198.51.100.81"], REMOTES), ([C6], REMOTES6)])
def test_a_silent_host_is_found_without_losing_the_first_packet(
    lab: Lab, targets: list[str], sources: list[str]
) -> None:
    for target in targets:
        for source in sources[:4]:
            forget_neighbours(lab)
            assert errors(ask(lab.host("B"), Target(target, PORT, "udp", source))) == []


def test_a_silent_physical_router_is_found_without_losing_the_first_packet(lab: Lab) -> None:
    for remote in REMOTES[:4] + REMOTES6[:4]:
        forget_neighbours(lab)
        assert errors(ask(lab.host("A"), Target(remote, PORT, "udp"))) == []


def announcement(mac: str, address: str, address6: str) -> list[bytes]:
    """Return a gratuitous ARP and an unsolicited neighbour advertisement."""
    return [
        bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=address, pdst=address)),
        bytes(Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=address6, dst="ff02::1", hlim=255)
              / ICMPv6ND_NA(tgt=address6, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac)),
    ]


def test_a_neighbour_that_announces_another_ethernet_address_is_followed(lab: Lab) -> None:
    b, c, r = lab.host("B"), lab.host("C"), lab.host("R")
    to_c = [Target(C, PORT, "udp", REMOTES[0]), Target(C6, PORT, "udp", REMOTES6[0])]
    slot = owner(REMOTES[0])
    to_b = [Target(REMOTES[0], PORT, "udp"), Target(next(to for to in REMOTES6 if owner(to) == slot), PORT, "udp")]
    cases = ((c, "C-eth0", C, C6, b, to_c), (r, f"R-up{slot}", f"172.16.{slot}.1", f"2001:db8:{slot}::1", lab.host("A"),
                                            to_b))
    for host, interface, address, address6, client, targets in cases:
        old = host.run(f"cat /sys/class/net/{interface}/address").stdout.strip()
        assert errors(ask(client, *targets)) == []
        for mac in ("02:00:00:00:77:01", old):
            host.run(f"ip link set {interface} address {mac}")
            inject(host, interface, announcement(mac, address, address6))
            assert errors(ask(client, *targets)) == []


def test_owned_addresses_are_not_learned_from_others(lab: Lab) -> None:
    mac, another = "02:00:00:00:66:01", "02:00:00:00:66:02"
    for host, interface, router, address, neighbour in (
        (lab.host("C"), "C-eth0", "02:5b:01:04:00:01", SEGMENT, "10.0.0.77"),
        (lab.host("R"), "R-up1", "02:5b:01:02:01:01", UPLINKS[0], "172.16.1.77"),
    ):
        claims = [ARP(op=op, hwsrc=mac, psrc=address, pdst=address) for op in (1, 2)]
        fair = [ARP(op=1, hwsrc=another, psrc=neighbour, pdst=address)]
        inject(host, interface, [bytes(Ether(src=claim.hwsrc, dst=router) / claim) for claim in claims + fair])
    learned = "".join("".join(lab.dump_flows(bridge)) for bridge in ("t0-dr", "t0-sr1"))
    assert mac not in learned
    assert learned.count(another) == 3  # on the link of both, and as a next hop of the service router
    assert unanswered(lab.host("A"), [SEGMENT]) == []


def test_without_a_controller_addresses_are_answered_and_traffic_goes_on(lab: Lab) -> None:
    a, b, r = lab.host("A"), lab.host("B"), lab.host("R")
    assert errors(ask(a, *(Target(remote, PORT, "udp") for remote in REMOTES + REMOTES6))) == []
    lab.stop_controller()
    try:
        a.run("ip neighbour flush all; ip -6 neighbour flush all")
        r.run("ip neighbour flush all; ip -6 neighbour flush all")
        assert unanswered(a, [SEGMENT, *BACKPLANE, SEGMENT6]) == []
        assert unanswered(r, UPLINKS + UPLINKS6) == []
        answers = ask(a, *(Target(to, PORT, proto) for to in remotes(40) + remotes(40, 6) for proto in ("tcp", "udp")))
        answers += ask(b, *(Target(PUBLIC, PORT, "udp", source) for source in remotes(40)))
        assert errors(answers) == []
    finally:
        lab.start_controller()
        lab.wait_settled()


def test_errors_from_outside_about_nothing_known_go_nowhere(lab: Lab) -> None:
    """Every router gets a copy of an ICMP error; none of them knows the connection."""
    b = lab.host("B")
    with captured(lab, "A", ["A-eth0"], "icmp[icmptype] = icmp-unreach") as arrived:
        answers = ask(b, *(Target(SNAT_ADDRESS, PORT, "udp", source) for source in REMOTES[:4]), timeout=0.5)
        lab.host("A").run(f"traceroute -n -w 1 -q 1 -f 2 -m 2 {REMOTES[0]}")
    assert {answer.error for answer in answers} == {"timeout"}
    assert arrived == []
