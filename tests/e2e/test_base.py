"""`eval --base`: bare repositories, changes that promote, and branches that lag behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.git_project import CASES, GitProject, make_git_project

# A repository with prompts and evalsets and nothing else is gated against its own base -----------


def say(repo: GitProject, system: str, *, name: str = "support", broken: int = 0) -> None:
    """Write the prompt with its model in full: no llmops.yaml names it."""
    repo.say(name, system, broken=broken)
    path = repo.root / "prompts" / f"{name}.prompt.yml"
    path.write_text(path.read_text().replace('"tiny"', '"embedded/embedded"'))


@pytest.fixture
def bare_shop(tmp_path: Path) -> GitProject:
    """No llmops.yaml, no registry."""
    repo = make_git_project(tmp_path / "shop", "support")
    (repo.root / "llmops.yaml").unlink()
    say(repo, "Answer.")
    repo.commit("prompts and evalsets")
    return repo


def test_a_worse_prompt_fails_and_one_as_good_passes(bare_shop: GitProject) -> None:
    say(bare_shop, "Answer badly.", broken=20)
    result = bare_shop.run("eval", "--base", "HEAD")
    assert result.code == 1, result.text
    assert "support@working against support@base" in result.text
    assert "production does not run it yet" in result.text
    say(bare_shop, "Answer kindly.")
    assert "PASS" in bare_shop.ok("eval", "--base", "HEAD", "--require-baseline").out


def test_an_unchanged_prompt_calls_nothing_twice(bare_shop: GitProject) -> None:
    bare_shop.ok("eval", "--base", "HEAD")
    assert bare_shop.ok("eval", "--base", "HEAD", "--json").report["calls"] == 0


def test_a_prompt_that_the_base_does_not_have_has_no_baseline(bare_shop: GitProject) -> None:
    result = bare_shop.run(
        "eval", "--json", "--base", "HEAD~1"
    )  # there it named a model of llmops.yaml
    assert result.decision == "PASS"
    say(bare_shop, "Answer.", name="second")
    bare_shop.cases("second")
    bare_shop.evalset("second")
    result = bare_shop.run("eval", "second", "--json", "--base", "HEAD")
    assert result.decision == "INCONCLUSIVE"
    assert "no baseline" in result.text


def test_what_production_runs_is_the_baseline_as_soon_as_it_runs_anything(
    bare_shop: GitProject,
) -> None:
    bare_shop.first("support")
    say(bare_shop, "Answer badly.", broken=20)
    result = bare_shop.run("eval", "--base", "HEAD")
    assert "support@working against support@v1 (production)" in result.text


def test_a_folder_without_prompts_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    result = GitProject(tmp_path).run("eval")
    assert (result.code, "llmops init" in result.err) == (2, True)


# A change that promotes a version is compared with what ran before it ---------------------------


@pytest.fixture
def repo(shop: GitProject) -> GitProject:
    """Production runs v1; the branch `main` is where changes go to."""
    shop.git("switch", "-qc", "change")
    return shop


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
    assert result.report["calls"] == CASES  # the evidence that it adds counts for nothing
    note = (
        "this change promotes support@v2 to production by override: compared with support@v1, "
        "which ran there before"
    )
    assert note in result.text
    assert "UNCHANGED" not in changed_run(fresh, "--changed", "main", code=1)


@pytest.mark.parametrize("selected", [[], ["--changed", "main"], ["support"]])
def test_a_version_that_a_change_promotes_is_measured_even_if_the_prompt_is_another(
    repo: GitProject, selected: list[str]
) -> None:
    """The prompt's file is as good as ever: alone it would be unchanged, and production worse."""
    repo.ok("promote", worse(repo), "--override", "-m", "trust me", "--commit")
    repo.git("checkout", "-q", "main", "--", "prompts")
    repo.commit("as before")
    output = changed_run(repo, *selected, code=1)
    assert "FAIL support" in output
    assert "support@v2 against support@v1" in output


