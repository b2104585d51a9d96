"""What `gc` deletes, and what still verifies afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.stores.evidence import has_rows
from tests.git_project import GitProject


@pytest.fixture(scope="module")
def original(promoted: GitProject, tmp_path_factory: pytest.TempPathFactory) -> GitProject:
    """v1 to v4 of `support` ran one after the other."""
    repo = promoted.copy(tmp_path_factory.mktemp("original") / "shop")
    for how in ("kindly", "briefly", "warmly"):
        repo.ok("promote", repo.candidate("support", f"Answer {how}."))
    repo.commit("promoted")
    return repo


@pytest.fixture
def repo(original: GitProject, tmp_path: Path) -> GitProject:
    return original.copy(tmp_path / "shop")


def with_rows(repo: GitProject) -> list[int]:
    """The versions whose rows are here."""
    registry = repo.registry
    return [
        number
        for number in registry.numbers("support")
        if any(has_rows(row) for row in registry.evidence("support", number))
    ]


def test_only_what_runs_and_what_ran_before_it_keep_their_rows(repo: GitProject) -> None:
    assert with_rows(repo) == [1, 2, 3, 4]
    result = repo.ok("gc")
    assert with_rows(repo) == [3, 4]
    assert "4 files" in result.out
    assert {path.suffix for path in (repo.root / ".llmops/evidence/support@v1").iterdir()} == {
        ".json",
        ".md",
    }


def test_everything_passes_after_gc(repo: GitProject) -> None:
    repo.ok("gc", "--commit")
    assert "BROKEN" not in repo.ok("verify", "--strict").out
    repo.ok("fsck", "--base", "HEAD^")
    assert repo.ok("gc").out.splitlines()[-1] == "0 files, 0.00 MB deleted"
    repo.ok("promote", repo.candidate("support", "Answer quickly."))
    repo.ok("rollback", "support@production", "-m", "slow")
    repo.ok("verify")


def test_a_dry_run_deletes_nothing(repo: GitProject) -> None:
    result = repo.ok("gc", "--dry-run", "--json")
    assert len(result.document) == 4
    assert all(item["bytes"] > 0 for item in result.document)
    assert with_rows(repo) == [1, 2, 3, 4]


def test_a_candidate_that_waits_keeps_its_rows(repo: GitProject) -> None:
    address = repo.candidate("support", "Answer quickly.")
    repo.ok("gc")
    assert with_rows(repo) == [3, 4, 5]
    repo.ok("promote", address)


def test_an_anchor_keeps_its_rows(repo: GitProject) -> None:
    repo.evalset("support", gate={"rules": ["no_worse", {"anchor": "v1"}]})
    repo.ok("gc")
    assert with_rows(repo) == [1, 3, 4]


def test_a_version_rolled_back_to_keeps_the_rows_of_its_promotion(repo: GitProject) -> None:
    repo.ok("rollback", "support@production", "--to", "v2", "-m", "warm is not enough")
    repo.ok("gc")
    assert with_rows(repo) == [2, 3, 4]  # 4 ran before; 3 waits: it is newer than what runs
    assert "recomputed" in repo.ok("verify").out


def test_nothing_is_deleted_from_a_broken_registry(repo: GitProject) -> None:
    (repo.root / ".llmops/log/production/support/000002.json").unlink()
    result = repo.run("gc")
    assert (result.code, with_rows(repo)) == (2, [1, 2, 3, 4])
