"""What is installed: our launcher under Ryu's name, the pinned versions, every file that the programs need."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.prefix) / "bin"


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("script", "target"),
    [
        ("ryu-manager", "from controller.launcher import main"),
        ("saga-manager", "from controller.launcher import saga_main"),
        ("saga", "from controller.cli import main"),
    ],
)
def test_the_commands_of_the_environment_are_ours(script: str, target: str) -> None:
    assert target in (BIN / script).read_text()


def test_ryu_manager_starts_and_says_its_version_and_nothing_else() -> None:
    done = subprocess.run([BIN / "ryu-manager", "--version"], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout + done.stderr) == (0, "ryu-manager 4.34\n")


@pytest.mark.parametrize("name, version", pins().items())
def test_the_tested_versions_are_the_installed_ones(name: str, version: str) -> None:
    assert importlib.metadata.version(name) == version


def test_every_requirement_is_pinned() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    sections = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    named = {re.split(r"[<>=\[]", line)[0] for section in sections for line in section.split()}
    pinned = {name.lower() for name in pins()}

    assert {name for name in named if name.lower() not in pinned} == set()


def test_the_mininet_folder_does_not_hide_mininet() -> None:
    script = "import mininet.topo, mininet.net; print(mininet.__file__)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_absolute()
    assert not Path(done.stdout.strip()).is_relative_to(REPOSITORY)


def test_the_model_does_not_need_ryu() -> None:
    script = "import sys, controller.model, controller.options; print('ryu' in sys.modules, 'eventlet' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)

    assert done.stdout == "False False\n", done.stderr


def test_what_the_makefile_calls_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    modules = re.findall(r"-m ((?:controller|topologies)[\w.]*)", makefile)
    scripts = re.findall(r"(scripts/[\w-]+\.sh)", makefile)

    assert modules and scripts
    missing = [name for name in modules if not (REPOSITORY / (name.replace(".", "/") + ".py")).exists()]
    assert missing + [name for name in scripts if not (REPOSITORY / name).exists()] == []
