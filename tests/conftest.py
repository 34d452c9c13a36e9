"""Markers by folder, and stopping where something fails."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
MARKERS = {
    "unit": "values only: no process, no socket",
    "property": "random inputs against a rule (hypothesis)",
    "process": "starts the controller as a process and speaks OpenFlow to it",
    "ovs": "a real Open vSwitch",
    "lab": "the lab itself: namespaces and switches, no controller",
    "e2e": "the lab with the controller, and real traffic",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pause-on-error", action="store_true", help="wait for a key at a failure, with the lab running")


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with the name of the folder it is in."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in MARKERS:
            item.add_marker(folder)


def pytest_exception_interact(node: pytest.Item | pytest.Collector, call: pytest.CallInfo) -> None:
    if node.config.getoption("--pause-on-error"):
        manager = node.config.pluginmanager.getplugin("capturemanager")
        with manager.global_and_fixture_disabled():
            print(f"\n{node.nodeid}: {call.excinfo.exconly()}")
            input("paused; press Enter to go on ")
