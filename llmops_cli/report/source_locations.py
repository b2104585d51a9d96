"""Where the prompts, evalsets and cases of a run stand in the project's files."""

from __future__ import annotations

from collections.abc import Iterator

from llmops_cli.core.errors import Location
from llmops_cli.core.report import SourceLocations
from llmops_cli.project.project import PROJECT_FILE
from llmops_cli.run.run_loop import Run


def places_of(run: Run) -> SourceLocations:
    """Every place of `run`, relative to the project."""
    evalsets = [each.round.evalset for each in run.pairings]
    return SourceLocations(
        prompts=dict(_prompts(run)),
        evalsets={each.name: Location(path=each.path, line=1) for each in evalsets if each.path},
        cases={
            (each.round.evalset.name, case.id): case.where
            for each in run.pairings
            for case in each.round.cases
            if case.where is not None
        },
        project=Location(path=PROJECT_FILE, line=1),
    )


def _prompts(run: Run) -> Iterator[tuple[str, Location]]:
    for each in run.pairings:
        path = each.contest.candidate.target.prompt.path
        if path:
            yield each.contest.prompt, Location(path=path, line=1)
