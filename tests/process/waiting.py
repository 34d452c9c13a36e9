"""Waiting for a condition: poll until it holds, fail with its description when it does not in time."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result], what: str, timeout: float = 20.0) -> Result:
    """Return the first true value of ``condition``; AssertionError naming ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        time.sleep(0.02)
