"""What goes wrong in a lab, in one clear sentence each."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """A lab, its Open vSwitch or its controller cannot do what was asked; the message says what and why."""


class CommandError(LabError):
    """A command failed or ran out of time.  ``result`` holds what it printed until then."""

    def __init__(self, command: str | Sequence[str], result: object, reason: str) -> None:
        words = command if isinstance(command, str) else " ".join(command)
        super().__init__(f"{reason}: {words}\n{result.stdout}{result.stderr}".rstrip())
        self.result = result
