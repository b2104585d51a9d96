"""A server whose answers a test can change, a project on it, and one that production runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, make_project
from tests.servers.faulty import FaultServer, Server
from tests.unit.gated_project import CASES, MARGIN, promoted


@pytest.fixture
def server() -> Iterator[Server]:
    with FaultServer() as running:
        yield running


def _project(root: Path, url: str) -> Project:
    project = make_project(root, url, cases=CASES, retries=0)
    project.settings = {"gate": {"margin": MARGIN}}
    project.llmops_yaml()
    return project


@pytest.fixture
def project(tmp_path: Path, server: Server) -> Project:
    """A project that nobody has run yet."""
    return _project(tmp_path / "project", server.url)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "project"
    with FaultServer() as first:
        promoted(_project(root, first.url))
    return root


@pytest.fixture
def running(_template: Path, tmp_path: Path, server: Server) -> Project:
    """A project whose first version production runs; `server` has seen no request yet."""
    root = tmp_path / "running"
    shutil.copytree(_template, root)
    return _project(root, server.url)
