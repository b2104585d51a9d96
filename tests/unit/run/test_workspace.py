"""An opened project, its rules at the base revision, and earlier results that are reused."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Decision
from llmops_cli.project.paths import Unreadable
from llmops_cli.run.reuse import evidence_store, measured_cases
from llmops_cli.run.workspace import (
    actor,
    at_revision,
    open_workspace,
)
from llmops_cli.stores.git import open_git
from tests.projects import Project
from tests.servers.faulty import Server
from tests.unit.gated_project import CASES, gate, questions, set_gate, wrong_on
from tests.unit.stores.test_git import git


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
    assert actor(project.root, {"USER": "ada"}) == "ada"
    assert actor(project.root, {}) == "unknown"


def committed(project: Project, *, add: str = "-A") -> Project:
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "add", add)
    git(project.root, "commit", "-qm", "base", "--allow-empty")
    return project


@pytest.fixture
def based(running: Project) -> Project:
    """Production runs v1, all of it committed."""
    return committed(running)


def test_files_are_read_as_they_were(based: Project) -> None:
    before = based.read("llmops.yaml")
    based.write("llmops.yaml", "changed: true")
    source = at_revision(based.root, "HEAD")
    assert source.read("llmops.yaml", limit=10_000).decode() == before
    assert "support.yaml" in " ".join(source.files("evalsets"))


def test_a_file_that_was_not_there_or_is_too_large_cannot_be_read(based: Project) -> None:
    source = at_revision(based.root, "HEAD")
    with pytest.raises(Unreadable, match="at HEAD"):
        source.read("later.txt", limit=10)
    with pytest.raises(Unreadable, match="larger than"):
        source.read("llmops.yaml", limit=3)


def test_without_git_a_base_is_refused(project: Project) -> None:
    assert open_git(project.root) is None
    with pytest.raises(Refused, match="is no git checkout"):
        gate(project, base="main")


def test_a_revision_that_is_not_here_is_refused(based: Project) -> None:
    with pytest.raises(Refused):
        gate(based, base="origin/nowhere")


def test_a_change_of_policy_is_a_finding_and_does_not_decide(
    based: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(15), system="Worse.")
    set_gate(based, {"margin": 0.9, "rules": ["errors", "critical"]})
    based.prompt(system="Worse.")
    result = gate(based, base="main")
    assert result.decision is Decision.FAIL
    assert result.finding("policy").why == (
        "this change also changes the policy of support (margin 0.1 → 0.9, rules); "
        "decided by the policy at the base revision"
    )


def test_a_policy_that_only_the_evalset_changes_is_found_as_well(based: Project) -> None:
    based.evalset(gate={"margin": 0.4})
    assert "margin 0.1 → 0.4" in gate(based, base="main").finding("policy").why


def test_an_unchanged_policy_is_no_finding(based: Project) -> None:
    assert [each.rule for each in gate(based, base="main").verdict.findings] == [
        "critical",
        "no_worse",
        "errors",
        "coverage",
    ]


def test_trust_is_read_at_the_base(based: Project, server: Server) -> None:
    based.write("checks/mine.py", "def mine(text, case):\n    return 1.0\n")
    based.settings["trust"] = ["checks/*.py"]
    based.llmops_yaml()
    based.evalset(scorers=[{"python": "checks/mine.py:mine"}])
    with pytest.raises(Refused, match="may not run"):
        gate(based, base="main")
    assert server.requests == 0
    git(based.root, "add", "-A")
    git(based.root, "commit", "-qm", "trusted by a maintainer")
    assert gate(based, base="main").decision is Decision.PASS


def test_an_environment_that_the_change_adds_is_not_the_baseline(
    based: Project, server: Server
) -> None:
    server.reply = wrong_on(questions(15), system="Worse.")
    based.settings["environments"] = ["production", "nobody"]
    based.llmops_yaml()
    based.prompt(system="Worse.")
    result = gate(based, base="main")
    assert (result.prompt.baseline, result.decision) == ("support@v1 (production)", Decision.FAIL)
    named = gate(based, base="main", select={"environment": "nobody"})
    assert named.decision is Decision.INCONCLUSIVE


def test_before_the_project_began_its_policy_is_the_default_and_nothing_is_trusted(
    project: Project, tmp_path: Path
) -> None:
    project.write("README", "before llmops")
    committed(project, add="README")
    project.settings = {"gate": {"rules": ["errors"]}, "trust": ["checks/*.py", project.url]}
    project.llmops_yaml()
    with pytest.raises(Refused, match="would send OPENAI_API_KEY"):
        gate(project, base="main")
    project.model = {"provider": "embedded", "base_url": None}
    project.llmops_yaml()
    result = gate(project, base="main")
    assert [each.rule for each in result.verdict.findings if each.rule != "policy"] == [
        "critical",
        "no_worse",
        "errors",
        "coverage",
    ]
    assert "rules" in result.finding("policy").why
    project.write("checks/mine.py", "def mine(text, case):\n    return 1.0\n")
    project.evalset(scorers=[{"python": "checks/mine.py:mine"}])
    with pytest.raises(Refused, match="may not run"):
        gate(project, base="main")


def test_what_the_evidence_measured_is_known_by_case(running: Project) -> None:
    with open_workspace(running.root) as workspace:
        (evalset, found), *others = measured_cases(workspace, "support", 1).items()
    assert (evalset, others) == ("support", [])
    assert list(found) == [f"c{at:03}" for at in range(CASES)]
    assert len({each.request for each in found.values()}) == CASES


def test_the_evidence_store_holds_nothing_that_was_called_since(
    running: Project, server: Server
) -> None:
    running.prompt(system="Next.")
    gate(running, more_trials=3)
    with open_workspace(running.root) as workspace:
        store = evidence_store(workspace, "support", 1)
        cases = measured_cases(workspace, "support", 1)["support"]
        kept = store.further([each.request for each in cases.values()], "baseline", beyond=0)
        since = workspace.results.further(kept, "baseline", beyond=0)
    assert {len(numbers) for numbers in kept.values()} == {3}
    assert {len(numbers) for numbers in since.values()} == {6}


def test_a_run_file_is_taken_over_once(project: Project, server: Server, tmp_path: Path) -> None:
    gate(project, out=tmp_path / "run.jsonl")
    (project.root / ".llmops/store/results.sqlite3").unlink()
    for _ in range(2):
        result = gate(project, reuse=[tmp_path / "run.jsonl"])
        assert (result.report.calls, result.evalset.candidate.planned) == (0, CASES)


def test_a_file_that_is_no_run_is_refused_before_any_call(
    project: Project, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "run.jsonl").write_text("{}\n")
    with pytest.raises(Refused):
        gate(project, reuse=[tmp_path / "run.jsonl"])
    assert server.requests == 0
