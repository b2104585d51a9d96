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


def test_a_link_that_leaves_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    root = tmp_path / "project"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    for path in ("link", "folder/secret"):
        with pytest.raises(Unreadable, match="leaves the project"):
            Folder(root).read(path, limit=100)


def test_a_link_that_leads_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(Unreadable, match="leads in a circle"):
        Folder(tmp_path).read("link", limit=100)


def test_a_link_within_the_project_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Folder(tmp_path).read("link", limit=100) == b"x"


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="is not a file"):
        Folder(tmp_path).read("pipe", limit=100)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unreadable, match="'folder' is not a file"):
        Folder(tmp_path).read("folder", limit=100)
    with pytest.raises(Unreadable, match="there is no file 'nothing'"):
        Folder(tmp_path).read("nothing", limit=100)


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 101)
    with pytest.raises(Unreadable, match="larger than"):
        Folder(tmp_path).read("large", limit=100)


def test_files_are_listed_in_order_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("prompts/b.txt", "prompts/a/c.txt", "prompts/.hidden", "prompts/.git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert Folder(tmp_path).files("prompts") == ("prompts/a/c.txt", "prompts/b.txt")
    assert Folder(tmp_path).files("evalsets") == ()
