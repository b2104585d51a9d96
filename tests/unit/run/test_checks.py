"""Code runs only where it is trusted, and in CI never for strangers: before any call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Decision
from tests.projects import Project
from tests.servers.faulty import Server
from tests.unit.gated_project import gate

SCORER = """\
from pathlib import Path

def mine(text, case):
    Path(__file__).with_name("ran").touch()
    return 1.0
"""
SECRET = {"OPENAI_API_KEY": "sk-a-secret-of-the-base-repository"}


@pytest.fixture
def coded(project: Project) -> Project:
    """A project with a scorer of its own, which nobody trusts yet."""
    project.write("checks/mine.py", SCORER)
    project.evalset(scorers=[{"python": "checks/mine.py:mine"}])
    return project


def trusting(project: Project) -> Project:
    project.settings["trust"] = ["checks/*.py"]
    project.llmops_yaml()
    return project


def github(tmp_path: Path, event: str, head: str | None) -> dict[str, str]:
    """What GitHub tells a job that runs for a change from the repository `head`."""
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"pull_request": {"head": {"repo": {"full_name": head}}}}))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": event,
        "GITHUB_REPOSITORY": "us/ours",
        "GITHUB_EVENT_PATH": str(file),
    }


def result(project: Project) -> bool:
    return (project.root / "checks/ran").exists()


def test_code_that_is_not_trusted_is_refused_before_any_call(
    coded: Project, server: Server
) -> None:
    with pytest.raises(Refused, match=r"the scorer 'python' may not run: checks/mine.py"):
        gate(coded)
    assert (server.requests, result(coded)) == (0, False)


def test_trusted_code_runs(coded: Project) -> None:
    assert gate(trusting(coded)).decision is Decision.INCONCLUSIVE
    assert result(coded)


def test_a_dry_run_refuses_as_well(coded: Project) -> None:
    with pytest.raises(Refused, match="may not run"):
        gate(coded, dry_run=True)


@pytest.mark.parametrize("head", ["stranger/ours", None])
def test_a_strangers_change_runs_no_code_where_there_are_secrets(
    coded: Project, server: Server, tmp_path: Path, head: str | None
) -> None:
    environ = {**github(tmp_path, "pull_request", head), **SECRET}
    with pytest.raises(Refused, match="may not run"):
        gate(trusting(coded), environ=environ)
    assert (server.requests, result(coded)) == (0, False)


def test_without_a_readable_event_a_change_is_a_strangers(coded: Project, tmp_path: Path) -> None:
    environ = {**github(tmp_path, "pull_request", "us/ours"), **SECRET}
    (tmp_path / "event.json").write_text("{ torn")
    with pytest.raises(Refused, match="a repository that is not known"):
        gate(trusting(coded), environ=environ)


def test_a_strangers_change_without_secrets_runs_what_is_trusted(
    coded: Project, tmp_path: Path
) -> None:
    environ = github(tmp_path, "pull_request", "stranger/ours")
    assert gate(trusting(coded), environ=environ).decision is Decision.INCONCLUSIVE


def test_our_own_change_runs_trusted_code_beside_secrets(coded: Project, tmp_path: Path) -> None:
    environ = {**github(tmp_path, "pull_request", "us/ours"), **SECRET}
    assert gate(trusting(coded), environ=environ).decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run", "issue_comment"])
def test_an_event_that_hands_out_secrets_runs_nothing_at_all(
    project: Project, server: Server, tmp_path: Path, event: str
) -> None:
    with pytest.raises(Refused, match=event):
        gate(project, environ=github(tmp_path, event, "us/ours"))
    assert server.requests == 0


def test_recorded_answers_may_be_judged_anywhere_without_code(
    project: Project, tmp_path: Path
) -> None:
    project.model = {"provider": "embedded"}
    project.write("llmops.yaml", json.dumps({"models": {"tiny": {"provider": "embedded"}}}))
    environ = github(tmp_path, "pull_request_target", "stranger/ours")
    assert gate(project, environ=environ).decision is Decision.INCONCLUSIVE
