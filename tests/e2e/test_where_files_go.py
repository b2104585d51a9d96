"""What a command writes never lands on the project, and what it reads is a file with an end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.shop import Shop, a_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return a_shop(tmp_path / "shop", "support")


def everything(shop: Shop) -> dict[str, bytes]:
    files = (path for path in shop.root.rglob("*") if path.is_file() and ".git" not in path.parts)
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
def test_no_report_is_written_onto_the_project(shop: Shop, onto: str, option: str) -> None:
    before = everything(shop)
    ran = shop.run("eval", option, str(shop.root / onto))
    assert ran.code == 2
    assert "belongs to the project" in ran.text
    assert everything(shop) == before  # no store either: nothing was opened yet


def test_a_link_to_the_projects_file_is_that_file(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").symlink_to(shop.root / "llmops.yaml")
    assert shop.run("eval", "--out", str(tmp_path / "run.jsonl")).code == 2
    os.link(shop.root / "llmops.yaml", tmp_path / "twin.jsonl")
    assert shop.run("eval", "--out", str(tmp_path / "twin.jsonl")).code == 2


def test_elsewhere_in_the_project_and_into_devices_is_written(shop: Shop) -> None:
    shop.run("eval", "--out", str(shop.root / "run.jsonl.gz"), "--junit", "/dev/null")
    shop.run("report", "--html", str(shop.root / ".llmops/store/mine.html"))
    assert (shop.root / "run.jsonl.gz").exists()
    assert (shop.root / ".llmops/store/mine.html").exists()


@pytest.mark.parametrize("name", ["pipe.jsonl", "pipe.jsonl.gz", "pipe.json"])
def test_a_pipe_is_no_run_file(shop: Shop, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    ran = shop.start("report", str(tmp_path / name)).ended()
    assert ran.code == 2
    assert "it is no file at all" in ran.text


def test_a_device_without_an_end_is_no_run_file(shop: Shop) -> None:
    for arguments in (["report", "/dev/zero"], ["eval", "--reuse", "/dev/zero"]):
        ran = shop.run(*arguments)
        assert ran.code == 2
        assert "it is no file at all" in ran.text


def test_what_no_file_can_be_called_is_refused_before_any_call(shop: Shop) -> None:
    ran = shop.run("eval", "--out", "x" * 300)
    assert ran.code == 2, ran.text
    assert "nothing can be written to x" in ran.text
    loop = shop.root / "loop.jsonl"
    loop.symlink_to(loop.name)
    assert shop.run("eval", "--out", str(loop)).code in {0, 2}  # Python 3.13 puts a file there
