"""``python -m topologies.run``: the lab for people."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(*arguments: str, commands: str = "exit\n") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "topologies.run", *arguments], input=commands, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=120,
    )


def test_the_lab_comes_up_with_its_command_line() -> None:
    finished = run("vm_a_to_host_b", commands="A ping -c 2 -i 0.2 B\nexit\n")
    assert finished.returncode == 0, finished.stderr
    assert "hosts: A, B, R" in finished.stdout
    assert "2 packets transmitted, 2 received" in finished.stderr  # Mininet prints there


def test_a_bad_gateway_file_ends_with_exit_code_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nnonsense: true\n")
    finished = run("four_edge", "--config", str(bad))
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "nonsense" in finished.stderr and "Traceback" not in finished.stderr


def test_an_unknown_topology_ends_with_exit_code_2() -> None:
    finished = run("five_edge")
    assert finished.returncode == 2
    assert "no topology 'five_edge'" in finished.stderr
