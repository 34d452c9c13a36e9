"""From a gateway file to a resolved configuration: read YAML, check its shape, resolve it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from controller.model.document import Document
from controller.model.gateway import Config
from controller.model.problems import FILE, ModelError, Problem, describe, hint, join, suggestion
from controller.model.resolve import resolve
from controller.model.yaml_reader import read_yaml

_TYPES = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "model_attributes_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "string_type": "a text (in quotes where YAML reads it otherwise)",
    "tuple_type": "a list",
}


def load(path: str | PathLike[str], running: Config | None = None) -> Config:
    """Return the configuration of a gateway file; ``running`` is the one that it takes the place of, if any.

    The sub-clusters of a running gateway are kept (``placement.form``).  Raises ModelError with every problem found
    (``problems``), also when the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError([Problem(FILE, f"cannot be read: {error.strerror}")], str(path)) from None
    except UnicodeDecodeError as error:
        raise ModelError([Problem(FILE, f"is not UTF-8 text: {error.reason}")], str(path)) from None
    return loads(text, str(path), running)


def loads(text: str, source: str | None = None, running: Config | None = None) -> Config:
    """Return the configuration of a gateway file's text as ``load`` does; a ModelError shows ``source``."""
    try:
        return resolve(parse(text), running)
    except ModelError as error:
        raise ModelError(error.problems, source) from None


def parse(text: str) -> Document:
    """Return the document of a gateway file's text, not yet resolved; ModelError if its shape is wrong."""
    value = read_yaml(text)
    try:
        # By way of JSON, because strict validation takes lists and texts for tuples and enumerations only there.
        return Document.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise ModelError(_problems(error.errors(include_url=False), value)) from None


def _problems(errors: Sequence[ErrorDetails], value: Any) -> Iterator[Problem]:
    """Translate pydantic's errors, without those that only follow from another one."""
    misspelt = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            *parent, key = error["loc"]
            meant = suggestion(str(key), _allowed_keys(parent))
            if meant and meant not in _at(value, parent):
                misspelt.add((*parent, meant))
    for error in errors:
        follows = (error["type"] == "missing" and error["loc"] in misspelt) or (
            # pydantic counts the valid items only
            error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]
        )
        if not follows:
            yield Problem(_path(error["loc"]), _message(error))


def _message(error: ErrorDetails) -> str:
    kind, found = error["type"], error["input"]
    if kind == "refused":
        return error["msg"]
    if kind == "missing":
        return "this key is required"
    if kind == "extra_forbidden":
        *parent, key = error["loc"]
        return f"unknown key; {hint(str(key), _allowed_keys(parent))}"
    if kind in ("enum", "literal_error"):
        return f"must be {error['ctx']['expected']}, not {describe(found)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        node = _schema_at(error["loc"])
        return f"must be {node['minimum']} to {node['maximum']}, not {describe(found)}"
    if kind in ("too_short", "too_long"):
        node = _schema_at(error["loc"])
        if node.get("minItems") == node.get("maxItems"):
            return f"the number of items must be {node['minItems']}, not {len(found)}"
        limits = [f"at least {node['minItems']}"] if node.get("minItems") else []
        limits += [f"at most {node['maxItems']}"] if "maxItems" in node else []
        return f"the number of items must be {' and '.join(limits)}, not {len(found)}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {describe(found)}"
    return error["msg"]


def _path(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        if not _is_branch(part):
            path = join(path, part)
    return path or FILE


def _is_branch(part: str | int) -> bool:
    """Tell whether a part of pydantic's location names the branch of a union, such as ``<entry>``, not a key."""
    return part in ("<id>", "<entry>")


def _at(value: Any, location: Sequence[str | int]) -> Any:
    for part in location:
        if not _is_branch(part):
            value = value[part]
    return value


@functools.cache
def _schema() -> dict[str, Any]:
    return Document.model_json_schema()


def _schema_at(location: Sequence[str | int]) -> dict[str, Any]:
    node = _follow(_schema())
    for part in location:
        if _is_branch(part):
            continue
        node = _follow(node["items"] if isinstance(part, int) else node["properties"][part])
    return node


def _follow(node: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema node says of lists, numbers and mappings: follow references and unions to it."""
    while True:
        if "$ref" in node:
            node = _schema()["$defs"][node["$ref"].rpartition("/")[2]]
            continue
        branches = node.get("anyOf") or node.get("oneOf")
        if not branches:
            return node
        node = next((b for b in branches if "$ref" in b or b.get("type") in ("integer", "array")), branches[0])


def _allowed_keys(location: Sequence[str | int]) -> list[str]:
    return list(_schema_at(location)["properties"])
