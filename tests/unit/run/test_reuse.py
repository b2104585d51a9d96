"""What was measured before is taken over: evidence, and run files."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.run.workspace import evidence_store, measured_cases, open_workspace
from tests.projects import Project
from tests.servers.faulty import Server
from tests.unit.gated_project import CASES, gate


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
    gate(running, fresh=True)
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
