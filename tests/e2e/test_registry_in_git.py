"""The registry under real git and real processes: clones, merges, races, kill -9."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.stores.evidence import read_rows, read_texts
from llmops_cli.stores.registry import Registry
from tests.unit.releases import event, measured, released, rows
from tests.unit.stores.test_git import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """v1 of two prompts runs in production, all of it committed."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name in ("support", "intent"):
        version = released(folder, name=name)
        measured(folder, version, None, found=rows("Answer.", None))
        Registry(folder).append(event(version))
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "work")


def whole(folder: Path) -> bool:
    """Reads everything there is; raises where anything was touched."""
    registry = Registry(folder)
    for name in registry.names():
        registry.history("production", name)
        for version in registry.versions(name):
            for evidence in registry.evidence(name, version.number):
                assert list(read_rows(evidence))
                read_texts(evidence)
    return True


def promoted_on_a_branch(folder: Path, branch: str, name: str, text: str) -> None:
    git(folder, "checkout", "-q", "-b", branch, "main")
    registry = Registry(folder)
    version = released(folder, text, name=name)
    registry.append(event(version, after=registry.pointer("production", name)))
    commit(folder)


def merges(folder: Path, *branches: str) -> bool:
    git(folder, "checkout", "-q", "main")
    for branch in branches:
        done = subprocess.run(
            ["git", "-C", str(folder), "merge", "-q", branch], capture_output=True, check=False
        )
        if done.returncode:
            return False
    return True


def test_promotions_of_different_prompts_merge(repository: Path) -> None:
    promoted_on_a_branch(repository, "one", "support", "Answer well.")
    promoted_on_a_branch(repository, "two", "intent", "Answer well.")
    assert merges(repository, "one", "two")
    assert whole(repository)
    registry = Registry(repository)
    assert [registry.resolve(name, "production") for name in ("support", "intent")] == [2, 2]


def test_two_promotions_of_one_prompt_conflict(repository: Path) -> None:
    promoted_on_a_branch(repository, "one", "support", "Answer well.")
    promoted_on_a_branch(repository, "two", "support", "Answer better.")
    assert not merges(repository, "one", "two")
    conflicts = git(repository, "diff", "--name-only", "--diff-filter=U").splitlines()
    assert ".llmops/log/production/support/000002.json" in conflicts
    assert ".llmops/versions/support@v2/version.json" in conflicts


def test_a_conflict_committed_with_its_markers_is_broken(repository: Path) -> None:
    promoted_on_a_branch(repository, "one", "support", "Answer well.")
    promoted_on_a_branch(repository, "two", "support", "Answer better.")
    merges(repository, "one", "two")
    commit(repository)
    with pytest.raises(IntegrityBroken, match=r"000002\.json"):
        Registry(repository).pointer("production", "support")


def test_what_tools_leave_behind_is_not_committed(repository: Path) -> None:
    (repository / ".llmops" / "store").mkdir()
    (repository / ".llmops" / "store" / "results.sqlite3").touch()
    (repository / ".llmops" / "versions" / ".new-abc").mkdir()
    (repository / ".llmops" / "versions" / ".new-abc" / "version.json").touch()
    assert git(repository, "status", "--porcelain") == ""
    assert Registry(repository).names() == ("intent", "support")


SCRIPT = """
    import sys
    from pathlib import Path
    from llmops_cli.core.errors import Refused
    from llmops_cli.stores.registry import Registry
    from tests.unit.releases import event, measured, released, rows
    root, who = Path(sys.argv[1]), sys.argv[2]
    registry = Registry(root)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT) + textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_of_promoters_at_once_each_event_has_one_writer(repository: Path) -> None:
    script = """
        version = registry.version("support", 1)
        for attempt in range(20):
            last = registry.pointer("production", "support")
            try:
                registry.append(event(version, after=last, changes={"reason": f"{who} {attempt}"}))
            except Refused:
                continue
            print(f"{who} {attempt}")
    """
    processes = [start(script, str(repository), str(who)) for who in range(3)]
    lines = [line for process in processes for line in process.communicate()[0].splitlines()]
    history = Registry(repository).history("production", "support")
    assert sorted(lines) == sorted(str(item.reason) for item in history[1:])
    assert len(lines) >= 20


def test_of_releasers_at_once_each_number_is_one_version(tmp_path: Path) -> None:
    script = """
        for attempt in range(10):
            try:
                print(released(root, f"{who} says {attempt}").number)
            except Refused:
                continue
    """
    processes = [start(script, str(tmp_path), str(who)) for who in range(3)]
    lines = [int(line) for process in processes for line in process.communicate()[0].split()]
    assert sorted(lines) == list(range(1, len(lines) + 1))
    assert len(Registry(tmp_path).versions("support")) == len(lines)


@pytest.mark.slow
def test_a_process_killed_at_any_moment_leaves_only_whole_things(tmp_path: Path) -> None:
    script = """
        print("ready", flush=True)
        for attempt in range(10**6):
            version = released(root, f"{who} says {attempt}")
            measured(root, version, None, found=rows("Answer.", None, cases=20))
            last = registry.pointer("production", "support")
            registry.append(event(version, after=last))
    """
    for round_ in range(6):
        process = start(script, str(tmp_path), str(round_))
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + 0.037 * round_)
        process.kill()
        process.communicate()
        assert whole(tmp_path)
        registry = Registry(tmp_path)
        numbers = [version.number for version in registry.versions("support")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) - len(registry.history("production", "support")) <= round_ + 1
