"""A branch behind its base must be updated before it can skip newer cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.git_project import CASES, GitProject, make_git_project


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    """Production runs v1, and a branch leaves `main`."""
    repo = make_git_project(tmp_path / "shop", "support")
    repo.cases("support", CASES - 2)
    repo.first()
    repo.git("branch", "change")
    return repo


def behind(repo: GitProject, meanwhile: Callable[[GitProject], object]) -> None:
    """`meanwhile` happens on main; then a new wording is committed on the branch."""
    meanwhile(repo)
    repo.commit("meanwhile")
    repo.git("switch", "-q", "change")
    repo.say("support", "Be kind.")
    repo.commit("kind")


def test_cases_added_on_the_base_ask_for_an_update_and_block(repo: GitProject) -> None:
    behind(repo, lambda item: item.cases("support"))
    result = repo.run("eval", "--base", "main")
    assert result.code == 1
    output = "update your branch: it lacks 2 cases added on the base since: c58, c59"
    assert output in result.text
    assert "removed without being retired" not in result.text
    assert "2 cases removed" not in result.text
    repo.git("merge", "-q", "--no-edit", "main")
    assert "update your branch" not in repo.ok("eval", "--base", "main").text


def test_what_a_branch_removes_itself_is_distinguished(repo: GitProject) -> None:
    behind(repo, lambda item: item.cases("support"))
    lines = (repo.root / "evalsets/support.jsonl").read_text().splitlines(keepends=True)
    repo.write("evalsets/support.jsonl", "".join(lines[1:]))
    output = repo.run("eval", "--base", "main").text
    assert "1 case of the baseline removed without being retired: c00; update your branch" in output


def test_an_evalset_added_on_the_base_blocks_too(repo: GitProject) -> None:
    def gains(repo: GitProject) -> None:
        repo.write("evalsets/more.jsonl", (repo.root / "evalsets/support.jsonl").read_text())
        repo.evalset("support", cases="more.jsonl")
        yaml_text = (repo.root / "evalsets/support.yaml").read_text()
        repo.evalset("support")
        repo.write("evalsets/more.yaml", yaml_text)

    behind(repo, gains)
    result = repo.run("eval", "--base", "main")
    assert result.code == 1
    assert "update your branch: it lacks 58 cases added on the base since" in result.text
    assert "the base gained more (58 cases) since this branch left: update" in result.text


def test_a_policy_that_changed_at_the_base_decides_and_is_not_laid_at_the_branchs_door(
    repo: GitProject,
) -> None:
    llmops = (repo.root / "llmops.yaml").read_text()
    behind(repo, lambda item: item.write("llmops.yaml", llmops + "gate: {margin: 0.2}\n"))
    output = repo.ok("eval", "--base", "main").text
    assert "decided by the policy at the base revision; this branch is behind main" in output


def test_work_at_the_base_that_decides_nothing_is_not_spoken_of(repo: GitProject) -> None:
    behind(repo, lambda item: item.write("README.md", "Something else.\n"))
    repo.cases("support")
    repo.commit("more cases")
    output = repo.ok("eval", "--base", "main").text
    assert "2 cases added" in output
    assert "behind" not in output


def test_a_prompt_whose_evalset_was_added_on_the_base_is_refused_with_the_fix(
    repo: GitProject,
) -> None:
    repo.git("switch", "-q", "change")
    repo.say("other")
    repo.commit("a prompt that nothing gates")
    repo.git("branch", "-qf", "main", "HEAD")
    repo.git("switch", "-q", "main")

    def gains(repo: GitProject) -> None:
        repo.cases("other")
        repo.evalset("other")

    behind(repo, gains)
    result = repo.run("eval", "--base", "main")
    assert result.code == 2
    assert "nothing gates other here: main gained other since this branch left it" in result.text
    assert "git merge main" in result.text
