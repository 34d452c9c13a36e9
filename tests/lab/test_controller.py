"""The lab's own controller process: starting, stopping, settling, and changing the gateway file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from topologies.errors import LabError
from topologies.expect import run_and_expect
from topologies.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("vm_a_to_host_b") as running:
        running.wait_settled()
        yield running


def test_the_gateway_forwards(lab: Lab) -> None:
    a = lab.host("A")
    for address in ("10.0.0.1", "192.0.2.2", "2001:db8:a::1", "2001:db8:b::2"):
        run_and_expect(lambda: a.run(f"ping -c 1 -W 1 {address}"), lambda _: True, what=f"{address} answers")  # noqa: B023


def test_stopped_controller_leaves_the_switches_at_work_and_starts_again_on_the_same_ports(lab: Lab) -> None:
    lab.host("A").run("ping -c 1 192.0.2.2")
    api = lab.api
    lab.stop_controller()
    assert not lab.controller.running
    lab.host("A").run("ping -c 3 -i 0.1 192.0.2.2")
    with pytest.raises(LabError, match=r"the controller is not running \(exit code not started\)"):
        lab.wait_settled(5)
    lab.start_controller()
    assert lab.wait_settled()["settled"] and lab.api == api
    with pytest.raises(LabError, match="runs already"):
        lab.start_controller()


def test_a_controller_that_ends_by_itself_is_reported_with_its_log(lab: Lab) -> None:
    lab.stop_controller()
    good = lab.gateway_file.read_text()
    try:
        lab.gateway_file.write_text("version: 1\nnonsense: true\n")
        lab.start_controller()
        with pytest.raises(LabError, match=r"(?s)the controller is not running \(exit code \d+\).*nonsense"):
            lab.wait_settled()
    finally:
        lab.stop_controller()
        lab.gateway_file.write_text(good)
        lab.start_controller()
        lab.wait_settled()


def test_a_new_gateway_file_changes_the_gateway_and_the_physical_routes(lab: Lab) -> None:
    text = lab.gateway_file.read_text()
    changed = text.replace("translated_network: 198.51.100.1,", "translated_network: 192.88.99.9,")
    status, _ = lab.set_config(changed)
    assert status == 200
    lab.wait_settled()
    assert "192.88.99.0/24" in lab.host("R").run("ip route show").stdout
    with lab.capture("B", "B-R", "icmp") as seen:
        lab.host("A").run("ping -c 1 192.0.2.2")
        run_and_expect(
            lambda: any("192.88.99.9 > 192.0.2.2: ICMP echo request" in line for line in seen.lines),
            what="the new translation at B",
        )
    assert lab.config.gateways[0].nat_rules[0].translated[0].compressed == "192.88.99.9"
    lab.set_config(text)
    lab.wait_settled()


def test_a_bad_gateway_file_is_refused_and_the_old_one_stays(lab: Lab) -> None:
    before = lab.config
    text = lab.gateway_file.read_text()
    with pytest.raises(LabError, match="refuses the gateway file: 4.*nonsense"):
        lab.set_config(text + "nonsense: true\n")
    assert lab.set_config(text + "nonsense: true\n", check=False)[0] >= 400
    assert lab.config is before
    lab.host("A").run("ping -c 1 192.0.2.2")
    lab.set_config(text)


def test_conntrack_shows_the_translation(lab: Lab) -> None:
    lab.host("A").run("ping -c 1 192.0.2.77")
    zones = [router.zone for router in lab.config.gateways[0].routers]
    found = [entry for zone in zones for entry in lab.conntrack(zone) if entry["orig"]["dst"] == "192.0.2.77"]
    assert [entry["reply"]["dst"] for entry in found] == ["198.51.100.1"]
