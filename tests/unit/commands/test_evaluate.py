"""Whole runs as a function: what is called, what is pooled, and what never helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.errors import ExitCode, Refused
from llmops_cli.core.policy import Decision
from llmops_cli.engine.budget import Budget
from tests.projects import Project, make_cases
from tests.servers.faulty import Server, status
from tests.unit.gated_project import CASES, gate, questions, wrong_on

BASELINE_TRIALS = 3


def test_a_dry_run_plans_every_trial_and_calls_nothing(project: Project, server: Server) -> None:
    done = gate(project, dry_run=True).done
    assert (done.report, done.plan.calls, server.requests) == (None, CASES, 0)


def test_a_demanded_baseline_that_is_not_there_is_refused_before_any_call(
    project: Project, server: Server
) -> None:
    with pytest.raises(Refused, match="no baseline for support"):
        gate(project, require_baseline=True)
    assert server.requests == 0


def test_without_a_baseline_everything_is_inconclusive(project: Project) -> None:
    result = gate(project)
    assert (result.decision, result.report.exit_code) == (Decision.INCONCLUSIVE, ExitCode.DONE)
    assert "no baseline" in result.verdict.why


def test_evidence_and_store_answer_what_they_hold(running: Project, server: Server) -> None:
    result = gate(running)
    assert (result.decision, result.report.calls, server.requests) == (Decision.PASS, 0, 0)
    running.prompt(system="Answer well.")
    assert gate(running).report.calls == CASES
    assert gate(running).report.calls == 0


def test_a_worse_prompt_fails_and_the_regressed_cases_are_named(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(12), system="Answer badly.")
    running.prompt(system="Answer badly.")
    result = gate(running)
    assert (result.decision, result.report.exit_code) == (Decision.FAIL, ExitCode.FAILED)
    assert result.finding("no_worse").cases == tuple(f"c{at:03}" for at in range(12))


def test_retrying_until_it_is_green_does_not_make_it_green(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(CASES), system="Answer badly.")
    running.prompt(system="Answer badly.")
    assert gate(running).decision is Decision.FAIL
    server.reply = wrong_on(())
    for trials in (2, 3):
        result = gate(running, more_trials=1)
        assert result.passing.candidate == pytest.approx(1 - 1 / trials)
        assert result.decision is Decision.FAIL
    assert gate(running, no_cache=True).decision is Decision.PASS  # a run of its own: none is kept
    assert gate(running).decision is Decision.FAIL


def test_rerunning_the_failures_does_not_help_them(running: Project, server: Server) -> None:
    server.reply = wrong_on(questions(12), system="Answer badly.")
    running.prompt(system="Answer badly.")
    assert gate(running).decision is Decision.FAIL
    server.reply = wrong_on(())
    chosen = [f"c{at:03}" for at in range(12)]
    shown = gate(running, select={"cases": chosen}, no_cache=True)
    assert shown.passing.candidate == 1.0
    again = gate(running)
    assert (again.decision, again.report.calls) == (Decision.FAIL, 0)
    assert again.passing.candidate == pytest.approx(18 / 30)


def test_a_run_without_the_cache_and_without_answers_does_not_fall_back_on_cached_answers(
    running: Project, server: Server
) -> None:
    running.prompt(system="Answer well.")
    assert gate(running).decision is Decision.PASS
    server._then = status(401)
    result = gate(running, no_cache=True)
    assert (result.decision, result.report.exit_code) == (Decision.INCOMPLETE, ExitCode.INCOMPLETE)


def test_one_of_more_trials_that_fails_leaves_the_earlier_ones_in_the_pool(
    running: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(CASES), system="Answer badly.")
    running.prompt(system="Answer badly.")
    gate(running)
    server.reply = wrong_on(())
    server._script = [status(400)]
    result = gate(running, more_trials=1)
    assert result.passing.candidate == pytest.approx(0.5, abs=0.02)
    assert result.decision is Decision.FAIL


def test_no_cache_and_offline_measure_nothing(running: Project, server: Server) -> None:
    running.prompt(system="Answer well.")
    gate(running)
    before = server.requests
    result = gate(running, no_cache=True, offline=True)
    assert (result.decision, server.requests) == (Decision.INCOMPLETE, before)


def test_two_run_files_with_different_answers_pool(
    project: Project, server: Server, tmp_path: Path
) -> None:
    files = [tmp_path / "first.jsonl", tmp_path / "second.jsonl.gz"]
    store = project.root / ".llmops/store/results.sqlite3"
    for file, wrong in zip(files, (questions(CASES), ()), strict=True):
        server.reply = wrong_on(wrong)
        gate(project, out=file)
        store.unlink()
    before = server.requests
    result = gate(project, reuse=files)
    assert (result.passing.candidate, server.requests) == (0.5, before)
    assert gate(project, reuse=files).passing.candidate == 0.5


def test_a_partial_run_file_fills_gaps_and_adds_no_trials(
    project: Project, server: Server, tmp_path: Path
) -> None:
    whole, chosen = tmp_path / "whole.jsonl", tmp_path / "chosen.jsonl"
    store = project.root / ".llmops/store/results.sqlite3"
    server.reply = wrong_on(questions(1))
    gate(project, out=whole)
    store.unlink()
    server.reply = wrong_on(())
    gate(project, select={"cases": ["c000"]}, out=chosen)
    store.unlink()
    result = gate(project, reuse=[chosen, whole])
    assert result.passing.candidate == pytest.approx(29 / 30)
    store.unlink()
    assert gate(project, reuse=[chosen]).report.calls == CASES - 1


def test_equal_runs_write_equal_run_files(running: Project, tmp_path: Path) -> None:
    running.prompt(system="Answer well.")
    gate(running)
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file in files:
        gate(running, out=file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_partial_run_says_so_and_leads_to_a_whole_one(running: Project) -> None:
    running.prompt(system="Answer well.")
    result = gate(running, select={"sample": 29})
    assert result.decision is Decision.PASS
    assert result.report.partial == "a sample of 29 cases per evalset (seed 0)"
    assert result.prompt.next_steps == (
        "llmops eval support   # every case: a partial run is no evidence",
    )


def test_a_budget_that_ends_is_incomplete_and_the_next_run_goes_on(
    project: Project, server: Server
) -> None:
    assert gate(project, budget=Budget(calls=10)).decision is Decision.INCOMPLETE
    assert server.requests == 10
    assert gate(project).report.calls == CASES - 10


def test_equal_requests_are_called_once_and_count_for_each_case(
    project: Project, server: Server
) -> None:
    twins = [{**case, "inputs": {"question": "same"}, "expected": "same"} for case in make_cases(8)]
    project.cases(twins)
    result = gate(project)
    assert (server.requests, result.passing.candidate_n, result.passing.candidate) == (1, 8, 1.0)


def test_a_failed_call_fails_every_case_that_shares_it(project: Project, server: Server) -> None:
    twins = [{**case, "inputs": {"question": "same"}, "expected": "same"} for case in make_cases(8)]
    project.cases(twins)
    server._then = status(400)
    result = gate(project)
    assert result.decision is Decision.INCOMPLETE
    assert (result.evalset.candidate.measured, result.evalset.candidate.planned) == (0, 8)