def test_a_version_that_a_change_promotes_and_takes_back_is_measured(repo: GitProject) -> None:
    """The next rollback would go to it."""
    repo.ok("promote", worse(repo), "--override", "-m", "trust me", "--commit")
    repo.ok("promote", "support@v1", "--override", "-m", "back", "--commit")
    repo.git("checkout", "-q", "main", "--", "prompts")
    repo.commit("as before")
    assert "support@v2 against support@v1" in changed_run(repo, code=1)


def test_a_version_that_a_change_promotes_is_gated_even_if_the_prompt_goes(
    repo: GitProject,
) -> None:
    repo.ok("promote", worse(repo), "--override", "-m", "trust me", "--commit")
    for file in ("prompts/support.prompt.yml", "evalsets/support.yaml", "evalsets/support.jsonl"):
        (repo.root / file).unlink()
    repo.say("other")
    repo.cases("other")
    repo.evalset("other")
    repo.commit("without the prompt")
    output = changed_run(repo, code=2)
    assert "this change promotes support@v2 to production by override" in output
    assert "nothing here gates support" in output


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


# A branch behind its base must be updated before it can skip newer cases ------------------------


@pytest.fixture
def forked(tmp_path: Path) -> GitProject:
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


def test_cases_added_on_the_base_ask_for_an_update_and_block(forked: GitProject) -> None:
    behind(forked, lambda item: item.cases("support"))
    result = forked.run("eval", "--base", "main")
    assert result.code == 1
    output = "update your branch: it lacks 2 cases added on the base since: c58, c59"
    assert output in result.text
    assert "removed without being retired" not in result.text
    assert "2 cases removed" not in result.text
    forked.git("merge", "-q", "--no-edit", "main")
    assert "update your branch" not in forked.ok("eval", "--base", "main").text


def test_what_a_branch_removes_itself_is_distinguished(forked: GitProject) -> None:
    behind(forked, lambda item: item.cases("support"))
    lines = (forked.root / "evalsets/support.jsonl").read_text().splitlines(keepends=True)
    forked.write("evalsets/support.jsonl", "".join(lines[1:]))
    output = forked.run("eval", "--base", "main").text
    assert "1 case of the baseline removed without being retired: c00; update your branch" in output


def test_an_evalset_added_on_the_base_blocks_too(forked: GitProject) -> None:
    def gains(repo: GitProject) -> None:
        repo.write("evalsets/more.jsonl", (repo.root / "evalsets/support.jsonl").read_text())
        repo.evalset("support", cases="more.jsonl")
        yaml_text = (repo.root / "evalsets/support.yaml").read_text()
        repo.evalset("support")
        repo.write("evalsets/more.yaml", yaml_text)

    behind(forked, gains)
    result = forked.run("eval", "--base", "main")
    assert result.code == 1
    assert "update your branch: it lacks 58 cases added on the base since" in result.text
    assert "the base gained more (58 cases) since this branch left: update" in result.text


def test_a_policy_that_changed_at_the_base_decides_and_is_not_laid_at_the_branchs_door(
    forked: GitProject,
) -> None:
    llmops = (forked.root / "llmops.yaml").read_text()
    behind(forked, lambda item: item.write("llmops.yaml", llmops + "gate: {margin: 0.2}\n"))
    output = forked.ok("eval", "--base", "main").text
    assert "decided by the policy at the base revision; this branch is behind main" in output


def test_work_at_the_base_that_decides_nothing_is_not_spoken_of(forked: GitProject) -> None:
    behind(forked, lambda item: item.write("README.md", "Something else.\n"))
    forked.cases("support")
    forked.commit("more cases")
    output = forked.ok("eval", "--base", "main").text
    assert "2 cases added" in output
    assert "behind" not in output


def test_a_prompt_whose_evalset_was_added_on_the_base_is_refused_with_the_fix(
    forked: GitProject,
) -> None:
    forked.git("switch", "-q", "change")
    forked.say("other")
    forked.commit("a prompt that nothing gates")
    forked.git("branch", "-qf", "main", "HEAD")
    forked.git("switch", "-q", "main")

    def gains(repo: GitProject) -> None:
        repo.cases("other")
        repo.evalset("other")

    behind(forked, gains)
    result = forked.run("eval", "--base", "main")
    assert result.code == 2
    assert "nothing gates other here: main gained other since this branch left it" in result.text
    assert "git merge main" in result.text
