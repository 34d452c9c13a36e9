"""What is wrong with a gateway file: problems with the path of the offending field, and the error that carries them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

FILE = "(file)"
"""Path of a problem that concerns the file as a whole."""

_LISTED = 12


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: ``path`` such as ``tier0s[0].nat_rules[2].scope[0]``, and what is allowed there."""

    path: str
    message: str

    def __str__(self) -> str:
        """Return ``path: message``."""
        return f"{self.path}: {self.message}"


class ModelError(Exception):
    """A gateway file that cannot be used.  ``problems`` is never empty; ``source`` names the file."""

    def __init__(self, problems: Iterable[Problem], source: str | None = None) -> None:
        """Take the problems in the order in which they are to be shown."""
        self.problems = tuple(problems)
        self.source = source
        start = f"{source}: " if source else ""
        super().__init__("\n".join(f"{start}{problem}" for problem in self.problems))


def join(path: str, part: str | int) -> str:
    """Return the path of a key or of a list position below ``path`` (empty or FILE: the document itself)."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return part if path in ("", FILE) else f"{path}.{part}"


def listing(names: Collection[str]) -> str:
    """Return the names for a message, cut short where there are many."""
    shown = list(names)[:_LISTED]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "") if shown else "none"


def suggestion(wrong: str, right: Collection[str]) -> str | None:
    """Return the name that was probably meant, or None."""
    close = difflib.get_close_matches(wrong, list(right), n=1, cutoff=0.6)
    return close[0] if close else None


def hint(wrong: str, right: Collection[str]) -> str:
    """Return the end of a message about an unknown name: what was probably meant, and what is allowed."""
    meant = suggestion(wrong, right)
    return (f"did you mean {meant!r}? " if meant else "") + f"Allowed: {listing(right)}"


def describe(value: object) -> str:
    """Return a value as read from YAML in words, to be said after "not"."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {str(value)[:40]}"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"
