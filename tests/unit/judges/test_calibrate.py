"""Labels beside readings: verdicts, grades and classes, sides, and what was not read."""

from __future__ import annotations

import pytest

from llmops_cli.core.prompt import Case
from llmops_cli.core.records import Counts
from llmops_cli.core.result import Metric, Score, Unscored
from llmops_cli.judges.calibrate import Reading, count_classes, counts_of, failed_by_both
from llmops_cli.project.labels import Label

PASS = Metric(label="tone", scorer="", unit="fraction", minimum=1.0)
MUTE = Unscored(why="the judge refused to answer")


def read(given: bool | float, first: float | None, second: float | None = None) -> Reading:
    label = Label(id="one", case=Case(id="one"), output="x", value=given)
    scores = [MUTE if each is None else Score(value=each) for each in (first, second)]
    return Reading(label, scores[0], scores[1])


def test_the_first_reading_is_compared_with_labels_and_the_second_with_the_first() -> None:
    those = [read(True, 1, 1), read(True, 0, 1), read(False, 1, 0), read(False, 0, 0)]
    assert counts_of(those, PASS) == Counts(
        both_pass=1, only_people_pass=1, only_judge_passes=1, both_fail=1, read_twice=4, differing=2
    )


def test_a_reading_that_was_not_given_is_counted_and_decides_nothing() -> None:
    those = [read(True, None, 1), read(True, 1, None), read(False, None, None)]
    assert counts_of(those, PASS) == Counts(both_pass=1, unscored=4)


@pytest.mark.parametrize(
    ("minimum", "both_pass", "only_people", "only_judge"), [(0.5, 2, 1, 0), (1.0, 1, 0, 0)]
)
def test_a_grade_passes_where_the_judge_s_would(
    minimum: float, both_pass: int, only_people: int, only_judge: int
) -> None:
    metric = Metric(label="tone", scorer="", unit="fraction", minimum=minimum)
    found = counts_of([read(1.0, 1.0), read(0.5, 0.75), read(0.5, 0.25)], metric)
    assert (found.both_pass, found.only_people_pass, found.only_judge_passes) == (
        both_pass,
        only_people,
        only_judge,
    )


def test_what_is_negated_passes_where_people_say_pass() -> None:
    refused = Metric(label="refusal", scorer="", minimum=1.0, negate=True)
    found = counts_of([read(True, 0, 0), read(False, 1, 1)], refused)
    assert (found.both_pass, found.both_fail) == (1, 1)


def test_classes_of_one_score_are_one_and_agreement_is_over_all_of_them() -> None:
    names = {"warm": 1.0, "kind": 1.0, "cool": 0.5, "rude": 0.0}
    those = [read(1.0, 1.0), read(0.5, 0.5), read(0.0, 0.0), read(0.0, 0.5)]
    found = count_classes(those, names)
    assert found is not None
    assert found.names == ("warm / kind", "cool", "rude")
    assert found.table == ((1, 0, 0), (0, 1, 0), (0, 1, 1))
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(7 / 11)
    assert count_classes(those, {}) is None


def test_canaries_are_answers_that_people_and_judge_failed() -> None:
    those = [read(False, 0), read(False, 1), read(True, 0), read(False, None)]
    assert list(failed_by_both(those, PASS)) == [those[0].label]
