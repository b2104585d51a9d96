"""Names, addresses, and how the model behind a version is reached today."""

from __future__ import annotations

import pytest

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.prompt import Model
from llmops_cli.run.selection import ResolvedTarget, resolve_target
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project
from tests.unit.gated_project import promoted


def contender(project: Project, selector: str) -> ResolvedTarget:
    with open_workspace(project.root) as workspace:
        return resolve_target(workspace, "support", selector)


@pytest.mark.parametrize(
    ("selector", "name", "version"),
    [
        ("working", "support@working", None),
        ("v1", "support@v1", 1),
        ("production", "support@v2", 2),
        ("production~1", "support@v1", 1),
        ("latest", "support@v2", 2),
    ],
)
def test_addresses(running: Project, selector: str, name: str, version: int | None) -> None:
    running.prompt(system="Next.")
    promoted(running)
    found = contender(running, selector)
    assert (found.name, found.version) == (name, version)


@pytest.mark.parametrize("selector", ["v9", "staging", "production~7"])
def test_an_address_that_leads_nowhere_is_refused(running: Project, selector: str) -> None:
    with pytest.raises(Refused):
        contender(running, selector)


def test_a_prompt_that_is_not_there_is_refused_with_the_nearest(running: Project) -> None:
    with open_workspace(running.root) as workspace, pytest.raises(UnknownName) as refused:
        resolve_target(workspace, "suport", "working")
    assert refused.value.hint == "did you mean 'support'?"


def test_a_version_is_reached_by_todays_connection(running: Project) -> None:
    running.url = "http://127.0.0.1:7/v1"
    running.model = {"timeout": 7}
    running.llmops_yaml("renamed")
    running.prompt(model="renamed")
    model = contender(running, "v1").target.model
    assert (model.name, model.base_url) == ("renamed", "http://127.0.0.1:7/v1")
    assert model.limits.timeout == 7


def test_an_alias_that_means_another_model_now_does_not_reach_the_old_one(
    running: Project,
) -> None:
    running.model = {"model": "other"}
    running.llmops_yaml()
    model: Model = contender(running, "v1").target.model
    assert (model.name, model.model) == ("openai/tiny", "tiny")
    assert model.base_url != running.url
