"""`fsck` without a base: the registry checked against itself, as a pre-commit hook does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.git_project import GitProject, make_git_project


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    repo = make_git_project(tmp_path / "shop", "support")
    repo.first()
    return repo


def test_an_intact_registry_is_reported_with_and_without_git(repo: GitProject) -> None:
    summary = "in all: 1 version, 1 evidence file, 1 event the registry is intact"
    assert repo.ok("fsck").text == summary
    shutil.rmtree(repo.root / ".git")
    assert repo.ok("fsck").text == summary


def test_a_project_without_a_registry_has_an_intact_one(tmp_path: Path) -> None:
    assert "the registry is intact" in make_git_project(tmp_path / "shop", "support").ok("fsck").out


@pytest.mark.parametrize(
    "path",
    [
        "log/production/support/000001.json",
        "versions/support@v1/version.json",
        "versions/support@v1/files/support.prompt.yml",
        "evidence/support@v1/*.cases.jsonl",
    ],
)
def test_a_byte_that_was_edited_is_found(repo: GitProject, path: str) -> None:
    (file,) = (repo.root / ".llmops").glob(path)
    before, edited, after = file.read_bytes().rpartition(b"e")
    file.write_bytes(before + edited.upper() + after)
    result = repo.run("fsck")
    assert result.code == 2
    assert "the registry is NOT intact" in result.out
    assert "BROKEN" in result.out
