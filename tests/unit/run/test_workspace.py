"""An opened project: its secrets, and who works in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project


def test_secrets_that_the_project_names_are_taken_out(project: Project) -> None:
    project.model = {"api_key_env": "ODD_NAME", "headers": {"X-Token": "env:OTHER_NAME"}}
    project.llmops_yaml()
    environ = {"ODD_NAME": "first-secret-value", "OTHER_NAME": "second-secret-value"}
    with open_workspace(project.root, environ=environ) as workspace:
        said = workspace.redact("first-secret-value and second-secret-value")
    assert "secret-value" not in said


def test_outside_of_a_project_nothing_opens(tmp_path: Path) -> None:
    with pytest.raises(Refused), open_workspace(tmp_path):
        pass


def test_who_works_here_is_known_without_git(project: Project) -> None:
    with open_workspace(project.root, environ={"USER": "ada"}) as workspace:
        assert workspace.actor() == "ada"
    with open_workspace(project.root, environ={}) as workspace:
        assert workspace.actor() == "unknown"
