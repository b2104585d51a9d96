"""Reuse earlier results: committed evidence, and the run files of `--reuse`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.evidence import has_rows, read_results, read_rows
from llmops_cli.stores.results import ResultsStore, open_results
from llmops_cli.stores.run_file import RunFile, open_run


class MeasuredCase(NamedTuple):
    """Digests of a case's facts and request when it was measured."""

    facts: str
    request: str


def measured_cases(
    workspace: Workspace, name: str, number: int, evalset: str
) -> Mapping[str, MeasuredCase]:
    """Return the cases of `evalset` by id, as the newest evidence of a version measured them."""
    for evidence in reversed(workspace.registry.evidence(name, number)):
        if has_rows(evidence):
            return {
                row.case: MeasuredCase(row.facts, row.candidate.request)
                for row in read_rows(evidence)
                if row.evalset == evalset and row.candidate is not None
            }
    return {}


def measured_evalsets(workspace: Workspace, name: str, number: int) -> tuple[str, ...]:
    """Return the evalsets that the newest evidence of a version was measured on."""
    for evidence in reversed(workspace.registry.evidence(name, number)):
        if has_rows(evidence):
            return tuple(facts.evalset for facts in evidence.measurement.evalsets)
    return ()


def evidence_store(workspace: Workspace, name: str, number: int) -> ResultsStore:
    """Return a store with only the evidence of a version."""
    store = workspace.stack.enter_context(open_results(None))
    for evidence in workspace.registry.evidence(name, number):
        if has_rows(evidence):
            store.ingest(evidence.digest, *read_results(evidence))
    return store


def reuse_runs(workspace: Workspace, paths: Iterable[Path]) -> None:
    """Import the results of run files into the store, once. Raises `Refused` for other files.

    A partial run only fills gaps: as additional trials, its answers would bias the cases that were
    selected for it.
    """
    runs = [open_run(path) for path in paths]
    for run in sorted(runs, key=_is_partial):
        if workspace.results.has_ingested(run.digest):
            continue
        completions, scores = run.results()
        if _is_partial(run):
            stored = workspace.results.completions(key for key, _ in completions)
            completions = [(key, answer) for key, answer in completions if key not in stored]
        workspace.results.ingest(run.digest, completions, scores)


def reuse_evidence(workspace: Workspace, name: str, number: int) -> None:
    """Import the committed evidence of a version into the store, once."""
    for evidence in workspace.registry.evidence(name, number):
        if has_rows(evidence) and not workspace.results.has_ingested(evidence.digest):
            workspace.results.ingest(evidence.digest, *read_results(evidence))


def _is_partial(run: RunFile) -> bool:
    return any(evalset.partial is not None for evalset in run.manifest.evalsets)
