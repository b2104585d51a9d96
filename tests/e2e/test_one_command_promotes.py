"""`promote NAME` from the working copy, and `measure` of several prompts at once."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.git_project import GitProject, make_git_project
from tests.projects import run_on_terminal


@pytest.fixture
def repo(shop: GitProject) -> GitProject:
    """v1 runs; the working copy says something else and is not released."""
    shop.say("support", "Answer kindly.")
    shop.commit("kinder")
    return shop


def test_promote_releases_measures_and_promotes_the_working_copy(repo: GitProject) -> None:
    result = repo.ok("promote", "support", "-m", "kinder", "--yes")
    assert result.out.splitlines()[:3] == [
        "released support@v2",
        "measured support@v2: PASS (120 calls)",
        "production runs support@v2  (event 2)",
    ]
    assert repo.runs("support") == 2
    repo.ok("verify")
    again = repo.ok("promote", "support", "-m", "kinder", "--yes")
    assert "support@v2 is released: the working copy is the same" in again.out
    assert "it runs there already" in again.out
    assert len(repo.registry.evidence("support", 2)) == 1


def test_promote_asks_on_a_terminal_before_it_calls(repo: GitProject) -> None:
    shown = run_on_terminal(repo.root, "promote", "support", "-m", "kinder", typed=b"n\n")[1]
    assert "released support@v2" in shown
    assert "measure now? 120 calls, about $0.00" in shown
    assert repo.runs("support") == 1
    run_on_terminal(repo.root, "promote", "support", "-m", "kinder", typed=b"y\n")
    assert repo.runs("support") == 2


def test_promote_without_yes_prints_the_command_that_goes_on(repo: GitProject) -> None:
    command = ["promote", "support", "--to", "production", "-m", "why: 'kind'", "--commit"]
    result = repo.run(*command)
    assert (result.code, repo.runs("support")) == (3, 1)
    (step,) = (line for line in result.out.splitlines() if line.startswith("next: "))
    words = shlex.split(step.removeprefix("next: ").partition("   #")[0])
    assert words == ["llmops", *command, "--yes"]
    assert "120 calls" in step
    repo.ok(*words[1:])
    assert repo.runs("support") == 2
    assert repo.git("status", "--short") == ""


def test_promote_goes_on_after_each_step_that_is_done_already(repo: GitProject) -> None:
    repo.ok("release", "support")
    repo.ok("measure", "support@v2")
    result = repo.ok("promote", "support", "-m", "kinder")  # nothing is missing: nothing to ask
    assert "measured" not in result.out
    assert repo.runs("support") == 2


def test_a_worse_working_copy_is_released_and_measured_but_not_promoted(repo: GitProject) -> None:
    repo.say("support", "Answer kindly.", broken=30)
    result = repo.run("promote", "support", "-m", "worse", "--yes")
    assert (result.code, repo.runs("support")) == (1, 1)
    assert "measured support@v2: FAIL" in result.out
    assert "not promoted: support@v2" in result.out


def test_the_first_promotion_of_a_working_copy_names_its_own_flag(tmp_path: Path) -> None:
    repo = make_git_project(tmp_path / "shop", "support")
    result = repo.run("promote", "support", "-m", "the first", "--yes")
    assert (result.code, "--initial" in result.err) == (2, True)
    repo.ok("promote", "support", "--initial", "-m", "the first", "--yes")
    assert repo.runs("support") == 1


def test_an_unknown_prompt_is_answered_with_the_nearest_name(repo: GitProject) -> None:
    result = repo.run("promote", "suport", "-m", "typo", "--yes")
    assert (result.code, "support" in result.err) == (2, True)


@pytest.fixture
def three(tmp_path: Path) -> GitProject:
    """Three prompts, all released, none measured."""
    names = ("support", "intent", "tone")
    repo = make_git_project(tmp_path / "shop", *names)
    for name in names:
        repo.say(name, f"Answer about {name}.")
    repo.ok("release")
    return repo


def test_measure_takes_several_prompts_and_all_of_them(three: GitProject) -> None:
    result = three.ok("measure", "support@v1", "intent")
    assert result.out.count("evidence: ") == 2
    assert [len(three.registry.evidence(name, 1)) for name in ("support", "intent", "tone")] == [
        1,
        1,
        0,
    ]
    document = three.ok("measure", "--all", "--json").report
    assert [prompt["candidate"] for prompt in document["prompts"]] == [
        "intent@v1",
        "support@v1",
        "tone@v1",
    ]
    for name in ("support", "intent", "tone"):
        three.ok("promote", f"{name}@v1", "--initial", "-m", "the first")
    three.ok("verify")


def test_measure_dry_run_calls_and_writes_nothing(three: GitProject) -> None:
    result = three.ok("measure", "--all", "--dry-run", "--json")
    (plan,) = result.document
    sides = [evalset["sides"] for item in plan["prompts"] for evalset in item["evalsets"]]
    assert [[side["calls"] for side in each] for each in sides] == [[60, 60]] * 3
    assert not three.registry.evidence("support", 1)
    assert "360 calls" in three.ok("measure", "--all", "--dry-run").out


def test_measure_by_name_refuses_a_working_copy_that_is_not_released(three: GitProject) -> None:
    three.say("support", "Answer kindly.")
    for command in (["support"], ["--all"]):
        result = three.run("measure", *command)
        assert (result.code, "llmops release support" in result.err) == (2, True)
    three.ok("measure", "support@v1", "intent")
    assert not three.registry.evidence("tone", 1)


def test_measure_needs_names_or_all_and_not_both(three: GitProject) -> None:
    assert three.run("measure").code == 2
    assert three.run("measure", "--all", "support").code == 2


def test_one_prompt_that_fails_leaves_the_evidence_of_the_others(three: GitProject) -> None:
    three.ok("measure", "--all")
    for name in ("support", "intent", "tone"):
        three.ok("promote", f"{name}@v1", "--initial", "-m", "the first")
    three.say("support", "Answer kindly.", broken=30)
    three.say("intent", "Answer kindly.")
    three.ok("release", "support", "intent")
    assert three.run("measure", "support", "intent").code == 1
    decisions = [
        three.registry.evidence(name, 2)[-1].measurement.verdict.decision.value
        for name in ("support", "intent")
    ]
    assert decisions == ["FAIL", "PASS"]
