"""Every file of the collection of bad gateway files has one problem, at the path and with the words it announces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.model import ModelError, Problem, load

COLLECTION = sorted((Path(__file__).parents[1] / "bad_gateways").glob("*.yaml"))


def test_collection_is_there() -> None:
    assert len(COLLECTION) > 100


@pytest.mark.parametrize("path", COLLECTION, ids=lambda path: path.stem)
def test_one_clear_problem(path: Path) -> None:
    announced = re.fullmatch(r"# path: (.+?)  message: (.+)", path.read_text().splitlines()[0])
    assert announced, "the first line is not '# path: PATH  message: SUBSTRING'"
    with pytest.raises(ModelError) as caught:
        load(path)
    assert [problem.path for problem in caught.value.problems] == [announced[1]]
    assert announced[2] in caught.value.problems[0].message
    assert str(caught.value) == f"{path}: {caught.value.problems[0]}"


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "absent.yaml")
    assert caught.value.problems == (Problem("(file)", "cannot be read: No such file or directory"),)


def test_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"version: \xff\n")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "binary.yaml")
    assert caught.value.problems == (Problem("(file)", "is not UTF-8 text: invalid start byte"),)
