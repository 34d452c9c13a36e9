"""What the REST interface and ``saga show`` say of sub-clusters and peers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from controller.alarms import Alarms
from controller.api.state import State
from controller.cli import main
from controller.model import load, loads

EXAMPLE = Path(__file__).parents[2] / "etc" / "gateways" / "four_edge.yaml"


@pytest.fixture
def text() -> str:
    """Return the text of a gateway with three edges and one pair that is named."""
    lines = EXAMPLE.read_text().splitlines()
    kept = "\n".join(line for line in lines if "edge4" not in line)
    kept = kept.replace(", up4]", "]").replace(", {ip_address: 172.16.4.1}", "")
    kept = kept.replace(', {ip_address: "2001:db8:4::1"}', "")
    return kept.replace("    locale_service:", "    allow_unpaired: true\n    sub_clusters: [{edges: [edge3, edge2]}]\n"
                                               "    locale_service:")


@pytest.fixture
def state(text: str) -> State:
    return State(loads(text), Alarms())


@pytest.fixture
def api(state: State) -> Iterator[str]:
    """Serve the state's documents as the controller does, and give the base URL."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"/saga/v1/gateways": state.gateways, "/saga/v1/health": state.health}[self.path]()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_slot_has_its_peer_in_the_owner_table() -> None:
    (shown,) = State(load(EXAMPLE), Alarms()).gateways()
    assert [(row["slot"], row["member"], row["peer"], row["holder"], row["sub_cluster"])
            for row in shown["owner_table"]] == [
        (1, "edge1", "edge2", "edge1", "1-2"),
        (2, "edge2", "edge1", "edge2", "1-2"),
        (3, "edge3", "edge4", "edge3", "3-4"),
        (4, "edge4", "edge3", "edge4", "3-4"),
    ]
    assert shown["sub_clusters"] == [{"id": "1-2", "slots": [1, 2], "edges": ["edge1", "edge2"]},
                                     {"id": "3-4", "slots": [3, 4], "edges": ["edge3", "edge4"]}]


def test_a_slot_without_backup_has_none(state: State) -> None:
    (shown,) = state.gateways()
    assert [(row["member"], row["peer"], row["sub_cluster"]) for row in shown["owner_table"]] == [
        ("edge1", None, None), ("edge2", "edge3", "2-3"), ("edge3", "edge2", "2-3")]


def test_the_edge_without_backup_raises_an_alarm_until_it_has_one(state: State) -> None:
    def found() -> list[str]:
        return [alarm.entity for alarm in state.alarms.open() if alarm.id == "edge_without_backup"]

    assert found() == ["edges.edge1"]
    state.configure(load(EXAMPLE))
    assert found() == []


def test_show_prints_peers_and_sub_clusters(api: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--api", api, "show"]) == 0
    out = capsys.readouterr().out
    table = [re.findall(r"[\w-]+", line) for line in out[out.index("owner table"):].splitlines()]
    assert ["slot", "member", "peer", "holder", "sub-cluster"] in table
    for row in (["1", "edge1", "none", "edge1", "none"], ["2", "edge2", "edge3", "edge2", "2-3"],
                ["3", "edge3", "edge2", "edge3", "2-3"]):
        assert row in table


def test_show_prints_them_as_json(api: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--api", api, "show", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["gateways"]
    assert shown["sub_clusters"] == [{"id": "2-3", "slots": [2, 3], "edges": ["edge2", "edge3"]}]
