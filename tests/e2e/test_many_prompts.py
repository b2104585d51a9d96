"""Sixty prompts in one repository: one run, one readable report, one exit code."""

from __future__ import annotations

import re

import pytest

from tests.git_project import GitProject, make_git_project
from tests.projects import Result

TEAMS = ("billing", "search", "support")
PROMPTS = [f"{team}/p{at:02}" for team in TEAMS for at in range(20)]
WORSE = ("billing/p03", "support/p17")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitProject:
    """Sixty prompts on `main`; on the branch two of them are worse and ten others reworded."""
    repo = make_git_project(tmp_path_factory.mktemp("many") / "shop")
    for name in PROMPTS:
        repo.say(name)
        repo.cases(name)
        repo.evalset(name, cases=f"{name.rpartition('/')[2]}.jsonl")
    repo.commit("sixty prompts")
    for name in WORSE:
        repo.say(name, "Answer badly.", broken=20)
    for name in PROMPTS[40:50]:
        repo.say(name, "Answer kindly.")
    return repo


@pytest.fixture(scope="module")
def result(repo: GitProject) -> Result:
    page = str(repo.root / "page.md")
    return repo.run("eval", "--base", "HEAD", "--markdown", page)


@pytest.mark.slow
def test_two_worse_prompts_of_sixty_fail_and_all_comparisons_are_taken_into_account(
    repo: GitProject, result: Result
) -> None:
    assert result.code == 1
    report = repo.run("report", "--json").report
    verdicts = {prompt["prompt"]: prompt["verdict"] for prompt in report["prompts"]}
    assert len(verdicts) == 60
    assert {name for name, verdict in verdicts.items() if verdict["decision"] == "FAIL"} == {*WORSE}
    (estimate,) = [
        finding["estimate"]
        for finding in verdicts[WORSE[0]]["findings"]
        if finding["rule"] == "no_worse"
    ]
    assert estimate["p_adjusted"] > 2 * estimate["p_regression"] > 0


def test_the_report_begins_with_what_failed_and_says_no_more_than_needed_of_the_rest(
    repo: GitProject, result: Result
) -> None:
    first = result.out.splitlines()
    assert [line.split()[:2] for line in first if line.startswith("FAIL")] == [
        ["FAIL", name] for name in (*WORSE, *WORSE)
    ]  # above and below what failed
    assert first[0].startswith("FAIL")
    assert len(first) < 300  # 10 lost cases of each of the two are most of it
    assert "billing/p00, billing/p01, billing/p02 and 57 more: production does not" in result.out
    page = (repo.root / "page.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ❌ FAIL \| `([\w/]+)`", page, re.MULTILINE) == [*WORSE]
    assert "<summary>✅ 58 prompts passed</summary>" in page
    assert len(page.encode()) <= 60_000


@pytest.mark.slow
def test_a_team_measures_its_own_and_a_branch_what_it_changed(
    repo: GitProject, result: Result
) -> None:
    team = repo.run("eval", "--prompt", "billing/*", "--base", "HEAD", "--json")
    assert (team.code, len(team.report["prompts"])) == (1, 20)
    branch = repo.run("eval", "--changed", "HEAD", "--base", "HEAD", "--json")
    assert {prompt["prompt"] for prompt in branch.report["prompts"]} == {*WORSE, *PROMPTS[40:50]}
    assert branch.report["calls"] == 0
