"""Servers and repositories that many tests start from; what takes long is made once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.judging import CASES, TONE, Judge, add_judge
from tests.git_project import GitProject, git, make_git_project
from tests.projects import Project, make_project
from tests.servers.faulty import FaultServer, Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A model server that answers with the last user turn."""
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> GitProject:
    """v1 of `support` runs in production; the original, to be copied."""
    repo = make_git_project(tmp_path_factory.mktemp("promoted") / "shop", "support")
    repo.first()
    return repo


@pytest.fixture
def shop(promoted: GitProject, tmp_path: Path) -> GitProject:
    """A repository in which production runs v1 of `support`."""
    return promoted.copy(tmp_path / "shop")


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    repo = make_git_project(folder / "seed", "support", "intent")
    repo.first()
    git(folder, "clone", "-q", "--bare", str(repo.root), "shared.git")
    return folder / "shared.git"


@pytest.fixture
def bare(_shared: Path, tmp_path: Path) -> Path:
    """A shared repository in which production runs v1 of `support` and `intent`."""
    return Path(shutil.copytree(_shared, tmp_path / "shared.git"))


@pytest.fixture
def judge() -> Judge:
    """The application and its judge; `verdict` can be changed."""
    return Judge()


@pytest.fixture
def judged(tmp_path: Path, judge: Judge) -> Iterator[Project]:
    """A project whose evalset is judged by a model of the same server."""
    with FaultServer(reply=judge) as running:
        project = make_project(tmp_path / "project", running.url, cases=CASES)
        add_judge(project, running.url)
        project.prompt(system="Please")
        project.evalset(scorers=[TONE])
        yield project
