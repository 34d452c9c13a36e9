"""Running commands, in this network namespace or in a host's, with captured output and a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topologies.errors import CommandError, LabError


@dataclass(frozen=True)
class Result:
    """What a finished command printed, and its exit code."""

    stdout: str
    stderr: str
    returncode: int


def argv_of(command: str | Sequence[str]) -> list[str]:
    """Return the argument list of a command; a string is a shell's (bash) command line."""
    return ["bash", "-c", command] if isinstance(command, str) else [str(word) for word in command]


def end(process: subprocess.Popen, grace: float = 2.0) -> None:
    """End a process that leads its own process group, and the group: SIGTERM, after ``grace`` seconds SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            continue
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def run(
    command: str | Sequence[str],
    timeout: float = 30.0,
    check: bool = True,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Result:
    """Run a command to its end and return its Result.

    A string is run by bash, a list as it is, after ``prefix``; ``env`` replaces the environment.  Raises
    CommandError when it takes longer than ``timeout`` seconds (it is killed with all it started), or when its exit
    code is not 0 and ``check`` is true; LabError when there is no such program.
    """
    argv = [*prefix, *argv_of(command)]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL if stdin is None else pipe, stdout=pipe, stderr=pipe,
            text=True, errors="replace", env=env, start_new_session=True,
        )
    except FileNotFoundError as error:
        raise LabError(f"cannot run {argv[0]}: not found (is its package installed?)") from error
    with process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            result = Result(*process.communicate(), process.wait())
            raise CommandError(command, result, f"still running after {timeout:g} s") from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    result = Result(stdout, stderr, process.returncode)
    if check and result.returncode:
        raise CommandError(command, result, f"exit code {result.returncode}")
    return result
