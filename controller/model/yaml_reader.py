"""YAML text to plain values (mappings, lists, texts, numbers, booleans, None), strictly.

Stricter than PyYAML's ``safe_load`` where that surprises: a key given twice is refused, and plain words mean what
they mean in YAML 1.2's core schema, so ``no`` is a text and ``2001:10:20:30:40:50:1:2`` an address, not a number.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from controller.model.problems import FILE, ModelError, Problem, join

MAX_VALUES = 200_000
"""Values a file may have once its aliases are followed; a few aliases of aliases could ask for any amount."""

_PREFIX = "tag:yaml.org,2002:"
_PLAIN_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """SafeLoader for the values JSON has."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_PREFIX) in _PLAIN_TAGS
    }


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    # A float that is written like an int must have been tried as an int first; a number such as 007 is a text.
    _regexp = re.compile(rf"^(?:{_pattern})$" if _tag != "float" else rf"^(?![-+]?[0-9]+$)(?:{_pattern})$")
    _Loader.add_implicit_resolver(_PREFIX + _tag, _regexp, _first)


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text with one document; ModelError with one problem for what is no such text."""
    try:
        return _read(_Loader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise _broken(f"is not valid YAML: {where}{what}") from None
    except yaml.YAMLError as error:
        raise _broken(f"is not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise _broken("is nested too deeply") from None
    except ValueError as error:
        raise _broken(f"has a value that cannot be read: {error}") from None


def _read(loader: _Loader) -> Any:
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Walk().walk(node, FILE)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _broken(message: str, path: str = FILE) -> ModelError:
    return ModelError([Problem(path, message)])


class _Walk:
    """One walk over a document's nodes that refuses duplicate keys, and aliases that lead to no end."""

    def __init__(self) -> None:
        self._above: set[int] = set()
        self._values = 0

    def walk(self, node: yaml.Node, path: str) -> None:
        """Check the node at ``path`` and all below it; ModelError."""
        self._values += 1
        if id(node) in self._above:
            raise _broken("the alias refers to something that contains it", path)
        if self._values > MAX_VALUES:
            raise _broken(f"more than {MAX_VALUES} values")
        self._above.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                self.walk(item, join(path, position))
        self._above.remove(id(node))

    def _mapping(self, node: yaml.MappingNode, path: str) -> None:
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _broken(f"line {line}: a key must be a text", path)
            name = key.value
            if name in lines:
                raise _broken(f"the key is given twice, in line {lines[name]} and in line {line}", join(path, name))
            lines[name] = line
            self.walk(value, join(path, name))
