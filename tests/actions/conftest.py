"""A hub whose production runs two prompts, made once and copied for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actions.hub import Hub, programs
from tests.git_project import git, make_git_project
from tests.servers.github import CommentServer


@pytest.fixture(scope="session")
def _bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    repo = make_git_project(folder / "seed", "intent", "support")
    repo.first()
    git(folder, "clone", "-q", "--bare", str(repo.root), "bare.git")
    git(folder / "bare.git", "config", "uploadpack.allowAnySHA1InWant", "true")
    return folder / "bare.git"


@pytest.fixture
def comments() -> Iterator[CommentServer]:
    with CommentServer() as server:
        yield server


@pytest.fixture
def hub(_bare: Path, tmp_path: Path, comments: CommentServer) -> Hub:
    shutil.copytree(_bare, tmp_path / "bare.git")
    folder = tmp_path / "machines"
    folder.mkdir()
    path = f"{programs(tmp_path / 'programs')}{os.pathsep}{os.environ['PATH']}"
    return Hub(bare=tmp_path / "bare.git", folder=folder, api=comments.url, env={"PATH": path})
