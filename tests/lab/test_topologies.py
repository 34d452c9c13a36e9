"""The topologies, built without a controller, and what a lab refuses."""

from __future__ import annotations

import re

import pytest

from topologies.errors import LabError
from topologies.lab import Lab
from topologies.vm_a_to_host_b import VmAToHostB


def test_addresses_and_mtu_come_from_the_gateway_file() -> None:
    text = VmAToHostB.gateway_file.read_text()
    text = text.replace("subnets: [172.16.1.2/24,", "mtu: 1400, subnets: [172.16.9.2/29,")
    text = text.replace("172.16.1.1", "172.16.9.1")
    with Lab("vm_a_to_host_b", config=text, controller=False, vms={"A": 2, "D": 9}) as lab:
        links = lab.run("ip -o link").stdout, lab.host("R").run("ip -o link").stdout
        assert all(re.search(r"(t0|R)-up1@.* mtu 1400 ", text) for text in links)
        assert all(re.search(r"(t0|R)-up2@.* mtu 1500 ", text) for text in links)
        assert "172.16.9.1/29" in lab.host("R").run("ip -br address show R-up1").stdout
        assert lab.host("D").ip == "10.0.0.9" and lab.host("D").ip6 == "2001:db8:a::9"


def test_two_next_hops_are_two_physical_routers_on_one_network() -> None:
    with Lab("ecmp", controller=False) as lab:
        assert [router.name for router in lab.routers] == ["R1", "R2"]
        assert "1 received" in lab.host("R1").run("ping -c 1 172.16.1.3").stdout
        assert "1 received" in lab.host("R2").run("ping -c 1 2001:db8:2::1").stdout
        assert lab.host("B").run("ip route show default").stdout.count("nexthop") == 2
        for router in lab.routers:
            assert "1 received" in router.run("ping -c 1 203.0.113.50").stdout


def test_uplinks_on_one_subnet_share_a_switch(shared_uplink: str) -> None:
    with Lab("four_edge", config=shared_uplink, controller=False) as lab:
        ports = set(lab.vsctl("ext1", "list-ports", "ext1").split())
        assert ports == {"ext1-R", *(f"ext1-p{k}" for k in (1, 2, 3, 4))}
        assert "t0-up4" in lab.vsctl("t0-sr4", "list-ports", "t0-sr4").split()
        routes = lab.host("R").run("ip route show 198.51.100.0/24").stdout
        assert re.findall(r"via (\S+) dev (\S+)", routes) == [(f"172.16.1.{k}", "R-ext1") for k in (2, 3, 4, 5)]


def test_unknown_topology_and_unreadable_file() -> None:
    with pytest.raises(LabError, match="no topology 'five_edge'"):
        Lab("five_edge")
    with pytest.raises(LabError, match="cannot read the gateway file /nonexistent.yaml: No such file"):
        Lab("four_edge", config="/nonexistent.yaml")
