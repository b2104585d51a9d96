"""Promoters at once, kill -9 and a full disk: an event is whole or absent, in every clone."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.git_project import GitProject, checkout, git, make_git_project

pytestmark = pytest.mark.slow

NAMES = tuple(f"prompt{at}" for at in range(8))


def shared(tmp_path: Path, *names: str) -> Path:
    """A bare repository: v1 of each prompt runs, v2 of each is released and measured."""
    seed = make_git_project(tmp_path / "seed", *names)
    seed.first()
    for name in names:
        seed.candidate(name)
    seed.commit("measured")
    git(tmp_path, "clone", "-q", "--bare", str(seed.root), "shared.git")
    return tmp_path / "shared.git"


def checkouts(bare: Path, count: int) -> list[GitProject]:
    return [checkout(bare, f"clone{at}") for at in range(count)]


def test_8_promoters_of_different_prompts_all_succeed(tmp_path: Path) -> None:
    bare = shared(tmp_path, *NAMES)
    shops = checkouts(bare, len(NAMES))
    running = [
        repo.start("promote", f"{name}@v2", "--push")
        for repo, name in zip(shops, NAMES, strict=True)
    ]
    ran = [item.wait() for item in running]
    assert [result.code for result in ran] == [0] * 8, [result.text for result in ran]
    late = checkout(bare, "late")
    assert {late.runs(name) for name in NAMES} == {2}
    assert "verified" in late.ok("verify").out
    assert git(bare, "rev-list", "--count", "--merges", "main") == "0"


def test_of_8_promoters_of_one_prompt_exactly_one_wins_and_the_others_report_it(
    tmp_path: Path,
) -> None:
    seed = make_git_project(tmp_path / "seed", "support")
    seed.first()
    for at in range(8):
        seed.candidate("support", f"Answer in way {at}.")
    seed.commit("measured")
    git(tmp_path, "clone", "-q", "--bare", str(seed.root), "shared.git")
    bare = tmp_path / "shared.git"
    shops = checkouts(bare, 8)
    running = [
        repo.start("promote", f"support@v{at + 2}", "-m", f"way {at}", "--push")
        for at, repo in enumerate(shops)
    ]
    ran = [item.wait() for item in running]
    assert sorted(result.code for result in ran) == [0, 2, 2, 2, 2, 2, 2, 2]
    assert sum("moved in production meanwhile" in result.err for result in ran) == 7
    winner = next(at for at, result in enumerate(ran) if result.code == 0)
    late = checkout(bare, "late")
    history = late.registry.history("production", "support")
    assert [(event.seq, event.reason) for event in history] == [
        (1, "the first"),
        (2, f"way {winner}"),
    ]
    assert {repo.runs("support") for repo in shops} == {winner + 2}


def test_kill_9_at_any_moment_leaves_a_promotion_whole_or_not_there(tmp_path: Path) -> None:
    bare = shared(tmp_path, "support")
    chance = random.Random(7)
    outcomes = set()
    for round_ in range(8):
        repo = checkout(bare, f"killed{round_}")
        mine = tmp_path / f"own{round_}.git"
        shutil.copytree(bare, mine)
        repo.git("remote", "set-url", "origin", f"file://{mine}")
        process = repo.start("promote", "support@v2", "--push")
        time.sleep(0.15 + 0.18 * round_ + chance.uniform(0, 0.1))
        process.send(signal.SIGKILL)
        process.wait()
        wait_for_git(repo)
        for where in (repo, checkout(mine, f"after{round_}")):
            assert len(where.registry.history("production", "support")) in {1, 2}
            where.ok("verify")
        git(mine, "fsck", "--strict")
        (repo.root / ".git" / "index.lock").unlink(missing_ok=True)
        repo.ok("promote", "support@v2", "--push")
        whole = checkout(mine, f"whole{round_}")
        assert (whole.runs("support"), whole.git("status", "--porcelain")) == (2, "")
        outcomes.add(len(whole.registry.history("production", "support")))
    assert outcomes == {2}


def wait_for_git(repo: GitProject) -> None:
    """A git that the killed process had started may be at work still."""
    lock = repo.root / ".git" / "index.lock"
    for _ in range(20):
        if not lock.exists():
            break
        time.sleep(0.05)
    time.sleep(0.2)


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_a_full_disk_leaves_no_event_and_says_3(shop: GitProject, command: str) -> None:
    repo, address = shop, shop.candidate("support")
    if command == "rollback":
        repo.ok("promote", address)
    before = repo.registry.history("production", "support")

    def nothing_can_be_written() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    arguments = {
        "promote": ["promote", address],
        "rollback": ["rollback", "support@production", "-m", "panic"],
    }[command]
    ran = repo.start(*arguments, before=nothing_can_be_written).wait()
    assert ran.code == 3, ran.text
    assert repo.registry.history("production", "support") == before
    left = [path.name for path in repo.registry.folder.rglob(".new-*")]
    assert left == []
    repo.ok(*arguments)


def test_a_disk_that_fills_while_git_commits_leaves_no_event(
    shop: GitProject, tmp_path: Path
) -> None:
    """The event fits, git's objects do not."""
    repo, address = shop, shop.candidate("support")
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = shutil.which("git")
    wrapper.write_text(f'#!/bin/sh\ncase "$1" in add) ulimit -f 0;; esac\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}:{os.environ['PATH']}"
    ran = repo.start("promote", address, "--commit", env={"PATH": path}).wait()
    assert (ran.code, repo.runs("support")) == (3, 1), ran.text
    ran = repo.run("promote", address, "--commit")  # git was killed, and left its lock
    assert (ran.code, "index.lock" in ran.err, repo.runs("support")) == (3, True, 1)
    assert "if no git is running, delete that file" in ran.text
    (repo.root / ".git" / "index.lock").unlink()
    repo.ok("promote", address, "--commit")
