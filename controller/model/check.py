"""Everything that is checked of a document, in stages, so that no problem is reported only because of another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from controller.model import (
    check_addresses,
    check_firewall,
    check_identity,
    check_nat,
    check_references,
    check_topology,
    routes,
)
from controller.model.document import Document
from controller.model.problems import ModelError, Problem
from controller.model.view import View, build

DOCUMENT_STAGES = (check_identity.CHECKS, check_references.CHECKS)
VIEW_STAGES = (
    (*check_topology.CHECKS, *check_addresses.CHECKS, *check_firewall.CHECKS),
    (*routes.CHECKS, *check_nat.CHECKS),
    routes.COVERAGE_CHECKS,
)


def checked(document: Document) -> View:
    """Return the view of a document in which nothing is wrong.

    Raises ModelError with all problems of the first stage that finds any.
    """
    for stage in DOCUMENT_STAGES:
        _raise_any(_run(stage, document))
    view = build(document)
    for stage in VIEW_STAGES:
        _raise_any(_run(stage, view))
    return view


def _run(stage: Iterable[Callable], subject: Document | View) -> Iterator[Problem]:
    for check in stage:
        yield from check(subject)


def _raise_any(problems: Iterable[Problem]) -> None:
    # Two gateways on one edge cluster may find the same fault there.
    found = tuple(dict.fromkeys(problems))
    if found:
        raise ModelError(found)
