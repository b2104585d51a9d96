"""Both sides of an evalset: cases, age, anchors, the watch, and answers recorded in a file."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmops_cli.core.errors import UnknownName
from llmops_cli.core.policy import Decision
from llmops_cli.run.comparison import compare_prompts
from llmops_cli.run.prepare import prepare
from llmops_cli.run.selection import EvalOptions, Selection
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project, make_cases
from tests.servers.faulty import Server, answer
from tests.unit.gated_project import CASES, add_model, gate, promoted, questions, set_gate, wrong_on
from tests.unit.run.test_workspace import committed
from tests.unit.stores.test_git import git


def planned(project: Project, *prompts: str, **more: bool) -> list[tuple[str, int, int]]:
    """Role, planned and missing trials of each side, forty days from now."""
    with open_workspace(project.root) as workspace:
        found = compare_prompts(workspace, Selection(prompts=prompts))
        later = EvalOptions(now=datetime.now(UTC) + timedelta(days=40), **more)  # type: ignore[arg-type]  # flags
        sides = [side for each in prepare(workspace, found, later) for side in each.sides]
        return [(side.spec.role, side.plan.planned, len(side.plan.missing)) for side in sides]


# Cases ---------------------------------------------------------------------------------------


def test_a_removed_case_fails_coverage_until_it_is_retired(running: Project) -> None:
    running.cases(make_cases(CASES)[1:])
    result = gate(running)
    assert result.decision is Decision.FAIL
    assert result.finding("coverage").cases == ("c000",)
    running.evalset(retired={"c000": "nobody asks this any more"})
    assert gate(running).decision is Decision.PASS


def test_a_filter_removes_no_case(running: Project) -> None:
    result = gate(running, select={"cases": ["c01*", "c02*"]})
    assert result.finding("coverage").decision is Decision.PASS


def test_a_case_that_went_is_missed_once_and_not_for_ever(running: Project) -> None:
    running.cases(make_cases(CASES)[1:])
    running.prompt(system="Next.")
    promoted(running)
    assert gate(running).finding("coverage").decision is Decision.PASS


def test_added_and_edited_cases_are_distinguished_and_called_for_both_sides(
    running: Project, server: Server
) -> None:
    cases = make_cases(CASES + 2)
    cases[0]["inputs"] = {"question": "say it otherwise"}
    cases[0]["expected"] = "say it otherwise"
    running.cases(cases)
    running.prompt(system="Next.")
    result = gate(running)
    assert "2 cases added since the baseline's evidence" in result.evalset.notes
    assert "1 case edited since the baseline's evidence" in result.evalset.notes
    assert server.requests == CASES + 2 + 3 * 3
    estimate = result.finding("no_worse").estimate
    assert estimate is not None
    assert estimate.n == CASES + 2


# Age -----------------------------------------------------------------------------------------


def test_an_old_baseline_is_rerun(running: Project) -> None:
    running.prompt(system="Next.")
    assert planned(running) == [
        ("candidate", CASES, CASES),
        ("baseline", CASES * 3, CASES * 3),
    ]


def test_a_longer_allowed_age_keeps_it(running: Project) -> None:
    set_gate(running, {"baseline_max_age": 50})
    running.prompt(system="Next.")
    assert planned(running)[1] == ("baseline", CASES * 3, 0)


# Anchors -------------------------------------------------------------------------------------


def test_an_anchor_stops_the_slow_slide(running: Project, server: Server) -> None:
    set_gate(running, {"margin": 0.1, "rules": ["no_worse", {"anchor": "v1"}]})
    worse = questions(15)
    server.reply = wrong_on(worse, system="Second.")
    running.prompt(system="Second.")
    promoted(running)
    server.reply = wrong_on(worse, system="Third.")
    running.prompt(system="Third.")
    result = gate(running)
    assert result.finding("anchor").decision is Decision.FAIL
    assert "v1" in result.finding("anchor").why
    assert [side for side, *_ in planned(running)] == ["candidate", "baseline", "anchor v1"]


def test_an_anchor_that_is_not_there_is_refused_before_any_call(
    running: Project, server: Server
) -> None:
    set_gate(running, {"rules": ["no_worse", {"anchor": "v7"}]})
    running.prompt(system="Next.")
    with pytest.raises(UnknownName):
        gate(running)
    assert server.requests == 0


# The watch -----------------------------------------------------------------------------------


def test_the_watch_asks_the_evidence_however_old_it_is(running: Project) -> None:
    assert planned(running, "production", no_cache=True) == [
        ("candidate", CASES, CASES),
        ("baseline", CASES * 3, 0),
    ]


def test_the_watch_sees_answers_that_drifted_under_one_model_name(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(15))
    result = gate(running, "production", no_cache=True)
    assert (result.decision, server.requests) == (Decision.FAIL, CASES)
    assert result.finding("no_worse").estimate.regressed == 15  # type: ignore[union-attr]


def test_drifted_baseline_trials_of_another_run_do_not_dilute_the_watch(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(CASES))
    running.prompt(system="Next.")
    gate(running, more_trials=1)
    result = gate(running, "production", no_cache=True)
    assert result.passing.baseline == 1.0
    assert result.decision is Decision.FAIL


def test_the_watch_runs_no_more_of_its_baseline_where_the_policy_reruns(
    running: Project, server: Server
) -> None:
    set_gate(running, {"margin": 0.1, "on_inconclusive": "rerun"})
    server.reply = wrong_on(questions(2))
    result = gate(running, "production", no_cache=True)
    assert result.evalset.baseline is not None
    assert (result.evalset.baseline.called, result.evalset.baseline.planned) == (0, CASES * 3)


def test_a_case_that_the_evidence_lacks_is_no_part_of_the_watch(
    running: Project, server: Server
) -> None:
    running.cases(make_cases(CASES + 1))
    result = gate(running, "production", no_cache=True)
    assert (
        "1 case added since the baseline's evidence: not part of the watch" in result.evalset.notes
    )
    estimate = result.finding("no_worse").estimate
    assert estimate is not None
    assert (estimate.n, result.decision) == (CASES, Decision.PASS)
    assert server.requests == CASES + 1


def test_without_evidence_the_watch_can_tell_nothing(running: Project) -> None:
    for folder in ("evidence", "store"):
        shutil.rmtree(running.root / ".llmops" / folder)
    result = gate(running, "production", no_cache=True)
    assert result.decision is Decision.INCONCLUSIVE
    assert "no baseline" in result.verdict.why


def test_the_watch_sees_a_file_of_recorded_answers_that_was_exchanged(replayed: Project) -> None:
    promoted(replayed)
    assert gate(replayed, "production", no_cache=True).decision is Decision.PASS
    recorded(replayed, wrong=15)
    result = gate(replayed, "production", no_cache=True)
    assert (result.decision, result.passing.baseline) == (Decision.FAIL, 1.0)


def test_a_silent_update_of_the_model_reruns_the_baseline(running: Project, server: Server) -> None:
    server._then = answer(model="tiny-0002")
    running.prompt(system="Next.")
    result = gate(running)
    assert server.requests == CASES * (1 + 3)
    (note,) = result.report.notes
    assert note.startswith("support: under one model name tiny-0001 answered the baseline")
    assert note.endswith("and tiny-0002 the candidate: the baseline is run again")
    assert result.decision is Decision.PASS
    assert gate(running).report.calls == 0


def test_an_anchor_of_another_model_is_rerun_as_well(running: Project, server: Server) -> None:
    set_gate(running, {"margin": 0.1, "rules": ["no_worse", {"anchor": "v1"}]})
    running.prompt(system="Second.")
    promoted(running)
    before = server.requests
    server._then = answer(model="tiny-0002")
    running.prompt(system="Third.")
    result = gate(running)
    assert server.requests - before == CASES * (1 + 3 + 3)
    assert [note.rpartition(": ")[2] for note in result.report.notes] == [
        "the baseline is run again",
        "the anchor v1 is run again",
    ]


def test_measuring_on_another_model_is_no_silent_update(running: Project, server: Server) -> None:
    add_model(running, server)
    running.prompt(system="Next.", model="other")
    before = server.requests
    assert promoted(running) == 2
    assert server.requests - before == CASES * (1 + 3)


def test_a_row_of_a_case_that_went_has_no_candidate(running: Project) -> None:
    running.cases(make_cases(CASES)[1:])
    with open_workspace(running.root) as workspace:
        comparisons = compare_prompts(workspace, Selection())
        (evalset_run,) = prepare(workspace, comparisons, EvalOptions())
        rows = [(row.case, row.candidate is not None) for row in evalset_run.case_results()]
    assert [row for row, candidate in rows if not candidate] == ["c000"]


@pytest.fixture
def replayed(tmp_path: Path) -> Project:
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
def base(request: pytest.FixtureRequest, replayed: Project) -> str | None:
    """What the change is compared with: the base revision, or what production runs."""
    if request.param == "base":
        committed(replayed)
        return "main"
    promoted(replayed)
    return None


def test_answers_that_a_change_records_again_are_compared_with_those_before(
    replayed: Project, base: str | None
) -> None:
    replayed.prompt(system="Worse.")
    recorded(replayed, wrong=10)
    result = gate(replayed, base=base)
    assert (result.decision, result.passing.baseline) == (Decision.FAIL, 1.0)
    assert result.verdict.findings[1].estimate.regressed == 10  # type: ignore[union-attr]


def test_worse_answers_of_an_unchanged_prompt_are_no_identity(
    replayed: Project, base: str | None
) -> None:
    recorded(replayed, wrong=10)
    assert gate(replayed, base=base).decision is Decision.FAIL


def test_a_changed_prompt_whose_answers_were_not_recorded_again_is_not_measured(
    replayed: Project, base: str | None
) -> None:
    replayed.prompt(system="Worse.")
    result = gate(replayed, base=base)
    assert result.decision is Decision.INCOMPLETE
    assert "said/now.jsonl holds one answer to case 'c000' for both sides" in str(
        result.evalset.notes
    )


def test_a_case_that_comes_with_the_change_was_never_answered_before(
    replayed: Project, base: str | None
) -> None:
    replayed.prompt(system="Worse.")
    replayed.cases(make_cases(CASES + 1))
    recorded(replayed, wrong=10, cases=CASES + 1)
    assert gate(replayed, base=base).decision in {Decision.FAIL, Decision.INCOMPLETE}


def test_an_unchanged_prompt_passes_by_identity(replayed: Project, base: str | None) -> None:
    result = gate(replayed, base=base)
    assert result.decision is Decision.PASS
    assert "unchanged: all 30 requests match" in result.verdict.why


def test_what_was_recorded_at_the_base_lasts_as_long_as_the_command(replayed: Project) -> None:
    committed(replayed)
    recorded(replayed, wrong=10)
    git(replayed.root, "add", "-A")
    git(replayed.root, "commit", "-qm", "worse")
    assert gate(replayed, base="main~1").decision is Decision.FAIL
    assert gate(replayed, base="main").decision is Decision.PASS
