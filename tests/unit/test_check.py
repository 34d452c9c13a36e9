"""``saga check``: exit code and output for good files, and for every file of the collection of bad ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from controller import cli

ROOT = Path(__file__).parents[2]
BAD = sorted((ROOT / "tests" / "bad_gateways").glob("*.yaml"))
GOOD = sorted((ROOT / "etc" / "gateways").glob("*.yaml"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_gives_one_line_with_the_path_and_exit_code_2(path: Path, capsys: pytest.CaptureFixture) -> None:
    where, what = re.fullmatch(r"# path: (.+?)  message: (.+)", path.read_text().splitlines()[0]).groups()
    assert cli.main(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith(f"{path}: {where}: ") and what in line


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_is_called_valid(path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["check", str(path)]) == 0
    assert f"{path}: valid, 1 gateway(s)" in capsys.readouterr().out


def test_json(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["check", "--json", str(BAD[0])]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["valid"] is False and set(told["problems"][0]) == {"path", "message"}


def test_what_is_valid_but_unwise_is_said_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "stateless.yaml"
    path.write_text((ROOT / "etc/gateways/four_edge.yaml").read_text().replace("enabled: true", "enabled: false"))
    assert cli.main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "stateful_firewall_without_redirection" in out and "Remedy: " in out
