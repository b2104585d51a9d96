"""A calibration is told in full, with what to do next; hostile names do no harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from llmops_cli.core.records import Calibration, CalibrationStatus, Canaries, Classes, Counts
from llmops_cli.gate.calibration import figures, ruling
from llmops_cli.render.calibration import calibration_line, console_calibration
from tests.hostile import HOSTILE
from tests.unit.stores.test_calibrations import COUNTS, a_calibration

GOOD = Counts(both_pass=90, only_people_pass=5, only_judge_passes=5, both_fail=60, read_twice=160)


def shown(calibration: Calibration, **causes: int) -> str:
    console = Console(width=96, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(
            console_calibration(
                calibration, causes=causes, spent="4 calls + 2 cached, $0.5000", replaced=None
            )
        )
    return " ".join(capture.get().split())


def test_a_fit_judge_is_reported_with_how_a_regression_appears() -> None:
    text = shown(a_calibration(GOOD))
    assert "GATE it may gate. A true regression of 5 points shows as 4.4 points through it" in text
    assert "4 calls + 2 cached, $0.5000" in text


def test_what_keeps_a_judge_from_the_gate_is_named_with_the_next_step() -> None:
    text = shown(a_calibration())
    assert "ADVISORY it may be shown but not gate: J could be as low as 0.3" in text
    assert "fix its criteria or choose another model" in text
    few = shown(a_calibration(Counts(both_pass=50, both_fail=20, read_twice=70)))
    assert "llmops calibrate support:tone --draft more.jsonl # more labels" in few


def test_nothing_is_shown_for_what_is_not_known() -> None:
    text = shown(a_calibration(Counts(both_pass=8, only_people_pass=2, read_twice=10)))
    assert "fails what humans fail (TNR) –" in text
    assert "J is unknown: one of the two labels is missing" in text


def test_sides_classes_canaries_and_missing_readings_are_reported() -> None:
    calibration = replace(
        a_calibration(replace(COUNTS, unscored=3)),
        sides={"v1": COUNTS, "v2": GOOD},
        classes=Classes(names=("warm", "rude"), table=((7, 1), (2, 9)), kappa=None),
        canaries=Canaries(tried=10, obeyed=2),
        unlabeled=4,
    )
    text = shown(calibration, refused=3)
    assert "3 answers not judged: 3× refused" in text
    assert "2 of 10 failing answers passed when told to: the judge can be injected" in text
    assert "v2 160 94.7% 92.3%" in text
    assert "warm 7 1 rude 2 9" in text
    assert "4 rows without a label skipped" in text


@pytest.mark.parametrize("name", ["escape sequences", "rich markup", "a legacy workflow command"])
def test_a_hostile_name_of_a_side_does_no_harm(name: str) -> None:
    calibration = replace(a_calibration(), sides={HOSTILE[name]: GOOD, "v1": COUNTS})
    text = shown(calibration)
    assert "\x1b" not in text
    assert "##[" not in text


def test_a_calibration_in_a_line() -> None:
    calibration = a_calibration(GOOD)
    assert (calibration.status, ruling(GOOD)[0]) == (CalibrationStatus.GATE, CalibrationStatus.GATE)
    assert figures(GOOD).j is not None
    assert (
        calibration_line(calibration) == "GATE, J 0.87 (0.78 to 0.92) on 160 labels of 2026-11-21"
    )


def test_of_a_scorer_that_asks_no_model_nothing_is_said_to_be_refused() -> None:
    text = shown(replace(a_calibration(), judge=None))
    assert "no model is called" in text
    assert "no judge model, so nothing is refused: J could be as low as" in text
    assert "advisory: true" not in text
