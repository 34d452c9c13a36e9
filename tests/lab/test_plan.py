"""What a gateway file's network consists of, without building it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from controller.model import load, loads
from controller.model.gateway import Config
from topologies.base import GATEWAY_FILES
from topologies.ecmp import Ecmp
from topologies.errors import LabError
from topologies.four_edge import FourEdge
from topologies.plan import Role, plan

FOUR_EDGE = (GATEWAY_FILES / "four_edge.yaml").read_text()


def configuration(*changes: tuple[str, str]) -> Config:
    """Return the four-edge gateway with texts replaced."""
    text = FOUR_EDGE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return loads(text)


def test_bridges_say_what_they_are_and_have_different_datapath_ids() -> None:
    bridges = plan(configuration()).bridges
    assert {(b.name, b.edge) for b in bridges if b.role is Role.SERVICE_ROUTER} == {
        (f"t0-sr{k}", f"edge{k}") for k in (1, 2, 3, 4)
    }
    assert {b.name for b in bridges if b.controlled} == {
        "t0-dr", "t0-bp", "t0-pn", "t0-ps", *(f"t0-sr{k}" for k in (1, 2, 3, 4))
    }
    assert {b.name for b in bridges if not b.controlled} == {"seg-web"}
    assert len({b.dpid for b in bridges}) == len(bridges)


def test_inside_prefixes_are_the_segments_and_the_blocks_of_nat_addresses() -> None:
    assert set(plan(configuration()).inside) == {
        ip_network(n) for n in ("10.0.0.0/24", "2001:db8:a::/64", "198.51.100.0/24")
    }


def test_a_nat_address_on_an_uplink_subnet_needs_no_route() -> None:
    changed = configuration(("translated_network: 198.51.100.1", "translated_network: 172.16.1.77"),
                            ("destination_network: 198.51.100.80", "destination_network: 172.16.2.80"))
    assert ip_network("10.0.0.0/24") in plan(changed).inside
    assert not any(network.overlaps(ip_network("172.16.0.0/16")) for network in plan(changed).inside
                   if network.version == 4)


def test_a_physical_router_reaches_every_inside_prefix_over_all_service_routers() -> None:
    routes = plan(configuration()).routes(0)
    assert {str(hop) for hop, _ in routes[ip_network("198.51.100.0/24")]} == {f"172.16.{k}.2" for k in (1, 2, 3, 4)}
    assert {str(hop) for hop, _ in routes[ip_network("2001:db8:a::/64")]} == {
        f"2001:db8:{k}::2" for k in (1, 2, 3, 4)
    }


def test_uplinks_on_one_subnet_share_an_external_network(shared_uplink: str) -> None:
    shared = plan(loads(shared_uplink))
    (net,) = shared.external
    assert net.bridge == "ext1"
    assert [uplink.bridge for uplink in net.uplinks] == ["t0-sr1", "t0-sr2", "t0-sr3", "t0-sr4"]
    assert {str(address) for address in net.routers[0]} == {"172.16.1.1/24", "2001:db8:1::1/64"}
    assert ("t0-sr3", "t0-up3", "ext1", "ext1-p3") in {
        (c.bridge1, c.port1, c.bridge2, c.port2) for c in shared.cables
    }


def test_two_next_hops_on_an_uplink_are_two_physical_routers() -> None:
    ecmp = plan(load(Ecmp.gateway_file))
    assert ecmp.router_count == 2
    assert [[str(a) for a in router] for router in ecmp.external[0].routers] == [
        ["172.16.1.1/24", "2001:db8:1::1/64"], ["172.16.1.3/24", "2001:db8:1::3/64"],
    ]


def test_a_segment_whose_interfaces_would_get_too_long_is_refused() -> None:
    with pytest.raises(LabError, match="segment verylongweb gives the interface name 'seg-verylongweb-dr'"):
        plan(configuration(("{id: web, gateway: t0,", "{id: verylongweb, port: t0-dr-long, gateway: t0,")))


def test_interfaces_of_the_switches_are_known_beforehand() -> None:
    topology = FourEdge(config=Path(FourEdge.gateway_file))
    assert {"A-web", "C-web", "t0-up4", "t0-dr", "seg-web"} <= topology.interfaces()
    assert "A-eth0" not in topology.interfaces()
