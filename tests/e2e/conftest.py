"""The four-edge lab for the tests of a module, and what is kept of it when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.helpers import four_edge, keep_artifacts
from topologies.lab import Lab

_LAB = pytest.StashKey[Lab]()


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A settled four-edge lab.  A module may name its gateway file (path or text) as GATEWAY."""
    with four_edge(getattr(request.module, "GATEWAY", None)) as running:
        request.node.stash[_LAB] = running
        yield running
        del request.node.stash[_LAB]


@pytest.fixture(scope="module")
def four_edge_lab(request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """A function that starts and returns a settled four-edge lab (see ``helpers.four_edge``), in place of its last."""
    with ExitStack() as stack:

        def start(*arguments, **options) -> Lab:
            stack.close()
            running = stack.enter_context(four_edge(*arguments, **options))
            request.node.stash[_LAB] = running
            return running

        yield start


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.CallInfo, None]:
    outcome = yield
    module = item.getparent(pytest.Module)
    if outcome.get_result().failed and module is not None and _LAB in module.stash:
        keep_artifacts(module.stash[_LAB], item.nodeid)
