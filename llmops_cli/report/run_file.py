"""Turns a run into a run file, and stores reports so that they can be shown again.

The run file is the one portable form of a run. Given to another run (`eval --reuse`) it is a source
like the store, so shards and re-run jobs pool.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from llmops_cli import __version__
from llmops_cli.core.digest import InvalidRecord, Json, from_plain, to_plain
from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.core.report import Report
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.run_loop import Run
from llmops_cli.run.side import Side, chunks
from llmops_cli.stores.atomic import Redact, write_text
from llmops_cli.stores.run_file import Entry, Manifest, RunEvalset, RunSide, open_run

REPORTS = Path(".llmops") / "store" / "reports"
KEPT = 30
"""Reports of earlier runs that are stored."""


def manifest_of(run: Run, report: Report) -> Manifest:
    """Return which sides were compared on which evalsets, how they were scored, and the report."""
    return Manifest(
        llmops=__version__,
        evalsets=tuple(
            RunEvalset(
                prompt=evalset_run.comparison.prompt,
                environment=evalset_run.comparison.environment,
                facts=evalset_run.facts(),
                sides={role: _side(evalset_run, side) for role, side in evalset_run.roles.items()},
                partial=run.partial,
            )
            for evalset_run in run.evalset_runs
        ),
        report=to_plain(report),
    )


def entries_of(run: Run) -> Iterator[Entry]:
    """Yield every case with its trials, and every answer and score under its key."""
    for evalset_run in run.evalset_runs:
        yield from evalset_run.case_results()
        for side in evalset_run.sides:
            for positions in chunks(range(len(evalset_run.cases))):
                yield from _stored_results(evalset_run, side, positions)


def store_report(root: Path, report: Report, *, redact: Redact) -> None:
    """Store `report` for `llmops report` and remove the oldest; a full disk is no error."""
    folder = root / REPORTS
    stored = _stored_reports(folder)
    number = int(stored[-1].stem) + 1 if stored else 1
    content = json.dumps(to_plain(report), sort_keys=True, ensure_ascii=True)
    try:
        write_text(folder / f"{number:06}.json", content, redact=redact)
        for path in stored[: -KEPT + 1]:
            path.unlink(missing_ok=True)
    except (OSError, Unmeasured):
        return


def read_report(root: Path, file: Path | None) -> Report:
    """Return the report of a run file, a stored report or, without a file, the last run."""
    if file is None:
        stored = _stored_reports(root / REPORTS)
        if not stored:
            raise Refused("there is no report yet", hint="llmops eval makes one")
        file = stored[-1]
    plain = _of_document(file) if file.suffix == ".json" else _of_whole_run(file)
    return report_of(file, plain)


def report_of(file: Path, plain: Json) -> Report:
    """Return the report that `file` holds as plain data. Raises `Refused` if it is none."""
    if plain is None:
        raise Refused(
            f"{file} was merged from several runs and has no report of its own",
            hint=f"llmops eval --offline --reuse {file}",
        )
    try:
        return from_plain(Report, plain, "report")
    except InvalidRecord as error:
        raise Refused(f"{file} holds no report of this llmops: {error}") from error


def _of_whole_run(file: Path) -> Json:
    """Return the report in a run file, after checking that every line is as it was written."""
    run = open_run(file)
    for _ in run.entries():
        pass
    return run.manifest.report


def _of_document(file: Path) -> Json:
    """Return the report that was stored in a JSON file."""
    if file.exists() and not file.is_file():
        raise Refused(f"{file} is no report: it is no file at all")
    try:
        plain: Json = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise Refused(f"there is no report {file}") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{file} cannot be read as a report: {error}") from error
    return plain


def _stored_reports(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def _side(evalset_run: EvalsetRun, side: Side) -> RunSide:
    spec = side.spec
    model = spec.target.model
    return RunSide(
        name=spec.name,
        target=spec.target.digest,
        model=f"{model.provider}/{model.model}",
        version=evalset_run.comparison.version_of(spec.name),
    )


def _stored_results(evalset_run: EvalsetRun, side: Side, positions: list[int]) -> Iterator[Entry]:
    answers = side.completions(side.plan.trials(positions))
    yield from ((side.key(at), answer) for at, answer in answers.items())
    keys = [
        key
        for at, answer in answers.items()
        for key in evalset_run.scorers.keys(
            evalset_run.cases[at.case], answer.digest, side.state.compared_with.get(at)
        )
    ]
    yield from side.spec.results.scores(keys).items()
