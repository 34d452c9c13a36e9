"""The model as a package: its schema file is current, and it stands without Ryu."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from controller.model.schema import SCHEMA_FILE, schema_text

ROOT = Path(__file__).parents[2]

IMPORT_ALL = """
import importlib, pkgutil, sys
import controller.model
names = [module.name for module in pkgutil.iter_modules(controller.model.__path__, "controller.model.")]
for name in names:
    importlib.import_module(name)
print(len(names), sorted(name for name in sys.modules if name.split(".")[0] in ("ryu", "eventlet", "os_ken")))
"""


def test_schema_file_is_current() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), "run python -m controller.model.schema"


def test_schema_is_one_and_accepts_the_example() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    example = yaml.safe_load((ROOT / "etc" / "gateways" / "four_edge.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("name", ["unknown-key", "misspelt-key", "no-version", "mtu-too-small", "bad-bridge-prefix"])
def test_schema_refuses_what_has_the_wrong_shape(name: str) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    document = yaml.safe_load((ROOT / "tests" / "bad_gateways" / f"{name}.yaml").read_text())
    assert not validator.is_valid(document)


def test_model_imports_no_ryu() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split(maxsplit=1)
    assert int(answer[0]) > 10
    assert answer[1].strip() == "[]"
