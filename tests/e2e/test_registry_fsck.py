"""`fsck` checks the registry against itself; `--base` finds each change that does not only add."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.git_project import GitProject, git, make_git_project

EVENTS = ".llmops/log/production/support"


@pytest.fixture(scope="module")
def original(promoted: GitProject, tmp_path_factory: pytest.TempPathFactory) -> GitProject:
    """v1, v2 and v3 of `support` ran one after the other; the branch base holds the first two."""
    repo = promoted.copy(tmp_path_factory.mktemp("original") / "shop")
    repo.ok("promote", repo.candidate("support", "Be kind."), "--commit")
    repo.git("branch", "base")
    repo.ok("promote", repo.candidate("support", "Be brief."), "--commit")
    return repo


@pytest.fixture
def repo(original: GitProject, tmp_path: Path) -> GitProject:
    return original.copy(tmp_path / "shop")


def broken(repo: GitProject, base: str = "base", *more: str) -> str:
    """What fsck says, where it says no."""
    result = repo.run("fsck", "--base", base, *more)
    assert result.code == 2, result.text
    assert "NOT only grown" in result.out
    return result.text


def edit(repo: GitProject, path: str, old: str, new: str) -> None:
    file = repo.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_without_a_base_an_intact_registry_is_reported_with_and_without_git(
    shop: GitProject,
) -> None:
    summary = "in all: 1 version, 1 evidence file, 1 event the registry is intact"
    assert shop.ok("fsck").text == summary
    shutil.rmtree(shop.root / ".git")
    assert shop.ok("fsck").text == summary
    shutil.rmtree(shop.root / ".llmops")
    assert "the registry is intact" in shop.ok("fsck").out


@pytest.mark.parametrize(
    "path",
    [
        "log/production/support/000001.json",
        "versions/support@v1/version.json",
        "versions/support@v1/files/support.prompt.yml",
        "evidence/support@v1/*.cases.jsonl",
    ],
)
def test_without_a_base_a_byte_that_was_edited_is_found(shop: GitProject, path: str) -> None:
    (file,) = (shop.root / ".llmops").glob(path)
    before, edited, after = file.read_bytes().rpartition(b"e")
    file.write_bytes(before + edited.upper() + after)
    result = shop.run("fsck")
    assert result.code == 2
    assert "the registry is NOT intact" in result.out
    assert "BROKEN" in result.out


@pytest.mark.parametrize(
    "path",
    [
        "notes.md",
        "versions/README.md",
        "versions/support@v1/note.txt",
        "evidence/support@v1/0123456789ab.html",
        "evidence/support@v1/more/0123456789ab.json",
        "log/production/support/000001.json.orig",
        "calibrations/latest.json",
        "hooks/on-promote.sh",
        "watch/production.py",
    ],
)
def test_a_file_of_no_known_kind_is_found(shop: GitProject, path: str) -> None:
    shop.write(f".llmops/{path}", "text")
    result = shop.run("fsck")
    assert (result.code, f".llmops/{path}: llmops commits no such file" in result.text) == (2, True)
    shop.commit()
    assert f".llmops/{path}" in shop.run("fsck", "--base", "HEAD").text


@pytest.mark.parametrize(
    "path",
    ["store/results.sqlite3-wal", "store/reports/000001.json", "traces/words.json", ".new-1"],
)
def test_what_git_has_of_another_machine_is_found(shop: GitProject, path: str) -> None:
    shop.write(f".llmops/{path}", "text")
    shop.ok("fsck")
    shop.git("add", "-f", f".llmops/{path}")
    result = shop.run("fsck")
    assert (result.code, f".llmops/{path}: llmops commits no such file" in result.text) == (2, True)


def test_every_kind_of_file_that_llmops_writes_is_known(shop: GitProject) -> None:
    shop.ok("schema", "--write")
    shop.write(".llmops/watch/production.jsonl", "")
    shop.commit()
    shop.ok("fsck")


def test_a_registry_that_grew_is_intact(repo: GitProject) -> None:
    output = repo.ok("fsck", "--base", "base").out
    assert "since base: 1 version, 1 evidence file, 1 event" in output
    assert "promote support@v3 in production" in " ".join(output.split())
    (report,) = repo.ok("fsck", "--base", "base", "--json").document
    assert (report["problems"], report["versions"], len(report["events"])) == ([], 1, 1)


def test_a_clone_of_depth_1_with_the_base_fetched_as_thin_can_tell(
    repo: GitProject, tmp_path: Path
) -> None:
    thin = repo.clone(tmp_path / "thin", "--depth=1", "--no-tags", "--branch", "main")
    result = thin.run("fsck", "--base", "origin/base")
    assert (result.code, "git fetch --depth=1 origin base" in result.text) == (2, True)
    thin.git("fetch", "-q", "--depth=1", "origin", "base")
    thin.ok("fsck", "--base", "FETCH_HEAD")
    (thin.root / EVENTS / "000001.json").unlink()
    assert "an event was removed from the chain" in broken(thin, "FETCH_HEAD")


def test_a_partial_clone_without_the_rows_of_history_can_tell(
    repo: GitProject, tmp_path: Path
) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.ok("gc", "--commit")
    light = repo.clone(tmp_path / "light", "--filter=blob:limit=2k")
    repo.root.rename(tmp_path / "away")  # nothing can be fetched later on
    light.ok("fsck", "--base", "origin/base")
    light.ok("verify")


def test_a_detached_head_and_an_autocrlf_checkout_work(repo: GitProject, tmp_path: Path) -> None:
    clone = repo.clone(tmp_path / "crlf", "--config", "core.autocrlf=true", "-c", "core.eol=crlf")
    assert b"\r\n" in (clone.root / "evalsets" / "support.yaml").read_bytes()
    clone.git("checkout", "-q", "--detach")
    clone.ok("fsck", "--base", "origin/base")
    clone.ok("verify")


def test_outside_git_it_names_what_works_without(repo: GitProject) -> None:
    shutil.rmtree(repo.root / ".git")
    result = repo.run("fsck", "--base", "main")
    assert (result.code, "llmops verify" in result.err) == (2, True)
    repo.ok("verify")


def remove_the_first_event(repo: GitProject) -> None:
    (repo.root / EVENTS / "000001.json").unlink()


def edit_the_first_event(repo: GitProject) -> None:
    edit(repo, f"{EVENTS}/000001.json", "the first", "the worst")


def remove_the_rows_of_a_promotion(repo: GitProject) -> None:
    (rows,) = (repo.root / ".llmops/evidence/support@v3").glob("*.cases.jsonl")
    rows.unlink()


def skip_a_version(repo: GitProject) -> None:
    repo.candidate("support", "Be quick.")
    repo.git("rm", "-rqf", ".llmops/versions/support@v3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_the_first_event, f"{EVENTS}/000001.json: it is not the event of base: it was edited"),
        (
            remove_the_first_event,
            f"{EVENTS}/000001.json: an event was removed from the chain since base",
        ),
        (
            remove_the_rows_of_a_promotion,
            "event 3 in production is based on it, and its rows are not here",
        ),
        (skip_a_version, "support has a v4 and no v3"),
    ],
)
def test_what_was_changed_is_found(
    repo: GitProject, change: Callable[[GitProject], None], message: str
) -> None:
    change(repo)
    assert message in broken(repo)


def test_a_middle_event_edited_with_a_digest_that_fits(repo: GitProject) -> None:
    """The whole chain is written anew behind it: it reads well, and fsck knows better."""
    events = repo.registry.history("production", "support")
    last = None
    for event in events:
        repo.registry.event_file(event).unlink()
    for event in events:
        changed = replace(event, reason=f"{event.reason}!", previous=last)
        last = changed.digest
        repo.registry.append(changed)
    repo.registry.history("production", "support")
    output = broken(repo)
    assert all(f"{EVENTS}/00000{seq}.json: it is not the event" in output for seq in (1, 2))


def test_the_last_event_reverted_by_git(repo: GitProject) -> None:
    repo.git("branch", "-f", "base")
    repo.git("revert", "--no-edit", "HEAD")
    output = broken(repo)
    assert f"{EVENTS}/000003.json: the last event of base is removed (git revert?)" in output
    assert "llmops rollback support@production" in output
    assert ".llmops/versions/support@v3/version.json: it was there at base and is removed" in output


def test_every_problem_is_reported_at_once_with_its_file(repo: GitProject) -> None:
    (repo.root / EVENTS / "000001.json").unlink()
    edit(repo, ".llmops/versions/support@v1/version.json", "Answer.", "Answer!")
    edit(repo, ".llmops/versions/support@v1/files/support.prompt.yml", "Answer.", "Answer!")
    (statement,) = (repo.root / ".llmops/evidence/support@v2").glob("*.json")
    statement.unlink()
    repo.write(".llmops/versions/support@v2/files/more.txt", "slipped in")
    (entry,) = repo.run("fsck", "--base", "base", "--json").document
    assert sorted({problem["where"] for problem in entry["problems"]}) == sorted(
        [
            f"{EVENTS}/000001.json",
            f"{EVENTS}/000002.json",
            ".llmops/versions/support@v1/version.json",
            ".llmops/versions/support@v1/files/support.prompt.yml",
            statement.relative_to(repo.root).as_posix(),
            ".llmops/versions/support@v2/files/more.txt",
        ]
    )


@pytest.mark.parametrize("kind", ["*.json", "*.cases.jsonl", "*.texts.jsonl.gz", "*.summary.md"])
def test_one_byte_of_evidence(repo: GitProject, kind: str) -> None:
    (file,) = (repo.root / ".llmops/evidence/support@v2").glob(kind)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    assert file.relative_to(repo.root).as_posix() in broken(repo)


def test_one_byte_of_what_is_new_is_seen_too(repo: GitProject) -> None:
    (file,) = (repo.root / ".llmops/evidence/support@v3").glob("*.cases.jsonl")
    file.write_bytes(file.read_bytes().replace(b"1.0", b"0.0", 1))
    assert file.relative_to(repo.root).as_posix() in broken(repo)
    edit(repo, ".llmops/versions/support@v3/version.json", "Be brief.", "Be brief!")
    assert ".llmops/versions/support@v3/version.json" in broken(repo)


def test_two_branches_that_released_the_same_number(shop: GitProject) -> None:
    repo = shop
    repo.git("checkout", "-q", "-b", "one")
    repo.candidate("support", "Be kind.")
    repo.commit("one")
    repo.git("checkout", "-q", "-b", "two", "main")
    repo.candidate("support", "Be brief.")
    repo.commit("two")
    output = broken(repo, "one")
    assert "it is not the v2 of one: it was edited, or two branches released this number" in output
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "one")
    repo.git("merge", "-q", "-X", "theirs", "two")  # forced through: git no longer sees it
    assert "two branches released this number" in broken(repo, "one")


def test_two_branches_that_moved_the_same_prompt(repo: GitProject) -> None:
    repo.git("checkout", "-q", "-b", "other", "base")
    repo.ok("rollback", "support@production", "-m", "panic", "--commit")
    output = broken(repo, "main")
    assert f"{EVENTS}/000003.json: it is not the event of main" in output
    assert "two branches moved support in production" in output


def test_a_branch_that_lags_behind_gets_the_command_to_catch_up(repo: GitProject) -> None:
    repo.git("checkout", "-q", "-b", "old", "base")
    assert "git merge main" in broken(repo, "main")
    repo.git("merge", "-q", "main")
    repo.ok("fsck", "--base", "main")


def test_squash_merges_and_rebases_only_add(repo: GitProject) -> None:
    repo.git("checkout", "-q", "-b", "squashed", "base")
    repo.git("merge", "-q", "--squash", "main")
    repo.git("commit", "-qm", "all in one")
    repo.ok("fsck", "--base", "base")
    repo.ok("verify")
    repo.git("checkout", "-q", "base")
    repo.write("README.md", "meanwhile")
    repo.commit("meanwhile")
    repo.git("checkout", "-q", "main")
    repo.git("rebase", "-q", "base")
    repo.ok("fsck", "--base", "base")
    repo.ok("verify")


def test_a_promotion_from_a_fork_is_checked_like_any(repo: GitProject, tmp_path: Path) -> None:
    fork = repo.clone(tmp_path / "fork")
    fork.ok("promote", fork.candidate("support", "Be warm."), "--commit")
    repo.git("fetch", "-q", str(fork.root), "main:from-fork")
    repo.git("merge", "-q", "--no-ff", "-m", "a fork's", "from-fork")
    output = repo.ok("fsck", "--base", "HEAD^1").out
    assert "promote  support@v4 in production" in output


def test_a_policy_weakened_in_the_same_change_allows_nothing(repo: GitProject) -> None:
    repo.git("branch", "-f", "base")
    address = repo.candidate("support", "Be careless.", broken=20)
    assert repo.run("promote", address).code == 1
    weaken(repo, "gate: {margin: 0.5, tolerance: 0.45}")
    repo.ok("promote", address, "--commit")
    output = broken(repo)
    assert "support: margin 0.05 → 0.5; support: tolerance 0.0 → 0.45" in output
    assert "by the earlier one it is FAIL" in output
    assert "Change the policy first, in a change of its own" in output


def weaken(repo: GitProject, gate: str) -> None:
    repo.write("llmops.yaml", (repo.root / "llmops.yaml").read_text() + gate + "\n")
    repo.git("commit", "-qam", "another policy")


def test_a_policy_changed_in_the_same_change_is_a_warning_where_it_makes_no_difference(
    repo: GitProject,
) -> None:
    repo.git("branch", "-f", "base")
    address = repo.candidate("support", "Be warm.")
    weaken(repo, "gate: {margin: 0.2}")
    repo.ok("promote", address, "--commit")
    output = repo.ok("fsck", "--base", "base").text
    assert "warning" in output
    assert "by the earlier one it is PASS as well" in output
    assert "margin 0.05 → 0.2" in broken(repo, "base", "--strict")


def test_a_policy_changed_before_is_no_warning(repo: GitProject) -> None:
    weaken(repo, "gate: {margin: 0.2}")
    repo.git("branch", "-f", "base")
    repo.ok("promote", repo.candidate("support", "Be warm."), "--commit")
    assert "warning" not in repo.ok("fsck", "--base", "base", "--strict").out


def test_an_order_of_environments_dropped_in_the_same_change_is_reported(tmp_path: Path) -> None:
    repo = make_git_project(tmp_path / "shop", "support")
    both = "models:\n  tiny: {provider: embedded}\nenvironments: [staging, production]\n"
    repo.write("llmops.yaml", both)
    repo.commit("staging first")
    repo.git("branch", "base")
    repo.write("llmops.yaml", both.replace("staging, ", ""))
    repo.commit("production alone")
    repo.first()
    assert "at base, production comes after staging, and no event of that is cited" in broken(repo)


def test_a_base_before_the_registry_began_is_only_growth(tmp_path: Path) -> None:
    repo = make_git_project(tmp_path / "shop", "support")
    repo.git("branch", "base")
    repo.first()
    repo.ok("fsck", "--base", "base")


def test_a_project_in_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    outer = make_git_project(tmp_path / "outer", "intent")
    inner = GitProject(outer.root / "services" / "chat")
    inner.root.mkdir(parents=True)
    inner.write("llmops.yaml", (outer.root / "llmops.yaml").read_text())
    for write in (inner.say, inner.cases, inner.evalset):
        write("support")
    outer.commit("a service")
    outer.git("branch", "base")
    inner.first()
    assert "since base: 1 version" in inner.ok("fsck", "--base", "base").out
    assert "since base: 0 versions" in outer.ok("fsck", "--base", "base").out
    git(outer.root, "branch", "-f", "base")
    (inner.root / EVENTS / "000001.json").write_text(json.dumps({"seq": 1}))
    assert "000001.json" in broken(inner)
