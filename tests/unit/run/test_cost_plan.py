"""What a run would call and cost, before it does."""

from __future__ import annotations

import json

import pytest

from llmops_cli.core.report import Plan
from tests.projects import Project, make_cases
from tests.unit.gated_project import CASES, gate


def plan(project: Project) -> Plan:
    return gate(project, dry_run=True).done.plan


def priced(project: Project, **price: float) -> Project:
    project.model["price"] = price
    project.llmops_yaml()
    return project


def test_counts_are_exact(running: Project) -> None:
    running.prompt(system="Next.")
    running.cases(make_cases(CASES + 1))
    found = plan(running)
    (evalset,) = found.prompts[0].evalsets
    assert [(side.role, side.planned, side.cached, side.calls) for side in evalset.sides] == [
        ("candidate", CASES + 1, 0, CASES + 1),
        ("baseline", 3 * (CASES + 1), 3 * CASES, 3),
    ]
    assert found.calls == CASES + 4
    assert (found.prompts[0].candidate, found.prompts[0].baseline) == (
        "support@working",
        "support@v1",
    )


def test_dollars_are_the_calls_times_their_price(project: Project) -> None:
    cost = plan(priced(project, input=0, output=1_000_000)).cost
    assert cost is not None
    assert cost > 0
    twice = plan(priced(project, input=0, output=2_000_000)).cost
    assert twice == pytest.approx(2 * cost)


def test_an_unknown_price_is_said_and_not_guessed(project: Project) -> None:
    assert plan(project).cost is None


def test_nothing_to_call_costs_nothing_whatever_the_price(running: Project) -> None:
    found = plan(running)
    assert (found.calls, found.cost) == (0, 0)


def test_a_model_without_a_network_costs_nothing(project: Project) -> None:
    project.write("llmops.yaml", json.dumps({"models": {"tiny": {"provider": "embedded"}}}))
    found = plan(project)
    assert (found.calls, found.cost) == (CASES, 0)


def test_answers_to_score_again_are_counted(running: Project) -> None:
    running.prompt(system="Next.")
    gate(running)
    running.evalset(scorers=[{"contains": "{{ expected }}"}])
    (evalset,) = plan(running).prompts[0].evalsets
    assert evalset.scores == CASES * 4


def test_a_missing_record_is_reported_before_the_run(project: Project) -> None:
    rows = [{"id": case["id"], "text": "x"} for case in make_cases(CASES - 2)]
    project.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    project.write(
        "llmops.yaml",
        json.dumps(
            {"models": {"tiny": {"provider": "replay", "model": "v", "file": "answers.jsonl"}}}
        ),
    )
    (evalset,) = plan(project).prompts[0].evalsets
    side = evalset.sides[0]
    assert (side.unanswerable, side.cached, side.calls) == (2, CASES - 2, 0)


def test_what_the_evalset_can_show_is_said(project: Project) -> None:
    (evalset,) = plan(project).prompts[0].evalsets
    assert str(CASES) in evalset.shows
