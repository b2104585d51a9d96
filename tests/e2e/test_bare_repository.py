"""A repository with prompts and evalsets and nothing else is gated against its own base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.git_project import GitProject, make_git_project


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    """No llmops.yaml, no registry: the prompt names its model in full."""
    repo = make_git_project(tmp_path / "shop", "support")
    (repo.root / "llmops.yaml").unlink()
    path = repo.root / "prompts" / "support.prompt.yml"
    path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))
    repo.commit("prompts and evalsets")
    return repo


def say(repo: GitProject, system: str, *, broken: int = 0) -> None:
    repo.say("support", system, broken=broken)
    path = repo.root / "prompts" / "support.prompt.yml"
    path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))


def test_a_worse_prompt_fails_and_one_as_good_passes(repo: GitProject) -> None:
    say(repo, "Answer badly.", broken=20)
    result = repo.run("eval", "--base", "HEAD")
    assert result.code == 1, result.text
    assert "support@working against support@base" in result.text
    assert "production does not run it yet" in result.text
    say(repo, "Answer kindly.")
    assert "PASS" in repo.ok("eval", "--base", "HEAD", "--require-baseline").out


def test_an_unchanged_prompt_calls_nothing_twice(repo: GitProject) -> None:
    repo.ok("eval", "--base", "HEAD")
    assert repo.ok("eval", "--base", "HEAD", "--json").report["calls"] == 0


def test_a_prompt_that_the_base_does_not_have_has_no_baseline(repo: GitProject) -> None:
    result = repo.run("eval", "--json", "--base", "HEAD~1")  # there it named a model of llmops.yaml
    assert result.decision == "PASS"
    repo.say("second")
    repo.cases("second")
    repo.evalset("second")
    path = repo.root / "prompts" / "second.prompt.yml"
    path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))
    result = repo.run("eval", "second", "--json", "--base", "HEAD")
    assert result.decision == "INCONCLUSIVE"
    assert "no baseline" in result.text


def test_what_production_runs_is_the_baseline_as_soon_as_it_runs_anything(repo: GitProject) -> None:
    repo.first("support")
    say(repo, "Answer badly.", broken=20)
    result = repo.run("eval", "--base", "HEAD")
    assert "support@working against support@v1 (production)" in result.text


def test_a_folder_without_prompts_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    result = GitProject(tmp_path).run("eval")
    assert (result.code, "llmops init" in result.err) == (2, True)
