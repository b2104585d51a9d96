from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.workers.project_code import LARGEST, project_file


@pytest.fixture
def context(tmp_path: Path) -> PluginContext:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return PluginContext(root=root, environ={})


def test_a_file_inside_the_project_is_found(context: PluginContext) -> None:
    (context.root / "a.json").write_text("{}")
    assert project_file(context, "a.json") == (context.root / "a.json").resolve()


@pytest.mark.parametrize("path", ["../secret.txt", "x/../../secret.txt", "/etc/passwd", "link"])
def test_a_path_that_leaves_the_project_is_refused(path: str, context: PluginContext) -> None:
    (context.root / "link").symlink_to("../secret.txt")
    with pytest.raises(Refused, match="outside the project"):
        project_file(context, path)


@pytest.mark.parametrize("path", ["absent", "."])
def test_what_is_no_file_is_refused(path: str, context: PluginContext) -> None:
    with pytest.raises(Refused, match="not a file of the project"):
        project_file(context, path)


def test_a_file_too_large_is_refused(context: PluginContext) -> None:
    with (context.root / "large").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(Refused, match="larger than"):
        project_file(context, "large")
