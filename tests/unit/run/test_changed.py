"""Which prompts a change concerns, asked of a real repository with several."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.git_project import GitProject, git, make_git_project
from tests.projects import Result

PROMPTS = ("claims", "intent", "support")


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    """Three prompts on `main`; a branch is checked out."""
    repo = make_git_project(tmp_path / "shop", *PROMPTS)
    repo.git("switch", "-q", "-c", "change")
    return repo


def changed(repo: GitProject, *arguments: str) -> list[str]:
    """What `eval --changed main` measures."""
    result = repo.run("eval", "--changed", "main", "--dry-run", "--json", *arguments)
    assert result.code == 0, result.text
    (plan,) = result.document
    return [each["prompt"] for each in plan["prompts"]]


def appended(repo: GitProject, path: str, text: str) -> None:
    repo.write(path, (repo.root / path).read_text() + text)


def refused(result: Result) -> str:
    assert result.code == 2
    return result.text


def test_nothing_changed_is_nothing_to_measure_and_passes(repo: GitProject) -> None:
    junit = repo.root / "junit.xml"
    result = repo.ok("eval", "--changed", "main", "--junit", str(junit))
    assert "Nothing to evaluate." in result.out
    assert "no prompt changed since" in result.out
    assert "<error" not in junit.read_text()


def test_a_prompts_own_file_concerns_it_alone(repo: GitProject) -> None:
    repo.say("intent", "Answer kindly.")
    assert changed(repo) == ["intent"]


def test_a_comment_affects_no_prompt(repo: GitProject) -> None:
    appended(repo, "evalsets/intent.yaml", "\n# a remark\n")
    assert changed(repo) == []


def test_cases_scorers_tags_and_policy_concern_those_they_gate(repo: GitProject) -> None:
    repo.cases("claims", 59)
    repo.evalset("support", gate={"margin": 0.2})
    assert changed(repo) == ["claims", "support"]


def test_an_evalset_that_gates_another_prompt_now_concerns_both(repo: GitProject) -> None:
    repo.cases("hard")
    repo.evalset("hard", prompt="intent")
    repo.commit("a second evalset")
    repo.git("branch", "-f", "main")
    repo.evalset("hard", prompt="claims")
    assert changed(repo) == ["claims", "intent"]


def test_a_model_concerns_those_that_it_answers(repo: GitProject) -> None:
    repo.write(
        "llmops.yaml",
        "models:\n  tiny: {provider: embedded}\n  other: {provider: embedded}\n"
        "environments: [production]\n",
    )
    path = "prompts/intent.prompt.yml"
    repo.write(path, (repo.root / path).read_text().replace('"tiny"', '"other"'))
    assert changed(repo) == ["intent"]


def test_the_projects_policy_concerns_all(repo: GitProject) -> None:
    appended(repo, "llmops.yaml", "gate: {margin: 0.2}\n")
    assert changed(repo) == [*PROMPTS]


def test_what_others_merged_meanwhile_affects_nothing_here(repo: GitProject) -> None:
    repo.git("switch", "-q", "main")
    repo.say("support", "Answer kindly.")
    repo.commit("meanwhile")
    repo.git("switch", "-q", "change")
    repo.say("claims", "Answer kindly.")
    assert changed(repo) == ["claims"]


def test_a_name_and_a_change_must_both_hold(repo: GitProject) -> None:
    repo.say("intent", "Answer kindly.")
    repo.say("claims", "Answer kindly.")
    assert changed(repo, "--prompt", "int*") == ["intent"]


def test_a_prompt_that_is_gone_is_reported_even_if_other_files_changed(repo: GitProject) -> None:
    for path in ("prompts/support.prompt.yml", "evalsets/support.yaml", "evalsets/support.jsonl"):
        (repo.root / path).unlink()
    for measured in ([], ["intent"], ["claims", "intent"]):
        for name in measured:
            repo.say(name, "Answer kindly.")
        result = repo.ok("eval", "--changed", "main", "--base", "main", "--json")
        assert [each["prompt"] for each in result.report["prompts"]] == measured
        assert result.out.count("support is gone, which support gated at main") == 1


def test_where_the_files_at_the_base_are_broken_all_are_measured(repo: GitProject) -> None:
    repo.git("switch", "-q", "main")
    repo.write("llmops.yaml", "models: nonsense\n")
    repo.commit("broken")
    repo.git("switch", "-q", "-C", "change")
    repo.git("checkout", "-q", "main~1", "--", "llmops.yaml")
    repo.commit("mended")
    assert changed(repo) == [*PROMPTS]


def test_a_shallow_clone_gets_the_command_to_fetch_more(repo: GitProject, tmp_path: Path) -> None:
    repo.say("intent", "Answer kindly.")
    repo.commit("kindly")
    thin = repo.clone(tmp_path / "thin", "--depth=1", "--branch", "change")
    assert "fetch-depth: 0" in refused(thin.run("eval", "--changed", "origin/main"))
    git(thin.root, "fetch", "-q", "--depth=1", "origin", "main")
    assert "fetch-depth: 0" in refused(thin.run("eval", "--changed", "FETCH_HEAD"))


def test_a_version_never_changes(repo: GitProject) -> None:
    repo.first()
    assert "a version never does" in refused(repo.run("eval", "intent@v1", "--changed", "main"))
