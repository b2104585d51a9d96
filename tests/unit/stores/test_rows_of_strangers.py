"""Rows of evidence that no llmops wrote: broken evidence, and neither a score nor a bug."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmops_cli.core.digest import InvalidRecord
from llmops_cli.core.result import CaseResult, SideResult, Trial
from llmops_cli.stores.codec import case_of, case_record, from_bytes, to_bytes

NAME = "sha256:" + "a" * 64


def a_row() -> dict[str, Any]:
    trial = Trial(
        output=NAME, scores={"exact": 1.0}, cost=0.1, input_tokens=5, finish_reason="stop"
    )
    side = SideResult(request=NAME, facts=NAME, planned=1, trials=(trial,))
    row = CaseResult(evalset="support", case="c1", candidate=side, baseline=None)
    record: dict[str, Any] = json.loads(to_bytes(case_record(row, details=True)))
    return record


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, [1], {}, 10**400])
@pytest.mark.parametrize("place", ["scores", "cost"])
def test_what_is_no_number_is_no_score_and_no_cost(place: str, value: object) -> None:
    record = a_row()
    record["sides"]["candidate"][place] = {"exact": [value]} if place == "scores" else [value]
    with pytest.raises(InvalidRecord):
        case_of(from_bytes(json.dumps(record).encode()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("planned", "1"),
        ("planned", 10**30),
        ("planned", True),
        ("n", -1),
        ("output", [5]),
        ("output", ["no digest"]),
        ("output", 5),
        ("failure", [5]),
        ("finish_reason", "s"),
        ("served_model", {"0": "m"}),
        ("reasons", ["x"]),
        ("request", None),
        ("request", "sha256:zz"),
    ],
)
def test_a_trial_of_another_shape_is_refused(place: str, value: object) -> None:
    record = a_row()
    record["sides"]["candidate"][place] = value
    with pytest.raises(InvalidRecord):
        case_of(from_bytes(json.dumps(record).encode()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("critical", "yes"),
        ("case", 5),
        ("group", ["g"]),
        ("tags", "ab"),
        ("facts", None),
        ("inputs", ["a"]),
        ("position", "1"),
    ],
)
def test_a_case_of_another_shape_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidRecord):
        case_of(from_bytes(json.dumps({**a_row(), name: value}).encode()))
