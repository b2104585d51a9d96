"""Commands never write over the project's files, and read only regular files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.git_project import GitProject, make_git_project


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    return make_git_project(tmp_path / "shop", "support")


def everything(repo: GitProject) -> dict[str, bytes]:
    files = (path for path in repo.root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(file): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    "onto",
    [
        "llmops.yaml",
        "prompts/support.prompt.yml",
        "evalsets/../evalsets/support.jsonl",
        "evalsets/new.yaml",
        ".llmops/log/production/support/000001.json",
        ".llmops/store/results.sqlite3",
    ],
)
@pytest.mark.parametrize("option", ["--out", "--junit", "--markdown", "--html", "--csv"])
def test_no_report_is_written_onto_the_project(repo: GitProject, onto: str, option: str) -> None:
    before = everything(repo)
    result = repo.run("eval", option, str(repo.root / onto))
    assert result.code == 2
    assert "belongs to the project" in result.text
    assert everything(repo) == before  # no store either: nothing was opened yet


def test_a_link_to_the_projects_file_is_that_file(repo: GitProject, tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").symlink_to(repo.root / "llmops.yaml")
    assert repo.run("eval", "--out", str(tmp_path / "run.jsonl")).code == 2
    os.link(repo.root / "llmops.yaml", tmp_path / "twin.jsonl")
    assert repo.run("eval", "--out", str(tmp_path / "twin.jsonl")).code == 2


def test_elsewhere_in_the_project_and_into_devices_is_written(repo: GitProject) -> None:
    repo.run("eval", "--out", str(repo.root / "run.jsonl.gz"), "--junit", "/dev/null")
    repo.run("report", "--html", str(repo.root / ".llmops/store/mine.html"))
    assert (repo.root / "run.jsonl.gz").exists()
    assert (repo.root / ".llmops/store/mine.html").exists()


@pytest.mark.parametrize("name", ["pipe.jsonl", "pipe.jsonl.gz", "pipe.json"])
def test_a_pipe_is_no_run_file(repo: GitProject, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    result = repo.start("report", str(tmp_path / name)).wait()
    assert result.code == 2
    assert "it is no file at all" in result.text


def test_a_device_without_an_end_is_no_run_file(repo: GitProject) -> None:
    for arguments in (["report", "/dev/zero"], ["eval", "--reuse", "/dev/zero"]):
        result = repo.run(*arguments)
        assert result.code == 2
        assert "it is no file at all" in result.text


def test_what_no_file_can_be_called_is_refused_before_any_call(repo: GitProject) -> None:
    result = repo.run("eval", "--out", "x" * 300)
    assert result.code == 2, result.text
    assert "cannot write to x" in result.text
    loop = repo.root / "loop.jsonl"
    loop.symlink_to(loop.name)
    assert repo.run("eval", "--out", str(loop)).code in {0, 2}  # Python 3.13 puts a file there
