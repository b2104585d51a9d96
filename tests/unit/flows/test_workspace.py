"""An opened project: addresses, connections, secrets, and what is taken over."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.prompt import Model
from llmops_cli.flows.workspace import Contender, open_workspace
from tests.projects import Project
from tests.servers.faulty import Server
from tests.unit.flows.gate import CASES, gate, promoted


def contender(project: Project, selector: str) -> Contender:
    with open_workspace(project.root) as workspace:
        return workspace.contender("support", selector)


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
        workspace.contender("suport", "working")
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


def test_secrets_that_the_project_names_are_taken_out(project: Project) -> None:
    project.model = {"api_key_env": "ODD_NAME", "headers": {"X-Token": "env:OTHER_NAME"}}
    project.llmops_yaml()
    environ = {"ODD_NAME": "first-secret-value", "OTHER_NAME": "second-secret-value"}
    with open_workspace(project.root, environ=environ) as workspace:
        said = workspace.redact("first-secret-value and second-secret-value")
    assert "secret-value" not in said


def test_what_the_evidence_measured_is_known_by_case(running: Project) -> None:
    with open_workspace(running.root) as workspace:
        found = workspace.evidenced_cases("support", 1, "support")
        assert workspace.evidenced_cases("support", 1, "other") == {}
    assert list(found) == [f"c{at:03}" for at in range(CASES)]
    assert len({each.request for each in found.values()}) == CASES


def test_the_evidence_alone_holds_nothing_that_was_drawn_since(
    running: Project, server: Server
) -> None:
    running.prompt(system="Next.")
    gate(running, fresh=True)
    with open_workspace(running.root) as workspace:
        store = workspace.evidence_alone("support", 1)
        cases = workspace.evidenced_cases("support", 1, "support")
        kept = store.further([each.request for each in cases.values()], "baseline", beyond=0)
        since = workspace.results.further(kept, "baseline", beyond=0)
    assert {len(numbers) for numbers in kept.values()} == {3}
    assert {len(numbers) for numbers in since.values()} == {6}


def test_a_run_file_is_taken_over_once(project: Project, server: Server, tmp_path: Path) -> None:
    gate(project, out=tmp_path / "run.jsonl")
    (project.root / ".llmops/store/results.sqlite3").unlink()
    for _ in range(2):
        ran = gate(project, reuse=[tmp_path / "run.jsonl"])
        assert (ran.report.calls, ran.evalset.candidate.planned) == (0, CASES)


def test_a_file_that_is_no_run_is_refused_before_any_call(
    project: Project, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "run.jsonl").write_text("{}\n")
    with pytest.raises(Refused):
        gate(project, reuse=[tmp_path / "run.jsonl"])
    assert server.requests == 0


def test_outside_of_a_project_nothing_opens(tmp_path: Path) -> None:
    with pytest.raises(Refused), open_workspace(tmp_path):
        pass


def test_who_works_here_is_known_without_git(project: Project) -> None:
    with open_workspace(project.root, environ={"USER": "ada"}) as workspace:
        assert workspace.actor() == "ada"
    with open_workspace(project.root, environ={}) as workspace:
        assert workspace.actor() == "unknown"
