"""`--no-cache` ignores the cache and keeps it as it is; `--more-trials` adds to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.git_project import GitProject
from tests.projects import Project, count_stored, make_project
from tests.servers.faulty import FaultServer, Server, echo

CASES = 20


@pytest.fixture
def project(tmp_path: Path, server: Server) -> Project:
    """Production runs v1, and a better working copy was evaluated."""
    project = make_project(tmp_path, server.url, cases=CASES)
    project.promote_v1()
    project.prompt(system="Answer well.")
    assert project.eval().metric()["candidate"] == 1.0
    return project


def test_no_cache_ignores_what_is_cached_and_writes_nothing_over_it(
    project: Project, server: Server
) -> None:
    stored, before = count_stored(project), server.requests
    server.reply = lambda body: "wrong" if "well" in str(body["messages"]) else echo(body)
    result = project.eval("--no-cache")
    assert (result.code, result.metric()["candidate"]) == (1, 0.0)  # and not 0.5, as if pooled
    assert result.report["calls"] == server.requests - before == CASES * 4
    assert count_stored(project) == stored
    cached = project.eval()
    assert (cached.report["calls"], cached.metric()["candidate"]) == (0, 1.0)


def test_no_cache_asks_the_judge_again(tmp_path: Path) -> None:
    verdict = '{"reason": "fine", "verdict": "pass"}'
    with FaultServer(reply=lambda body: verdict if "json_schema" in str(body) else echo(body)) as (
        server
    ):
        project = make_project(tmp_path, server.url, cases=3)
        project.evalset(scorers=[{"rubric": {"criteria": "Is it kind?", "model": "tiny"}}])
        counts = [project.eval(*flags).report["calls"] for flags in ([], [], ["--no-cache"])]
    assert counts[1] == 0
    assert counts[2] == counts[0] > 3


def test_a_run_without_the_cache_that_stops_promises_no_stored_answers(project: Project) -> None:
    result = project.eval("--no-cache", "--max-calls", "5")
    assert result.code == 3
    (step,) = result.prompt["next_steps"]
    assert "only what is missing" not in step
    (step,) = project.eval("--case", "c001", "--no-cache", "--max-calls", "0").prompt["next_steps"]
    assert "only what is missing" not in step


def test_more_trials_are_added_to_the_cached_ones_on_both_sides(
    project: Project, server: Server
) -> None:
    server.reply = lambda body: "wrong" if "well" in str(body["messages"]) else echo(body)
    result = project.eval("--more-trials", "3")
    assert result.evalset["candidate"]["planned"] == CASES * 4
    assert result.evalset["baseline"]["planned"] == CASES * 6
    assert result.report["calls"] == CASES * 6
    assert result.metric()["candidate"] == 0.25  # one right answer of four
    again = project.eval()
    assert (again.report["calls"], again.metric()["candidate"]) == (0, 0.25)
    more = project.eval("--more-trials", "1")
    assert more.report["calls"] == CASES * 2
    assert more.metric()["candidate"] == pytest.approx(0.2)


def test_more_trials_that_were_cut_short_are_not_lost(project: Project) -> None:
    result = project.eval("--more-trials", "1", "--max-calls", "10")
    assert (result.code, result.report["calls"]) == (3, 10)
    assert project.eval().evalset["candidate"]["planned"] > CASES


def test_more_trials_of_some_cases_are_refused(project: Project, server: Server) -> None:
    before = server.requests
    for flags in (["--case", "c001"], ["--sample", "3"]):
        result = project.run("eval", "--more-trials", "2", *flags)
        assert (result.code, "bias" in result.err) == (2, True)
    assert server.requests == before


def test_more_trials_of_a_deterministic_model_are_refused(shop: GitProject) -> None:
    result = shop.run("eval", "--more-trials", "2")
    assert (result.code, "same answer" in result.err) == (2, True)


def test_no_cache_with_a_run_file_is_refused(project: Project) -> None:
    project.run("eval", "--out", "run.jsonl", env=dict(os.environ))
    result = project.run("eval", "--no-cache", "--reuse", "run.jsonl")
    assert (result.code, "--reuse" in result.err) == (2, True)
