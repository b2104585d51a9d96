"""A project's files are read from the project, and from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmops_cli.project.paths import Folder, Unreadable, within


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a/..", "~/x", "C:/x", "a\\b", "..\\x", "", "a\0b"],
)
def test_a_path_that_could_leave_the_project_is_refused(path: str) -> None:
    with pytest.raises(Unreadable):
        within(path)


def test_a_path_is_relative_to_the_file_that_names_it() -> None:
    assert within("./cases/a.jsonl", folder="evalsets/team") == "evalsets/team/cases/a.jsonl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one file, and everything that is not to be read as one."""
    (tmp_path / "secret").write_text("x")
    root = tmp_path / "project"
    (root / "folder").mkdir(parents=True)
    (root / "real").write_bytes(b"x" * 100)
    (root / "large").write_bytes(b"x" * 101)
    os.mkfifo(root / "pipe")
    links: dict[str, str | Path]
    links = {"in": root / "real", "out": tmp_path / "secret", "outside": tmp_path, "loop": "loop"}
    for name, target in links.items():
        (root / name).symlink_to(target)
    return root


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("out", "'out' is a link that leaves the project"),
        ("outside/secret", "'outside/secret' is a link that leaves the project"),
        ("loop", "'loop' is a link that leads in a circle"),
        ("pipe", "'pipe' is not a file"),  # without waiting for a writer
        ("folder", "'folder' is not a file"),
        ("nothing", "there is no file 'nothing'"),
        ("large", "'large' is larger than 100 bytes"),
    ],
)
def test_what_is_no_file_of_the_project_is_refused(root: Path, path: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        Folder(root).read(path, limit=100)


def test_a_file_and_a_link_to_it_within_the_project_are_read(root: Path) -> None:
    assert Folder(root).read("in", limit=100) == Folder(root).read("real", limit=100) == b"x" * 100


def test_files_are_listed_in_order_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("prompts/b.txt", "prompts/a/c.txt", "prompts/.hidden", "prompts/.git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert Folder(tmp_path).files("prompts") == ("prompts/a/c.txt", "prompts/b.txt")
    assert Folder(tmp_path).files("evalsets") == ()
