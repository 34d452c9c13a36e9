"""Polling instead of sleeping: wait for what is expected, and say what was seen when it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from topologies.errors import LabError

T = TypeVar("T")


class ExpectationError(AssertionError):
    """What was expected did not come in time; ``last`` is the last value seen (or the last exception)."""

    def __init__(self, message: str, last: object) -> None:
        super().__init__(message)
        self.last = last


def run_and_expect(
    function: Callable[[], T],
    predicate: Callable[[T], Any] | object = bool,
    timeout: float = 10.0,
    what: str = "",
    interval: float = 0.05,
) -> T:
    """Call ``function`` until ``predicate`` holds for its value, and return that value.

    ``predicate`` is a function of the value, or the value expected (default: anything true).  ``timeout`` and
    ``interval`` are seconds; ``what`` names the expectation in the error.  LabError and OSError of ``function``
    mean "not yet".  Raises ExpectationError with the last value (or error) seen.
    """
    holds = predicate if callable(predicate) else lambda value: value == predicate
    deadline = time.monotonic() + timeout
    while True:
        try:
            last: object = function()
            if holds(last):
                return last
            seen = f"last value: {last!r}"
        except (LabError, OSError) as error:
            last = error
            seen = f"last error: {type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            name = what or getattr(function, "__name__", repr(function))
            raise ExpectationError(f"not within {timeout:g} s: {name}; {seen}", last)
        time.sleep(interval)
