"""What was measured before, for this run: committed evidence, and run files that somebody names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.results import ResultsStore, open_results
from llmops_cli.stores.run_file import RunFile, open_run


class Evidenced(NamedTuple):
    """What a case was when it was measured."""

    facts: str
    request: str


def evidenced_cases(
    workspace: Workspace, name: str, number: int, evalset: str
) -> Mapping[str, Evidenced]:
    """The cases of `evalset` by id, as the newest evidence of a version measured them."""
    for evidence in reversed(workspace.registry.evidence(name, number)):
        if workspace.registry.has_rows(evidence):
            return {
                row.case: Evidenced(row.facts, row.candidate.request)
                for row in workspace.registry.evidence_rows(evidence)
                if row.evalset == evalset and row.candidate is not None
            }
    return {}


def evidenced_evalsets(workspace: Workspace, name: str, number: int) -> tuple[str, ...]:
    """The evalsets that the newest evidence of a version was measured on."""
    for evidence in reversed(workspace.registry.evidence(name, number)):
        if workspace.registry.has_rows(evidence):
            return tuple(each.evalset for each in evidence.measurement.evalsets)
    return ()


def evidence_alone(workspace: Workspace, name: str, number: int) -> ResultsStore:
    """A store of what the evidence of a version holds, and of nothing that was drawn since."""
    store = workspace.stack.enter_context(open_results(None))
    for evidence in workspace.registry.evidence(name, number):
        if workspace.registry.has_rows(evidence):
            store.ingest(evidence.digest, *workspace.registry.evidence_results(evidence))
    return store


def reuse_runs(workspace: Workspace, paths: Iterable[Path]) -> None:
    """Puts into the store what run files hold, once. Raises `Refused` where one is none.

    A partial run only fills what is missing: as further trials, its answers would weigh on the
    cases that somebody chose to run again.
    """
    runs = [open_run(path) for path in paths]
    for run in sorted(runs, key=_is_partial):
        if workspace.results.has_ingested(run.digest):
            continue
        completions, scores = run.held()
        if _is_partial(run):
            held = workspace.results.completions(key for key, _ in completions)
            completions = [each for each in completions if each[0] not in held]
        workspace.results.ingest(run.digest, completions, scores)


def reuse_evidence(workspace: Workspace, name: str, number: int) -> None:
    """Puts into the store what the committed evidence of a version holds, once."""
    for evidence in workspace.registry.evidence(name, number):
        if workspace.registry.has_rows(evidence) and not workspace.results.has_ingested(
            evidence.digest
        ):
            workspace.results.ingest(
                evidence.digest, *workspace.registry.evidence_results(evidence)
            )


def _is_partial(run: RunFile) -> bool:
    return any(each.partial is not None for each in run.manifest.evalsets)
