"""The generated page says what the code says, and the page about the gateway file has every key with its default."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

from controller.compile.actions import Reason
from controller.model.document import Document
from controller.pipeline import document, fields, groups, tables
from controller.pipeline.addresses import FrameKind, InterfaceKind
from controller.pipeline.cookies import Category
from controller.pipeline.priorities import Band

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = Document.model_json_schema()
OBJECTS = {name: schema for name, schema in {**SCHEMA["$defs"], "Document": SCHEMA}.items() if "properties" in schema}


@pytest.fixture(scope="module")
def page() -> str:
    return document.page()


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows of a Markdown text."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in text.splitlines() if line.startswith("|")]


def test_the_committed_page_is_up_to_date(page: str) -> None:
    assert (DOCS / "pipeline.md").read_text(encoding="utf-8") == page, "run `make docs`"


def test_the_page_is_the_same_every_time(page: str) -> None:
    assert document.page() == page


def test_every_table_is_described(page: str) -> None:
    for table in tables.TABLES:
        section = page.split(f"\n### {table.name}\n")[1].split("\n### ")[0]
        assert f"Table {table.number} of: " in section
        assert table.purpose in section
        assert all(f"`{name}`" in section for name in (*table.matches, *table.sets, *table.next))
        assert table.miss in section
        assert "```text" in section, f"{table.name} has no sample"
        assert [str(table.number), f"[{table.name}](#{table.name.lower()})"] in [row[:2] for row in rows(page)]


def test_every_register_field_and_mark_is_described(page: str) -> None:
    described = {row[0]: row for row in rows(page)}
    for field in fields.REG_FIELDS:
        _, bits, purpose, marks = described[f"`{field.name}`"]
        assert bits == f"{field.register}[{field.first}..{field.first + field.bits - 1}]"
        assert purpose == field.purpose
        named = {name: mark.value for name, mark in fields.MARKS.items() if mark.field == field}
        assert all(f"`{name}` = {value}" in marks for name, value in named.items())


def test_register_fields_do_not_overlap() -> None:
    def bits(field: fields.RegField) -> set[int]:
        first = 128 * int(field.register[5:]) if field.register.startswith("xxreg") else 32 * int(field.register[3:])
        return set(range(first + field.first, first + field.first + field.bits))

    for one, other in combinations(fields.REG_FIELDS, 2):
        assert not bits(one) & bits(other), f"{one.name} and {other.name}"


@pytest.mark.parametrize("declared", [fields.FIELDS, Band, Category, Reason, FrameKind, InterfaceKind,
                                      groups.NAMES.values()])
def test_everything_declared_by_name_has_a_row(page: str, declared) -> None:
    names = [getattr(entry, "name", entry) for entry in declared]
    first_cells = {row[0] for row in rows(page)}
    assert names and not [name for name in names if f"`{name}`" not in first_cells]


def test_samples_are_few(page: str) -> None:
    for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL):
        assert len([line for line in block.splitlines() if not line.startswith("#")]) <= 20


def keys(name: str) -> dict[str, list[str]]:
    """Rows by key of the section of docs/gateway-file.md about an object of the schema."""
    text = (DOCS / "gateway-file.md").read_text(encoding="utf-8")
    section = re.search(rf"<!-- {name} -->\n.*?(\| key \|.*?)(?=\n<!-- |\Z)", text, re.DOTALL)
    assert section, f"docs/gateway-file.md has no section <!-- {name} -->"
    return {row[0].strip("`"): row for row in rows(section[1]) if row[0].startswith("`")}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_key_of_the_gateway_file_is_described_with_its_default(name: str) -> None:
    described, properties = keys(name), OBJECTS[name]["properties"]
    assert described.keys() == properties.keys()
    for key, schema in properties.items():
        _, kind, default, meaning = described[key]
        assert kind and meaning
        if key in OBJECTS[name].get("required", ()):
            assert default == "required"
        elif schema["default"] not in (None, [], {}) and not isinstance(schema["default"], dict):
            value = schema["default"]
            wanted = value if isinstance(value, str) else json.dumps(value)
            assert default == f"`{wanted}`", f"{name}.{key}"
        else:
            assert default not in ("", "required")


def test_every_value_of_the_gateway_file_is_named() -> None:
    text = (DOCS / "gateway-file.md").read_text(encoding="utf-8")
    values = [value for schema in SCHEMA["$defs"].values() for value in schema.get("enum", ())]
    assert values and not [value for value in values if f"`{value}`" not in text]


def test_every_alarm_is_in_the_operations_page() -> None:
    root = DOCS.parent / "controller"
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py")))
    found = set(re.findall(r'^ +id="([a-z_]+)",$', sources, re.MULTILINE))
    found |= set(re.findall(r'raise_alarm\(\s*"([a-z_]+)"', sources))
    found |= set(re.findall(r'"([a-z_]+)"', re.search(r"DISCONNECTED, PORT_MISSING.*?\)", sources, re.DOTALL)[0]))
    assert len(found) >= 10
    described = {row[0].strip("`") for row in rows((DOCS / "operations.md").read_text(encoding="utf-8"))}
    assert found <= described, f"docs/operations.md says nothing of {sorted(found - described)}"
