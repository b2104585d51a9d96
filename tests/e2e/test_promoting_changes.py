"""A change that promotes a version is compared with the version that ran before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.git_project import GitProject, make_git_project


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    """Production runs v1; the branch `main` is where changes go to."""
    repo = make_git_project(tmp_path / "shop", "support")
    repo.first()
    repo.git("switch", "-qc", "change")
    return repo


def worse(repo: GitProject) -> str:
    """A version that loses half of the cases, measured."""
    return repo.candidate("support", "Be brief.", broken=30)


def changed_run(repo: GitProject, *arguments: str, code: int) -> str:
    result = repo.run("eval", "--base", "main", *arguments)
    assert result.code == code, result.text
    return result.text


def test_a_promotion_by_override_is_compared_with_what_ran_before(
    repo: GitProject, tmp_path: Path
) -> None:
    repo.ok("promote", worse(repo), "--override", "-m", "trust me", "--commit")
    fresh = repo.clone(tmp_path / "ci")  # as a job does: it holds no answer but the evidence's
    fresh.git("branch", "main", "origin/main")
    result = fresh.run("eval", "--base", "main", "--json")
    assert (result.code, result.decision) == (1, "FAIL")
    assert result.prompt["baseline"].startswith("support@v1")
    assert result.report["calls"] == 0
    note = (
        "this change promotes support@v2 to production by override: compared with support@v1, "
        "which ran there before"
    )
    assert note in result.text
    assert "UNCHANGED" not in changed_run(fresh, "--changed", "main", code=1)


def test_without_a_base_what_runs_here_is_the_baseline(repo: GitProject) -> None:
    repo.ok("promote", worse(repo), "--override", "-m", "trust me", "--commit")
    output = repo.ok("eval").text
    assert "support@v2" in output
    assert "this change" not in output


def test_a_promotion_that_was_merged_is_the_baseline_of_the_next_change(repo: GitProject) -> None:
    repo.ok("promote", repo.candidate("support"), "--commit")
    assert "this change promotes support@v2 to production: compared with" in changed_run(
        repo, code=0
    )
    repo.git("branch", "-qf", "main", "HEAD")
    assert "this change" not in changed_run(repo, code=0)


def test_a_rollback_does_not_lower_the_bar_of_its_own_change(repo: GitProject) -> None:
    repo.ok("promote", repo.candidate("support"), "--commit")
    repo.git("branch", "-qf", "main", "HEAD")
    repo.ok("rollback", "support@production", "-m", "a rumour", "--commit")
    repo.say("support", "Be brief.", broken=30)
    output = changed_run(repo, code=1)
    assert (
        "this change rolls production back to support@v1: compared with support@v2, which ran "
        "there before" in output
    )


def test_the_first_promotion_of_all_is_compared_with_the_prompt_at_the_base(
    tmp_path: Path,
) -> None:
    repo = make_git_project(tmp_path / "shop", "support")
    repo.git("switch", "-qc", "change")
    repo.say("support", "Be brief.", broken=30)
    repo.commit("worse")
    repo.first()
    output = changed_run(repo, code=1)
    assert "support@v1 to production, the first that runs there: compared with what the" in output
    bare = changed_run(repo, "--env", "production", code=0)
    assert "no baseline: this change promotes support@v1 to production" in bare


def test_what_the_base_runs_meanwhile_is_the_baseline_or_asked_for(repo: GitProject) -> None:
    left = repo.git("rev-parse", "HEAD")
    repo.ok("promote", repo.candidate("support"), "--commit")
    repo.git("branch", "-qf", "main", "HEAD")
    repo.git("reset", "-q", "--hard", left)
    output = changed_run(repo, code=2)
    assert "at main, production runs support@v2, and this branch does not have it" in output
    assert "git merge main" in output


def test_a_log_that_is_broken_at_the_base_is_refused_with_the_file_at_fault(
    repo: GitProject,
) -> None:
    event = ".llmops/log/production/support/000001.json"
    whole = (repo.root / event).read_text()
    repo.write(event, whole.replace("the first", "the last"))
    repo.commit("edited")
    repo.git("branch", "-qf", "main", "HEAD")
    repo.write(event, whole)
    assert f"{event} at main: its content is not what was written" in changed_run(repo, code=2)
