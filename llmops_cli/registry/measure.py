"""Make the evidence of versions: their gate trials and, apart from them, their baseline trials.

The trials that let a version pass are a lucky selection, so later candidates are compared with
other trials of it (the winner's curse). Evidence is complete: every side has every case, so that
the verdict can be recomputed from it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from llmops_cli import __version__
from llmops_cli.core.errors import ExitCode, Refused, UnknownName
from llmops_cli.core.policy import Decision
from llmops_cli.core.ports import Progress
from llmops_cli.core.records import Evidence, Measurement, Provenance, SideFacts
from llmops_cli.core.report import Plan, Report
from llmops_cli.core.result import Completion
from llmops_cli.gate.calibration import calibration_records
from llmops_cli.registry.release import released_number
from llmops_cli.report.build import build_report, worst_exit_code
from llmops_cli.report.finished_run import Sink, write_reports
from llmops_cli.run.comparison import compare_prompts
from llmops_cli.run.cost_plan import cost_plan
from llmops_cli.run.evalset_run import CONFIRMING, EvalsetRun, Run
from llmops_cli.run.prepare import prepare, refuse_unfit
from llmops_cli.run.reuse import reuse_runs
from llmops_cli.run.run_loop import run_evalsets
from llmops_cli.run.selection import EvalOptions, addresses_of
from llmops_cli.run.side import Side, TrialAt, chunks
from llmops_cli.run.workspace import Workspace, actor, open_workspace
from llmops_cli.stores.evidence import has_rows, read_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The result of `measure`."""

    report: Report
    run: Run
    evidence: tuple[Evidence, ...]
    """Of each version; none of one where something was not measured."""

    @property
    def without_evidence(self) -> list[str]:
        """Return the versions where something was not measured."""
        recorded = {(made.measurement.name, made.measurement.number) for made in self.evidence}
        candidates = ((item, item.candidate) for item in self.run.prompt_comparisons)
        return [
            candidate.name
            for comparison, candidate in candidates
            if (comparison.prompt, candidate.version) not in recorded
        ]


def measure(
    start: Path,
    options: EvalOptions,
    *,
    sinks: Sequence[Sink] = (),
    progress: Progress,
    environ: Mapping[str, str] | None = None,
) -> Measured:
    """Make the calls that the evidence of versions lacks, and write the evidence.

    `options` select versions by their addresses (`support@v3`; `support` is the version of the
    working copy); none: every prompt that an evalset gates. `sinks` are the reports to write
    whatever the result. A version with something INCOMPLETE gets no evidence: run it again, and
    only what is missing is called.
    """
    with open_workspace(start, environ=environ) as workspace:
        reuse_runs(workspace, options.reuse)
        evalset_runs = _prepare(workspace, options)
        run = run_evalsets(workspace, evalset_runs, options, progress=progress)
        report = build_report(run)
        lacking: list[str] = []
        codes: list[ExitCode] = []
        complete: list[Run] = []
        for comparison in run.prompt_comparisons:
            of_one = run.of(comparison)
            (verdict,) = of_one.verdicts.values()
            notes = list(_lacking(of_one.evalset_runs))
            lacking += notes
            if notes or verdict.decision is Decision.INCOMPLETE:
                codes.append(ExitCode.INCOMPLETE)
            else:
                codes.append(verdict.exit_code)
                complete.append(of_one)
        code = report.exit_code if run.interrupted else worst_exit_code(codes)
        report = replace(report, exit_code=code, notes=(*report.notes, *lacking))
        write_reports(sinks, run, report, workspace.redact)
        written = [] if run.interrupted else complete
        evidence = tuple(_write(workspace, of_one, options.now) for of_one in written)
    return Measured(report=report, run=run, evidence=evidence)


def cost_of_measuring(
    start: Path, options: EvalOptions, *, environ: Mapping[str, str] | None = None
) -> Plan:
    """Return what `measure` would call, and what that would cost. Nothing is called."""
    with open_workspace(start, environ=environ) as workspace:
        return cost_plan(workspace, _prepare(workspace, options))


def _prepare(workspace: Workspace, options: EvalOptions) -> list[EvalsetRun]:
    addresses = options.selection.prompts or addresses_of(workspace, options.selection)
    prompts = {address: _released_address(workspace, address) for address in addresses}
    unreleased = [address for address, released in prompts.items() if released is None]
    if unreleased:
        raise Refused(
            f"the working copy of {', '.join(unreleased)} is not released: only a version has "
            "evidence",
            hint=f"llmops release {' '.join(unreleased)}, or name a version: {unreleased[0]}@v1",
        )
    selected = list(dict.fromkeys(filter(None, prompts.values())))
    selection = replace(options.selection, prompts=selected)
    comparisons = compare_prompts(workspace, selection)
    options = replace(options, selection=selection, own_baseline=True)
    return refuse_unfit(prepare(workspace, comparisons, options))


