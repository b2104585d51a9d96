"""Fixtures of the tests that need no project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmops_cli.run.scorers import Scorers
from llmops_cli.stores.results import ResultsStore, open_results
from tests.unit.run.sides import CASES, EXACT, bound


@pytest.fixture
def store() -> Iterator[ResultsStore]:
    with open_results(None) as opened:
        yield opened


@pytest.fixture
def scorers() -> Scorers:
    return bound(CASES, EXACT)
