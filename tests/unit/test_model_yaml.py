"""Reading YAML: stricter than PyYAML where that surprises."""

from __future__ import annotations

import pytest

from controller.model import ModelError, Problem, loads
from controller.model.yaml_reader import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2001:10:20:30:40:50:1:2", "2001:10:20:30:40:50:1:2"),
        ("2024-01-01", "2024-01-01"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("::/0", "::/0"),
        ("true", True),
        ("null", None),
        ("", None),
        ("-5", -5),
        ("1500", 1500),
        ("1.5", 1.5),
        ("{a: ~, b: [1, x]}", {"a": None, "b": [1, "x"]}),
        ("a: &x {p: 1}\nb: {<<: *x, q: 2}", {"a": {"p": 1}, "b": {"p": 1, "q": 2}}),
    ],
)
def test_values(text: str, value: object) -> None:
    assert read_yaml(text) == value
    assert type(read_yaml(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a:\n  - {b: 1}\n  - c: 1\n    c: 2\n",
            Problem("a[1].c", "the key is given twice, in line 3 and in line 4"),
        ),
        ("a: &x [*x]", Problem("a[0]", "the alias refers to something that contains it")),
        (
            "a: 1\n---\nb: 2",
            Problem(
                "(file)",
                "is not valid YAML: line 2, column 1: expected a single document in the stream, "
                "but found another document",
            ),
        ),
        ("[a, b]: 1", Problem("(file)", "line 1: a key must be a text")),
        ("[" * 5000, Problem("(file)", "is nested too deeply")),
    ],
)
def test_refused(text: str, problem: Problem) -> None:
    with pytest.raises(ModelError) as caught:
        read_yaml(text)
    assert caught.value.problems == (problem,)


def test_aliases_of_aliases_do_not_multiply_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ModelError) as caught:
        read_yaml("\n".join(lines))
    assert caught.value.problems == (Problem("(file)", "more than 200000 values"),)


@pytest.mark.parametrize("text", ["", "- 1", "7", "a text"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    with pytest.raises(ModelError) as caught:
        loads(text)
    (problem,) = caught.value.problems
    assert problem.path == "(file)"
    assert problem.message.startswith("must be a mapping (key: value), not ")


def test_control_characters_are_refused() -> None:
    with pytest.raises(ModelError, match="is not valid YAML: unacceptable character #x001f"):
        read_yaml("version: \x1f")
