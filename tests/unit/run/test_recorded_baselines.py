"""Answers recorded in a file answer whoever asks: no candidate is compared with its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_cli.core.policy import Decision
from tests.projects import Project, make_cases
from tests.unit.gated_project import CASES, gate, promoted
from tests.unit.run.test_revision import committed
from tests.unit.stores.test_git import git


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Thirty recorded answers, all of them right."""
    project = Project(root=tmp_path)
    models = {"tiny": {"provider": "replay", "file": "said/now.jsonl"}}
    project.write("llmops.yaml", json.dumps({"models": models, "gate": {"margin": 0.1}}))
    project.prompt()
    project.cases(make_cases(CASES))
    project.evalset()
    recorded(project)
    return project


def recorded(project: Project, *, wrong: int = 0, cases: int = CASES) -> None:
    rows = [
        {"id": case["id"], "text": "no idea" if at < wrong else case["expected"]}
        for at, case in enumerate(make_cases(cases))
    ]
    project.write("said/now.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(params=["base", "production"])
def base(request: pytest.FixtureRequest, project: Project) -> str | None:
    """What the change is compared with: the base revision, or what production runs."""
    if request.param == "base":
        committed(project)
        return "main"
    promoted(project)
    return None


def test_answers_that_a_change_records_again_are_compared_with_those_before(
    project: Project, base: str | None
) -> None:
    project.prompt(system="Worse.")
    recorded(project, wrong=10)
    result = gate(project, base=base)
    assert (result.decision, result.passing.baseline) == (Decision.FAIL, 1.0)
    assert result.verdict.findings[1].estimate.regressed == 10  # type: ignore[union-attr]


def test_worse_answers_of_an_unchanged_prompt_are_no_identity(
    project: Project, base: str | None
) -> None:
    recorded(project, wrong=10)
    assert gate(project, base=base).decision is Decision.FAIL


def test_a_changed_prompt_whose_answers_were_not_recorded_again_is_not_measured(
    project: Project, base: str | None
) -> None:
    project.prompt(system="Worse.")
    result = gate(project, base=base)
    assert result.decision is Decision.INCOMPLETE
    assert "said/now.jsonl holds one answer to case 'c000' for both sides" in str(
        result.evalset.notes
    )


def test_a_case_that_comes_with_the_change_was_never_answered_before(
    project: Project, base: str | None
) -> None:
    project.prompt(system="Worse.")
    project.cases(make_cases(CASES + 1))
    recorded(project, wrong=10, cases=CASES + 1)
    assert gate(project, base=base).decision in {Decision.FAIL, Decision.INCOMPLETE}


def test_an_unchanged_prompt_passes_by_identity(project: Project, base: str | None) -> None:
    result = gate(project, base=base)
    assert result.decision is Decision.PASS
    assert "unchanged: all 30 requests match" in result.verdict.why


def test_what_was_recorded_at_the_base_lasts_as_long_as_the_command(project: Project) -> None:
    committed(project)
    recorded(project, wrong=10)
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "worse")
    assert gate(project, base="main~1").decision is Decision.FAIL
    assert gate(project, base="main").decision is Decision.PASS
