"""Take answers and scores of earlier runs from evidence and run files into the results store.

What they hold counts by its source (`stores.sources`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.evidence import has_rows, read_results, read_rows
from llmops_cli.stores.results import ResultsStore, open_results
from llmops_cli.stores.run_file import RunFile, open_run
from llmops_cli.stores.sources import of_run


class MeasuredCase(NamedTuple):
    """Digests of a case's facts and request when it was measured."""

    facts: str
    request: str


def measured_cases(
    workspace: Workspace, name: str, number: int
) -> Mapping[str, Mapping[str, MeasuredCase]]:
    """Return the cases that the newest evidence of a version measured, by evalset and id."""
    for evidence in reversed(workspace.evidence(name, number)):
        if has_rows(evidence):
            measured: dict[str, dict[str, MeasuredCase]] = {
                facts.evalset: {} for facts in evidence.measurement.evalsets
            }
            for row in read_rows(evidence):
                if row.candidate is not None:
                    case = MeasuredCase(row.facts, row.candidate.request)
                    measured[row.evalset][row.case] = case
            return measured
    return {}


def evidence_store(workspace: Workspace, name: str, number: int) -> ResultsStore:
    """Return a store with only the evidence of a version."""
    store = workspace.stack.enter_context(open_results(None))
    for evidence in workspace.evidence(name, number):
        if has_rows(evidence):
            store.ingest(evidence.digest, *read_results(evidence))
    return store


def reuse_runs(workspace: Workspace, paths: Iterable[Path]) -> None:
    """Import the results of run files into the store, once. Raises `Refused` for other files.

    They count with a base revision too: who runs the command named them. A partial run only fills
    gaps: as additional trials, its answers would bias the cases that were selected for it.
    """
    runs = [open_run(path) for path in paths]
    # models that the base revision lacks look into the other store
    stores = (workspace.results, *([workspace.volatile] if workspace.base else []))
    for run in sorted(runs, key=_is_partial):
        for store in stores:
            store.sources.accept(of_run(run.digest))
            if store.has_ingested(run.digest):
                continue
            completions, scores = run.results()
            if _is_partial(run):
                stored = store.completions(key for key, _ in completions)
                completions = [(key, answer) for key, answer in completions if key not in stored]
            store.ingest(run.digest, completions, scores)


def reuse_evidence(
    workspace: Workspace, name: str, number: int, results: ResultsStore
) -> tuple[str, ...]:
    """Import the evidence of a version into `results`, once, and return its digests."""
    pieces = [evidence for evidence in workspace.evidence(name, number) if has_rows(evidence)]
    for evidence in pieces:
        if not results.has_ingested(evidence.digest):
            results.ingest(evidence.digest, *read_results(evidence), evidence=True)
    return tuple(evidence.digest for evidence in pieces)


def _is_partial(run: RunFile) -> bool:
    return any(evalset.partial is not None for evalset in run.manifest.evalsets)
