"""Commands never write over the project's files, and read only regular files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.git_project import GitProject


def everything(shop: GitProject) -> dict[str, bytes]:
    files = (path for path in shop.root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(file): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("option", "onto"),
    [
        *((option, "llmops.yaml") for option in ("--junit", "--markdown", "--html", "--csv")),
        ("--out", "llmops.yaml"),
        ("--out", "prompts/support.prompt.yml"),
        ("--out", "evalsets/../evalsets/support.jsonl"),
        ("--out", "evalsets/new.yaml"),
        ("--out", ".llmops/log/production/support/000001.json"),
        ("--out", ".llmops/store/results.sqlite3"),
    ],
)
def test_no_report_is_written_onto_the_project(shop: GitProject, option: str, onto: str) -> None:
    before = everything(shop)
    result = shop.run("eval", option, str(shop.root / onto))
    assert result.code == 2
    assert "belongs to the project" in result.text
    assert everything(shop) == before


def test_a_link_to_the_projects_file_is_that_file(shop: GitProject, tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").symlink_to(shop.root / "llmops.yaml")
    assert shop.run("eval", "--out", str(tmp_path / "run.jsonl")).code == 2
    os.link(shop.root / "llmops.yaml", tmp_path / "twin.jsonl")
    assert shop.run("eval", "--out", str(tmp_path / "twin.jsonl")).code == 2


def test_elsewhere_in_the_project_and_into_devices_is_written(shop: GitProject) -> None:
    shop.run("eval", "--out", str(shop.root / "run.jsonl.gz"), "--junit", "/dev/null")
    shop.run("report", "--html", str(shop.root / ".llmops/store/mine.html"))
    assert (shop.root / "run.jsonl.gz").exists()
    assert (shop.root / ".llmops/store/mine.html").exists()


@pytest.mark.parametrize("name", ["pipe.jsonl", "pipe.jsonl.gz", "pipe.json"])
def test_a_pipe_is_no_run_file(shop: GitProject, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    result = shop.start("report", str(tmp_path / name)).wait()
    assert result.code == 2
    assert "it is no file at all" in result.text


def test_a_device_without_an_end_is_no_run_file(shop: GitProject) -> None:
    for arguments in (["report", "/dev/zero"], ["eval", "--reuse", "/dev/zero"]):
        result = shop.run(*arguments)
        assert result.code == 2
        assert "it is no file at all" in result.text


def test_what_no_file_can_be_called_is_refused_before_any_call(shop: GitProject) -> None:
    result = shop.run("eval", "--out", "x" * 300)
    assert result.code == 2, result.text
    assert "cannot write to x" in result.text
    loop = shop.root / "loop.jsonl"
    loop.symlink_to(loop.name)
    assert shop.run("eval", "--out", str(loop)).code in {0, 2}  # Python 3.13 puts a file there