def _released_address(workspace: Workspace, address: str) -> str | None:
    """Return `support@v3`; a name alone is the version of the working copy. None: it has none."""
    name, at, _ = address.partition("@")
    if at:
        return f"{name}@v{released_number(workspace.registry, address)}"
    if name not in workspace.project.prompts:
        raise UnknownName("prompt", name, sorted(workspace.project.prompts))
    digest = workspace.project.target(workspace.project.prompts[name]).digest
    versions = workspace.registry.versions(name)
    return next((known.address for known in versions if known.target == digest), None)


def _lacking(evalset_runs: Iterable[EvalsetRun]) -> Iterator[str]:
    """Return notes about baseline trials of the version that weren't measured."""
    for evalset_run in evalset_runs:
        own = evalset_run.own_baseline
        if own is not None and (own.state.failures or own.state.unscored):
            count = len(own.state.failures.keys() | own.state.unscored.keys())
            yield (
                f"{evalset_run.name}: {count} of {own.plan.planned} baseline trials of "
                f"{own.spec.name} were not measured: without them nothing can be compared with it"
            )


def _write(workspace: Workspace, run: Run, now: datetime) -> Evidence:
    comparison = run.evalset_runs[0].comparison
    candidate = comparison.candidate
    assert candidate.version is not None
    (verdict,) = run.verdicts.values()
    measurement = Measurement(
        name=comparison.prompt,
        number=candidate.version,
        environment=comparison.environment,
        llmops=__version__,
        sides=_sides(workspace, run.evalset_runs),
        evalsets=tuple(evalset_run.facts() for evalset_run in run.evalset_runs),
        verdict=verdict,
        judges=dict(_judges(run.evalset_runs)),
        counts={"calls": run.calls, "reused": run.reused},
        calibrations={
            name: plain
            for evalset_run in run.evalset_runs
            for name, plain in calibration_records(evalset_run.gating).items()
        },
        made=Provenance(
            by=actor(workspace.root, workspace.environ), at=now.isoformat(timespec="seconds")
        ),
    )
    texts = _texts(workspace, run.evalset_runs) if workspace.project.outputs == "commit" else None
    return workspace.registry.write_evidence(
        measurement,
        [case for evalset_run in run.evalset_runs for case in evalset_run.case_results()],
        texts,
        redact=workspace.redact,
    )


def _sides(workspace: Workspace, evalset_runs: Sequence[EvalsetRun]) -> dict[str, SideFacts]:
    """Return target, model and age of each side over all evalsets."""
    by_role: dict[str, list[Side]] = {}
    for evalset_run in evalset_runs:
        for role, side in evalset_run.roles.items():
            if role != CONFIRMING:
                by_role.setdefault(role, []).append(side)
    facts = {}
    for role, sides in by_role.items():
        times, served = set[str](), set[str]()
        for side, part in _parts(sides):
            briefs = side.briefs(part).values()
            times.update(brief.at for brief in briefs if brief.at)
            served.update(brief.served_model for brief in briefs if brief.served_model)
        spec = sides[0].spec
        model = spec.target.model
        facts[role] = SideFacts(
            version=evalset_runs[0].comparison.version_of(spec.name),
            target=spec.target.digest,
            model=f"{model.provider}/{model.model}",
            served_models=tuple(sorted(served)),
            oldest=min(times, default=None),
            newest=max(times, default=None),
            deterministic=workspace.provider(model).deterministic,
        )
    return facts


def _parts(sides: Iterable[Side]) -> Iterator[tuple[Side, list[TrialAt]]]:
    """Yield the trials of each side, some at a time."""
    for side in sides:
        for part in chunks(side.plan.trials(range(len(side.plan.requests)))):
            yield side, part


def _judges(evalset_runs: Sequence[EvalsetRun]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for evalset_run in evalset_runs:
        states = [side.state for side in evalset_run.sides]
        for metric in evalset_run.scorers.metrics:
            served = set().union(*(state.judges.get(metric.label, ()) for state in states))
            if served:
                yield f"{evalset_run.name}:{metric.label}", tuple(sorted(served))


def _texts(workspace: Workspace, evalset_runs: Sequence[EvalsetRun]) -> Iterator[Completion]:
    """Yield every answer, except those in the evidence of the versions compared with."""
    for evalset_run in evalset_runs:
        for role, side in evalset_run.roles.items():
            version = evalset_run.comparison.version_of(side.spec.name)
            committed = set[str]()
            if role in evalset_run.others and version is not None:
                name = evalset_run.comparison.prompt
                for evidence in filter(has_rows, workspace.registry.evidence(name, version)):
                    committed.update(read_texts(evidence))
            for _, part in _parts([side]):
                answers = side.completions(part).values()
                yield from (answer for answer in answers if answer.digest not in committed)
