"""`fsck --base` against every way in which a registry stops to only grow, in clones of depth 1."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.shop import Shop, a_shop, git

EVENTS = ".llmops/log/production/support"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """v1, v2 and v3 of `support` ran one after the other; main holds the first two of it."""
    shop = a_shop(tmp_path / "shop", "support")
    shop.first()
    shop.ok("promote", shop.candidate("support", "Be kind."), "--commit")
    shop.git("branch", "base")
    shop.ok("promote", shop.candidate("support", "Be brief."), "--commit")
    return shop


def broken(shop: Shop, base: str = "base", *more: str) -> str:
    """What fsck says, where it says no."""
    ran = shop.run("fsck", "--base", base, *more)
    assert ran.code == 2, ran.text
    assert "NOT only grown" in ran.out
    return ran.text


def edit(shop: Shop, path: str, old: str, new: str) -> None:
    file = shop.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_registry_that_grew_holds(shop: Shop) -> None:
    said = shop.ok("fsck", "--base", "base").out
    assert "since base: 1 version, 1 evidence file, 1 event" in said
    assert "promote support@v3 in production" in " ".join(said.split())
    (found,) = shop.ok("fsck", "--base", "base", "--json").document
    assert (found["problems"], found["versions"], len(found["events"])) == ([], 1, 1)


def test_a_clone_of_depth_1_with_the_base_fetched_as_thin_can_tell(
    shop: Shop, tmp_path: Path
) -> None:
    thin = shop.clone(tmp_path / "thin", "--depth=1", "--no-tags", "--branch", "main")
    ran = thin.run("fsck", "--base", "origin/base")
    assert (ran.code, "git fetch --depth=1 origin base" in ran.text) == (2, True)
    thin.git("fetch", "-q", "--depth=1", "origin", "base")
    thin.ok("fsck", "--base", "FETCH_HEAD")
    (thin.root / EVENTS / "000001.json").unlink()
    assert "an event was removed from the chain" in broken(thin, "FETCH_HEAD")


def test_a_partial_clone_without_the_rows_of_history_can_tell(shop: Shop, tmp_path: Path) -> None:
    shop.git("config", "uploadpack.allowFilter", "true")
    shop.ok("gc", "--commit")
    light = shop.clone(tmp_path / "light", "--filter=blob:limit=2k")
    shop.root.rename(tmp_path / "away")  # nothing can be fetched later on
    light.ok("fsck", "--base", "origin/base")
    light.ok("verify")


def test_a_detached_head_and_an_autocrlf_checkout_are_no_trouble(
    shop: Shop, tmp_path: Path
) -> None:
    clone = shop.clone(tmp_path / "crlf", "--config", "core.autocrlf=true", "-c", "core.eol=crlf")
    assert b"\r\n" in (clone.root / "evalsets" / "support.yaml").read_bytes()
    clone.git("checkout", "-q", "--detach")
    clone.ok("fsck", "--base", "origin/base")
    clone.ok("verify")


def test_outside_git_it_says_what_does_without(shop: Shop, tmp_path: Path) -> None:
    copy = Shop(tmp_path / "copy")
    subprocess.run(["cp", "-r", str(shop.root), str(copy.root)], check=True)
    subprocess.run(["rm", "-rf", str(copy.root / ".git")], check=True)
    ran = copy.run("fsck", "--base", "main")
    assert (ran.code, "llmops verify" in ran.err) == (2, True)
    copy.ok("verify")


def test_an_event_edited_in_the_middle(shop: Shop) -> None:
    edit(shop, f"{EVENTS}/000001.json", "the first", "the worst")
    output = broken(shop)
    assert f"{EVENTS}/000001.json: it is not the event of base: it was edited" in output


def test_a_middle_event_edited_with_a_digest_that_fits(shop: Shop) -> None:
    """The whole chain is written anew behind it: it reads well, and fsck knows better."""
    rewrite(shop)
    shop.registry.history("production", "support")
    output = broken(shop)
    assert all(f"{EVENTS}/00000{seq}.json: it is not the event" in output for seq in (1, 2))


def rewrite(shop: Shop) -> None:
    """Another reason in event 1, and every digest behind it made right again."""
    events = shop.registry.history("production", "support")
    last = None
    for event in events:
        shop.registry.event_file(event).unlink()
    for event in events:
        changed = replace(event, reason=f"{event.reason}!", previous=last)
        last = changed.digest
        shop.registry.append(changed)


def test_a_middle_event_deleted(shop: Shop) -> None:
    (shop.root / EVENTS / "000001.json").unlink()
    assert f"{EVENTS}/000001.json: an event was removed from the chain since base" in broken(shop)


def test_the_last_event_reverted_by_git(shop: Shop) -> None:
    shop.git("branch", "-f", "base")
    shop.git("revert", "--no-edit", "HEAD")
    output = broken(shop)
    assert f"{EVENTS}/000003.json: the last event of base is removed (git revert?)" in output
    assert "llmops rollback support@production" in output
    assert ".llmops/versions/support@v3/version.json: it was there at base and is removed" in output


def test_every_problem_is_told_at_once_each_with_its_file(shop: Shop) -> None:
    (shop.root / EVENTS / "000001.json").unlink()
    edit(shop, ".llmops/versions/support@v1/version.json", "Answer.", "Answer!")
    edit(shop, ".llmops/versions/support@v1/files/support.prompt.yml", "Answer.", "Answer!")
    (statement,) = (shop.root / ".llmops/evidence/support@v2").glob("*.json")
    statement.unlink()
    shop.write(".llmops/versions/support@v2/files/more.txt", "slipped in")
    (entry,) = shop.run("fsck", "--base", "base", "--json").document
    assert sorted({problem["where"] for problem in entry["problems"]}) == sorted(
        [
            f"{EVENTS}/000001.json",
            f"{EVENTS}/000002.json",
            ".llmops/versions/support@v1/version.json",
            ".llmops/versions/support@v1/files/support.prompt.yml",
            statement.relative_to(shop.root).as_posix(),
            ".llmops/versions/support@v2/files/more.txt",
        ]
    )


@pytest.mark.parametrize("kind", ["*.json", "*.cases.jsonl", "*.texts.jsonl.gz", "*.summary.md"])
def test_one_byte_of_evidence(shop: Shop, kind: str) -> None:
    (file,) = (shop.root / ".llmops/evidence/support@v2").glob(kind)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    assert file.relative_to(shop.root).as_posix() in broken(shop)


def test_one_byte_of_what_is_new_is_seen_too(shop: Shop) -> None:
    (file,) = (shop.root / ".llmops/evidence/support@v3").glob("*.cases.jsonl")
    file.write_bytes(file.read_bytes().replace(b"1.0", b"0.0", 1))
    assert file.relative_to(shop.root).as_posix() in broken(shop)
    edit(shop, ".llmops/versions/support@v3/version.json", "Be brief.", "Be brief!")
    assert ".llmops/versions/support@v3/version.json" in broken(shop)


def test_two_branches_that_released_the_same_number(tmp_path: Path) -> None:
    shop = a_shop(tmp_path / "shop", "support")
    shop.first()
    shop.git("checkout", "-q", "-b", "one")
    shop.candidate("support", "Be kind.")
    shop.commit("one")
    shop.git("checkout", "-q", "-b", "two", "main")
    shop.candidate("support", "Be brief.")
    shop.commit("two")
    output = broken(shop, "one")
    assert "it is not the v2 of one: it was edited, or two branches released this number" in output
    shop.git("checkout", "-q", "main")
    shop.git("merge", "-q", "one")
    merging = subprocess.run(
        ["git", "-C", str(shop.root), "merge", "-q", "-X", "theirs", "two"],
        capture_output=True,
        check=False,
    )
    assert merging.returncode == 0  # forced through: git no longer sees it
    assert "two branches released this number" in broken(shop, "one")


def test_two_branches_that_moved_the_same_prompt(shop: Shop) -> None:
    shop.git("checkout", "-q", "-b", "other", "base")
    shop.ok("rollback", "support@production", "-m", "panic", "--commit")
    output = broken(shop, "main")
    assert f"{EVENTS}/000003.json: it is not the event of main" in output
    assert "two branches moved support in production" in output


def test_a_branch_that_only_lags_behind_is_told_how_to_catch_up(shop: Shop) -> None:
    shop.git("checkout", "-q", "-b", "old", "base")
    assert "git merge main" in broken(shop, "main")
    shop.git("merge", "-q", "main")
    shop.ok("fsck", "--base", "main")


def test_a_number_that_is_missing_in_between(shop: Shop) -> None:
    shop.candidate("support", "Be quick.")
    shop.git("rm", "-rqf", "--cached", ".llmops/versions/support@v3")
    subprocess.run(["rm", "-rf", str(shop.root / ".llmops/versions/support@v3")], check=True)
    assert "support has a v4 and no v3" in broken(shop)


def test_squash_merges_and_rebases_only_add(shop: Shop) -> None:
    shop.git("checkout", "-q", "-b", "squashed", "base")
    shop.git("merge", "-q", "--squash", "main")
    shop.git("commit", "-qm", "all in one")
    shop.ok("fsck", "--base", "base")
    shop.ok("verify")
    shop.git("checkout", "-q", "base")
    shop.write("README.md", "meanwhile")
    shop.commit("meanwhile")
    shop.git("checkout", "-q", "main")
    shop.git("rebase", "-q", "base")
    shop.ok("fsck", "--base", "base")
    shop.ok("verify")


def test_a_promotion_from_a_fork_is_checked_like_any(shop: Shop, tmp_path: Path) -> None:
    fork = shop.clone(tmp_path / "fork")
    fork.ok("promote", fork.candidate("support", "Be warm."), "--commit")
    shop.git("fetch", "-q", str(fork.root), "main:from-fork")
    shop.git("merge", "-q", "--no-ff", "-m", "a fork's", "from-fork")
    output = shop.ok("fsck", "--base", "HEAD^1").out
    assert "promote  support@v4 in production" in output


def test_a_promotion_without_its_rows_proves_nothing(shop: Shop) -> None:
    (rows,) = (shop.root / ".llmops/evidence/support@v3").glob("*.cases.jsonl")
    rows.unlink()
    output = broken(shop)
    assert "event 3 in production is based on it, and its rows are not here" in output


def test_a_policy_weakened_in_the_same_change_does_not_let_a_version_in(shop: Shop) -> None:
    shop.git("branch", "-f", "base")
    address = shop.candidate("support", "Be careless.", broken=20)
    assert shop.run("promote", address).code == 1
    weaken(shop, "gate: {margin: 0.5, tolerance: 0.45}")
    shop.ok("promote", address, "--commit")
    output = broken(shop)
    assert "support: margin 0.05 → 0.5; support: tolerance 0.0 → 0.45" in output
    assert "by the earlier one it is FAIL" in output
    assert "Change the policy first, in a change of its own" in output


def weaken(shop: Shop, gate: str) -> None:
    shop.write("llmops.yaml", (shop.root / "llmops.yaml").read_text() + gate + "\n")
    shop.git("commit", "-qam", "another policy")


def test_a_policy_changed_in_the_same_change_is_told_where_it_makes_no_difference(
    shop: Shop,
) -> None:
    shop.git("branch", "-f", "base")
    address = shop.candidate("support", "Be warm.")
    weaken(shop, "gate: {margin: 0.2}")
    shop.ok("promote", address, "--commit")
    output = shop.ok("fsck", "--base", "base").text
    assert "warning" in output
    assert "by the earlier one it is PASS as well" in output
    assert "margin 0.05 → 0.2" in broken(shop, "base", "--strict")


def test_a_policy_changed_before_is_nobodys_doubt(shop: Shop) -> None:
    weaken(shop, "gate: {margin: 0.2}")
    shop.git("branch", "-f", "base")
    shop.ok("promote", shop.candidate("support", "Be warm."), "--commit")
    assert "warning" not in shop.ok("fsck", "--base", "base", "--strict").out


def test_an_order_of_environments_dropped_in_the_same_change_is_told(tmp_path: Path) -> None:
    shop = a_shop(tmp_path / "shop", "support")
    both = "models:\n  tiny: {provider: embedded}\nenvironments: [staging, production]\n"
    shop.write("llmops.yaml", both)
    shop.commit("staging first")
    shop.git("branch", "base")
    shop.write("llmops.yaml", both.replace("staging, ", ""))
    shop.commit("production alone")
    shop.first()
    assert "at base, production comes after staging, and no event of that is cited" in broken(shop)


def test_a_base_before_the_registry_began_is_only_growth(tmp_path: Path) -> None:
    shop = a_shop(tmp_path / "shop", "support")
    shop.git("branch", "base")
    shop.first()
    shop.ok("fsck", "--base", "base")


def test_a_project_in_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    outer = a_shop(tmp_path / "outer", "intent")
    inner = Shop(outer.root / "services" / "chat")
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
