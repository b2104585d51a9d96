"""Names that leave out what is clear: `diff NAME`, `--baseline v1`, a glob of cases."""

from __future__ import annotations

import shlex

import pytest

from tests.git_project import GitProject


@pytest.fixture
def repo(shop: GitProject) -> GitProject:
    """Production runs v1, v2 is released, and the working copy says something else."""
    shop.say("support", "Answer briefly.", broken=12)
    shop.ok("release", "support")
    shop.say("support", "Answer kindly.")
    shop.commit("kinder")
    return shop


def test_diff_of_a_name_compares_what_runs_with_the_working_copy(repo: GitProject) -> None:
    (difference,) = repo.ok("diff", "support", "--json").document
    assert (difference["before"], difference["after"]) == ("support@v1", "support@working")
    (change,) = difference["changes"]
    assert (change["before"], change["after"]) == ("Answer.", "Answer kindly.")


def test_diff_of_a_name_that_runs_nowhere_says_what_else_to_compare(repo: GitProject) -> None:
    repo.say("intent")
    result = repo.run("diff", "intent")
    assert (result.code, "production does not run intent" in result.err) == (2, True)


def test_diff_of_a_name_and_a_version_still_begins_with_the_working_copy(repo: GitProject) -> None:
    (difference,) = repo.ok("diff", "support", "v2", "--json").document
    assert (difference["before"], difference["after"]) == ("support@working", "support@v2")


@pytest.mark.parametrize(
    ("baseline", "name"),
    [
        ("v2", "support@v2"),
        ("support@v2", "support@v2"),
        ("latest", "support@v2"),
        ("production", "support@v1"),
    ],
)
def test_a_baseline_needs_no_name(repo: GitProject, baseline: str, name: str) -> None:
    report = repo.ok("eval", "support", "--baseline", baseline, "--json").report
    (prompt,) = report["prompts"]
    assert prompt["baseline"] == name


def test_the_step_after_a_short_baseline_can_be_run(repo: GitProject) -> None:
    repo.say("support", "Answer kindly.", broken=30)
    result = repo.run("eval", "support", "--baseline", "v1", "--json")
    assert result.code == 1
    (step,) = result.prompt["next_steps"]
    words = shlex.split(step, comments=True)[1:]
    assert words[:3] == ["compare", "support@v1", "support"]
    assert repo.run(*words).code == 1


def test_a_baseline_that_is_no_version_is_answered_with_the_nearest_name(repo: GitProject) -> None:
    for baseline, nearest in (("suport", "support"), ("v9", "support@v2"), ("prodction", "prod")):
        result = repo.run("eval", "--baseline", baseline)
        assert (result.code, nearest in result.err) == (2, True), result.err


def test_compare_takes_a_version_without_its_name(repo: GitProject) -> None:
    report = repo.run("compare", "support@v1", "v2", "--json").report
    (prompt,) = report["prompts"]
    assert (prompt["baseline"], prompt["candidate"]) == ("support@v1", "support@v2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--case", "c0*"], "only 10 named cases"),
        (["--case", "c0*", "--case", "c11"], "only 11 named cases"),
        (["--case", "c11"], "only 1 named case"),
    ],
)
def test_a_glob_of_cases_counts_the_cases(
    repo: GitProject, arguments: list[str], words: str
) -> None:
    assert repo.ok("eval", "support", *arguments, "--json").report["partial"] == words
