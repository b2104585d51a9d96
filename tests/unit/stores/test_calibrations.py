"""What is known of a judge is kept by instrument, replaced by a newer one, and never edited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.digest import digest
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.records import (
    Calibration,
    CalibrationStatus,
    Counts,
    FileRef,
    Provenance,
    instrument_of,
)
from llmops_cli.core.result import Metric
from llmops_cli.gate.calibration import figures, ruling
from llmops_cli.stores.calibrations import Calibrations

COUNTS = Counts(
    both_pass=70, only_people_pass=10, only_judge_passes=30, both_fail=40, read_twice=150
)


def a_calibration(counts: Counts = COUNTS) -> Calibration:
    status, why = ruling(counts)
    return Calibration(
        evalset="support",
        label="tone",
        scorer=digest("scorer", "tone"),
        minimum=1.0,
        maximum=None,
        negate=False,
        judge="openai/gpt",
        labels=FileRef(name="labels.jsonl", digest=digest("labels", [])),
        counts=counts,
        sides={"v1": counts},
        figures=figures(counts),
        status=status,
        why=why,
        llmops="1",
        made=Provenance(by="Ada", at="2026-11-21T10:00:00+00:00"),
    )


@pytest.fixture
def known(tmp_path: Path) -> Calibrations:
    return Calibrations(tmp_path)


def test_a_calibration_is_found_by_the_scorer_and_how_its_values_are_read(
    known: Calibrations,
) -> None:
    made = a_calibration()
    known.write(made, redact=str)
    metric = Metric(label="x", scorer=made.scorer, unit="fraction", minimum=1.0, judged=True)

    assert known.of(instrument_of(metric)) == made
    for other in (replace(metric, minimum=0.5), replace(metric, negate=True)):
        assert known.of(instrument_of(other)) is None


def test_a_newer_one_takes_the_place_of_the_older(known: Calibrations) -> None:
    known.write(a_calibration(), redact=str)
    newer = a_calibration(replace(COUNTS, both_pass=90, both_fail=80))
    known.write(newer, redact=str)

    assert known.of(newer.instrument) == newer
    assert len(known.files()) == 1


def test_a_ruling_that_does_not_follow_from_the_counts_is_broken_even_with_its_digest_right(
    known: Calibrations,
) -> None:
    forged = replace(a_calibration(), status=CalibrationStatus.GATE, why=())
    known.write(forged, redact=str)
    with pytest.raises(IntegrityBroken, match="do not follow from its counts"):
        known.of(forged.instrument)


def test_an_edited_or_renamed_file_is_broken(known: Calibrations) -> None:
    made = a_calibration()
    path = known.write(made, redact=str)
    path.rename(path.with_name("0123456789ab.json"))
    with pytest.raises(IntegrityBroken, match="of another instrument"):
        known.at(known.files()[0])
    path.write_text("{}")
    with pytest.raises(IntegrityBroken):
        known.of(made.instrument)
