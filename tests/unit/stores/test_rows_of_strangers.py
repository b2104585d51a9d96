"""Rows of evidence that no llmops wrote: broken evidence, and neither a score nor a bug."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmops_cli.core.case_result import Trial
from llmops_cli.core.release import EvidenceRow, SideTrials, Trials
from llmops_cli.stores.codec import BadRecord
from llmops_cli.stores.evidence_rows import row_line, row_of

NAME = "sha256:" + "a" * 64


def a_row() -> dict[str, Any]:
    trial = Trial(
        output=NAME, scores={"exact": 1.0}, cost=0.1, input_tokens=5, finish_reason="stop"
    )
    side = SideTrials(request=NAME, gate=Trials(planned=1, made=(trial,)))
    row = EvidenceRow(evalset="support", case="c1", facts=NAME, sides={"subject": side})
    record: dict[str, Any] = json.loads(row_line(row))
    return record


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, [1], {}, 10**400])
@pytest.mark.parametrize("place", ["scores", "cost"])
def test_what_is_no_number_is_no_score_and_no_cost(place: str, value: object) -> None:
    record = a_row()
    gate = record["sides"]["subject"]["gate"]
    gate[place] = {"exact": [value]} if place == "scores" else [value]
    with pytest.raises(BadRecord):
        row_of(json.dumps(record).encode())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("gate.planned", "1"),
        ("gate.planned", 10**30),
        ("gate.planned", True),
        ("gate.n", -1),
        ("gate.output", [5]),
        ("gate.output", ["no digest"]),
        ("gate.output", 5),
        ("gate.failure", [5]),
        ("gate.finish_reason", "s"),
        ("gate.served_model", {"0": "m"}),
        ("gate.unscored", ["x"]),
        ("request", None),
        ("request", "sha256:zz"),
    ],
)
def test_a_trial_of_another_shape_is_refused(place: str, value: object) -> None:
    record = a_row()
    *folders, name = place.split(".")
    at = record["sides"]["subject"]
    for each in folders:
        at = at[each]
    at[name] = value
    with pytest.raises(BadRecord):
        row_of(json.dumps(record).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [("critical", "yes"), ("case", 5), ("group", ["g"]), ("tags", "ab"), ("facts", None)],
)
def test_a_case_of_another_shape_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadRecord):
        row_of(json.dumps({**a_row(), name: value}).encode())
