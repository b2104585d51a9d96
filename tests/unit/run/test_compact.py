"""Long columns say what was put into them, in little memory."""

from __future__ import annotations

import sys

import pytest

from llmops_cli.core.digest import digest
from llmops_cli.run.columns import Digests, TrialAt, Trials


def test_digests_come_back_as_they_went_in() -> None:
    given = [digest("llmops/test/v1", at) for at in range(5)]
    held = Digests()
    for each in given:
        held.append(each)
    assert (list(held), len(held), held[3]) == (given, 5, given[3])
    held[3] = given[0]
    assert list(held) == [*given[:3], given[0], given[4]]
    with pytest.raises(IndexError):
        held[5]


def test_trials_are_a_sequence_of_eight_bytes_each() -> None:
    held = Trials()
    for at in range(1000):
        held.append(TrialAt(at, at % 3))
    assert (held[7], held[5:7], len(held)) == (TrialAt(7, 1), [TrialAt(5, 2), TrialAt(6, 0)], 1000)
    assert held == [TrialAt(at, at % 3) for at in range(1000)]
    assert sum(sys.getsizeof(getattr(held, name)) for name in Trials.__slots__) < 10_000
