"""Long columns say what was put into them, in little memory."""

from __future__ import annotations

import sys

import pytest

from llmops_cli.core.digest import digest
from llmops_cli.run.side import Digests, TrialAt, TrialColumn


def test_digests_come_back_as_they_went_in() -> None:
    given = [digest("llmops/test/v1", at) for at in range(5)]
    column = Digests()
    for each in given:
        column.append(each)
    assert (list(column), len(column), column[3]) == (given, 5, given[3])
    column[3] = given[0]
    assert list(column) == [*given[:3], given[0], given[4]]
    with pytest.raises(IndexError):
        column[5]


def test_trials_are_a_sequence_of_eight_bytes_each() -> None:
    column = TrialColumn()
    for at in range(1000):
        column.append(TrialAt(at, at % 3))
    assert len(column) == 1000
    assert list(column) == [TrialAt(at, at % 3) for at in range(1000)]
    assert sum(sys.getsizeof(getattr(column, name)) for name in TrialColumn.__slots__) < 10_000
