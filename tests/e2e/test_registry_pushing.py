"""Promotions committed and pushed: never forced, never half done."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.git_project import GitProject, checkout, git


def test_push_brings_version_evidence_and_event_in_one_commit(bare: Path) -> None:
    ada = checkout(bare, "ada")
    address = ada.candidate("support")
    ada.ok("promote", address, "-m", "kinder", "--push")
    assert ada.git("status", "--porcelain") == ""
    files = git(bare, "show", "--format=", "--name-only", "main").splitlines()
    assert ".llmops/log/production/support/000002.json" in files
    assert ".llmops/versions/support@v2/version.json" in files
    assert any(path.startswith(".llmops/evidence/support@v2/") for path in files)
    assert all(path.startswith(".llmops/") for path in files)
    assert "kinder" in git(bare, "show", "-s", "--format=%B", "main")


def test_commit_leaves_what_else_is_staged_alone(bare: Path) -> None:
    ada = checkout(bare, "ada")
    address = ada.candidate("support")
    ada.write("notes.txt", "unfinished")
    ada.git("add", "notes.txt")
    ada.ok("promote", address, "--commit")
    assert ada.git("status", "--porcelain") == "A  notes.txt"
    assert ada.git("rev-list", "--count", "origin/main..HEAD") == "2"  # the prompt, the promotion


def test_each_step_is_a_commit_of_its_own_where_asked_and_none_otherwise(bare: Path) -> None:
    ada = checkout(bare, "ada")
    ada.say("support", "Answer kindly.")
    head = ada.commit("kinder")
    ada.ok("release", "support")
    ada.ok("measure", "support@v2")
    assert ada.git("rev-parse", "HEAD") == head
    ada.git("clean", "-qfd", ".llmops")
    ada.ok("release", "--changed", "--commit")
    ada.ok("measure", "support@v2", "--commit")
    ada.ok("promote", "support@v2", "--push")
    assert git(bare, "log", "-3", "--format=%s", "main").splitlines() == [
        "Promote support@v2 to production",
        "Measure support@v2: PASS",
        "Release support@v2",
    ]


def test_what_decides_must_be_committed(bare: Path) -> None:
    ada = checkout(bare, "ada")
    address = ada.candidate("support")
    ada.write("llmops.yaml", ada.root.joinpath("llmops.yaml").read_text() + "gate: {margin: 0.5}\n")
    before = ada.runs("support")
    for how in ("--commit", "--push"):
        result = ada.run("promote", address, how)
        assert (result.code, "not committed: llmops.yaml" in result.err) == (2, True)
    assert ada.runs("support") == before


def test_other_prompts_may_have_moved_meanwhile(bare: Path) -> None:
    ada, bob = checkout(bare, "ada"), checkout(bare, "bob")
    ada.git("checkout", "-q", "main")
    for repo, name in ((ada, "support"), (bob, "intent")):
        repo.say(name, "Answer kindly.")
        repo.git("add", "prompts")
        repo.git("commit", "-qm", name)
        repo.git("pull", "-q", "--rebase")
        repo.git("push", "-q")
    ada.git("pull", "-q", "--rebase")
    for repo, name in ((ada, "support"), (bob, "intent")):
        repo.ok("release", name)
        repo.ok("measure", f"{name}@v2")
    ada.ok("promote", "support@v2", "--push")
    bob.ok("promote", "intent@v2", "--push")
    late = checkout(bare, "late")
    assert (late.runs("support"), late.runs("intent")) == (2, 2)
    assert late.ok("verify").code == 0


def test_the_promoter_that_loses_a_race_reports_the_winner_and_keeps_its_answers(
    bare: Path,
) -> None:
    ada, bob = checkout(bare, "ada"), checkout(bare, "bob")
    for repo in (ada, bob):
        repo.say("support", "Answer kindly.")
    ada.ok("promote", ada.candidate("support"), "--push")
    bob.git("checkout", "-q", "--", "prompts")
    result = bob.run("rollback", "support@production", "-m", "panic", "--push")
    assert result.code == 2
    assert "support was moved in production meanwhile: event 2, promote by Ada Tester" in result.err
    assert bob.runs("support") == 2
    again = bob.ok("rollback", "support@production", "-m", "seen it: panic", "--push")
    assert "production runs support@v1" in again.out
    assert git(bare, "log", "-1", "--format=%s", "main") == "Roll support back to v1 in production"


def test_two_who_released_one_number_cannot_both_push(bare: Path) -> None:
    ada, bob = checkout(bare, "ada"), checkout(bare, "bob")
    mine, yours = ada.candidate("support", "Be kind."), bob.candidate("support", "Be brief.")
    assert mine == yours == "support@v2"
    ada.ok("promote", mine, "--push")
    bob.git("fetch", "-q")
    bob.git("rebase", "-q", "HEAD~1")
    result = bob.run("promote", yours, "--push")
    assert result.code == 2
    assert bob.runs("support") == 1
    assert git(bare, "show", "main:.llmops/versions/support@v2/version.json").count("Be kind.")


def test_commits_of_work_are_never_rebased_for_anyone(bare: Path) -> None:
    ada, bob = checkout(bare, "ada"), checkout(bare, "bob")
    ada.ok("promote", ada.candidate("support"), "--push")
    address = bob.candidate("intent")  # commits a change of the prompt's own file
    head = bob.git("rev-parse", "HEAD")
    result = bob.run("promote", address, "--push")
    assert (result.code, bob.git("rev-parse", "HEAD")) == (2, head)
    assert "git pull --rebase" in result.err
    bob.git("pull", "-q", "--rebase")
    bob.ok("promote", address, "--push")


def test_commits_of_the_registry_alone_go_on_top_of_what_was_fetched(bare: Path) -> None:
    ada, bob = checkout(bare, "ada"), checkout(bare, "bob")
    for repo in (ada, bob):
        repo.say("support", "Be kind.")
        repo.say("intent", "Be kind.")
    ada.commit("kinder")
    ada.git("push", "-q")
    bob.git("checkout", "-q", "--", ".")
    bob.git("pull", "-q")
    for repo, name in ((ada, "support"), (bob, "intent")):
        repo.ok("release", name, "--commit")
        repo.ok("measure", f"{name}@v2", "--commit")
        repo.ok("promote", f"{name}@v2", "--push")
    assert git(bare, "rev-list", "--count", "--merges", "main") == "0"
    assert checkout(bare, "late").ok("verify").code == 0


@pytest.mark.parametrize(
    ("hook", "how", "words"),
    [
        ("shared.git/hooks/pre-receive", "--push", "main is protected"),
        ("ada/.git/hooks/pre-commit", "--commit", "not on Fridays"),
    ],
)
def test_a_hook_that_refuses_is_quoted_and_leaves_no_event(
    bare: Path, hook: str, how: str, words: str
) -> None:
    ada = checkout(bare, "ada")
    address = ada.candidate("support")
    path = bare.parent / hook
    path.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    path.chmod(0o755)
    result = ada.run("promote", address, how)
    assert (result.code, words in result.err, ada.runs("support")) == (2, True, 1)
    path.unlink()
    ada.ok("promote", address, how)


def test_a_remote_that_cannot_be_reached_is_3_and_nothing_moves(bare: Path) -> None:
    ada = checkout(bare, "ada")
    address = ada.candidate("support")
    away = bare.rename(bare.with_name("away.git"))
    result = ada.run("promote", address, "--push")
    assert (result.code, ada.runs("support")) == (3, 1)
    away.rename(bare)
    ada.ok("promote", address, "--push")


def test_a_detached_head_promotes_and_commits_but_has_nothing_to_push(bare: Path) -> None:
    ada = checkout(bare, "ada")
    address = ada.candidate("support")
    ada.git("checkout", "-q", "--detach")
    result = ada.run("promote", address, "--push")
    assert (result.code, "HEAD is detached" in result.err, ada.runs("support")) == (2, True, 1)
    ada.ok("promote", address, "--commit")
    assert ada.runs("support") == 2


def test_without_a_remote_a_push_is_refused_and_a_commit_is_not(shop: GitProject) -> None:
    address = shop.candidate("support")
    result = shop.run("promote", address, "--push")
    assert (result.code, "has no remote to push to" in result.err) == (2, True)
    shop.ok("promote", address, "--commit")


def test_without_git_a_promotion_works_and_a_commit_is_refused(bare: Path) -> None:
    ada = checkout(bare, "ada")
    address = ada.candidate("support")
    shutil.rmtree(ada.root / ".git")
    assert ada.run("promote", address, "--commit").code == 2
    assert ada.runs("support") == 1
    ada.ok("promote", address)
    ada.ok("verify")


def test_a_shallow_clone_pushes_as_well_as_any(bare: Path) -> None:
    ada = checkout(bare, "ada", "--depth=1", "--no-tags")
    bob = checkout(bare, "bob")
    bob.ok("promote", bob.candidate("intent"), "--push")
    ada.git("pull", "-q", "--ff-only")
    ada.ok("promote", ada.candidate("support"), "--push")
    assert ada.git("rev-parse", "--is-shallow-repository") == "true"
    late = checkout(bare, "late")
    assert (late.runs("support"), late.runs("intent")) == (2, 2)


def test_a_new_branch_is_pushed_as_one(bare: Path) -> None:
    ada = checkout(bare, "ada")
    ada.git("switch", "-q", "-c", "llmops/support-v2")
    ada.ok("promote", ada.candidate("support"), "--push")
    assert git(bare, "rev-parse", "llmops/support-v2") == ada.git("rev-parse", "HEAD")
    assert git(bare, "rev-parse", "main") != ada.git("rev-parse", "HEAD")
