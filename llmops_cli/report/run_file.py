"""A run as a file, and its report kept so that it can be shown again.

The run file is the one portable form: what was planned, answered, scored and failed. Given to
another run (`eval --reuse`) it is a source like the store, so shards and re-run jobs pool.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from llmops_cli import __version__
from llmops_cli.core.codec import InvalidRecord, from_plain, to_plain
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.core.report import Report
from llmops_cli.core.run import Entry, Manifest, RunEvalset, RunSide
from llmops_cli.run.evalset_facts import evalset_facts
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.run_loop import Run
from llmops_cli.run.side import Side, chunks
from llmops_cli.stores.atomic import Redact, write_text
from llmops_cli.stores.run_file import open_run

REPORTS = Path(".llmops") / "store" / "reports"
KEPT = 30
"""Reports of earlier runs that stay."""


def manifest_of(run: Run, report: Report) -> Manifest:
    """Who met whom on which evalsets, judged how, and the report."""
    return Manifest(
        llmops=__version__,
        evalsets=tuple(
            RunEvalset(
                prompt=each.contest.prompt,
                environment=each.contest.environment,
                facts=evalset_facts(each.round, each.scorers, look=each.look, gating=each.gating),
                sides={side.role: _side(each, side) for side in each.sides},
                partial=run.partial,
            )
            for each in run.pairings
        ),
        report=to_plain(report),
    )


def entries_of(run: Run) -> Iterator[Entry]:
    """Yield every case with its trials, and every answer and score under its key."""
    for each in run.pairings:
        yield from each.case_results()
        for side in each.sides:
            for positions in chunks(range(len(each.round.cases))):
                yield from _stored_results(each, side, positions)


def keep_report(root: Path, report: Report, *, redact: Redact) -> None:
    """Keeps `report` for `llmops report`; the oldest go. What cannot be kept is not missed."""
    folder = root / REPORTS
    kept = _kept(folder)
    number = int(kept[-1].stem) + 1 if kept else 1
    content = json.dumps(to_plain(report), sort_keys=True, ensure_ascii=True)
    try:
        write_text(folder / f"{number:06}.json", content, redact=redact)
        for path in kept[: -KEPT + 1]:
            path.unlink(missing_ok=True)
    except (OSError, Unmeasured):
        return


def read_report(root: Path, file: Path | None) -> Report:
    """The report of a run file, of a kept report, or of the last run where no file is named."""
    if file is None:
        kept = _kept(root / REPORTS)
        if not kept:
            raise Refused("there is no report yet", hint="llmops eval makes one")
        file = kept[-1]
    plain = _of_document(file) if file.suffix == ".json" else _of_whole_run(file)
    return report_of(file, plain)


def report_of(file: Path, plain: Json) -> Report:
    """The report that `file` holds as plain data. Raises `Refused` where it is none."""
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
    """The report in a run file, every line of which is as it was written."""
    run = open_run(file)
    for _ in run.entries():
        pass
    return run.manifest.report


def _of_document(file: Path) -> Json:
    """The report that was kept in a JSON file."""
    if file.exists() and not file.is_file():
        raise Refused(f"{file} is no report: it is no file at all")
    try:
        plain: Json = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise Refused(f"there is no report {file}") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{file} cannot be read as a report: {error}") from error
    return plain


def _kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def _side(pairing: EvalsetRun, side: Side) -> RunSide:
    contest = pairing.contest
    contenders = [contest.candidate, contest.baseline, *contest.anchors.values()]
    model = side.target.model
    return RunSide(
        name=side.name,
        target=side.target.digest,
        model=f"{model.provider}/{model.model}",
        version=next(
            (each.version for each in contenders if each and each.name == side.name), None
        ),
    )


def _stored_results(each: EvalsetRun, side: Side, positions: list[int]) -> Iterator[Entry]:
    completions = side.completions(side.trials(positions))
    yield from ((side.key(at), completion) for at, completion in completions.items())
    cases = each.round.cases
    keys = [
        key
        for at, completion in completions.items()
        for key in each.scorers.keys(cases[at.case], completion.digest, side.beside.get(at))
    ]
    yield from side.results.scores(keys).items()
