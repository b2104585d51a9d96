"""Makes the evidence of a version: its gate trials and, apart from them, its baseline trials.

The draws that let a version pass are a lucky choice among draws, so they are not the ones that a
later candidate is compared with (the winner's curse). Evidence stands on its own: every
side holds every case, so that the verdict is computed again from it alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from llmops_cli import __version__
from llmops_cli.core.case_result import BASELINE, CANDIDATE, OWN_BASELINE
from llmops_cli.core.errors import ExitCode
from llmops_cli.core.plan import Plan
from llmops_cli.core.ports import Progress
from llmops_cli.core.release import (
    Evidence,
    Measurement,
    Provenance,
    SideFacts,
)
from llmops_cli.core.report import Report
from llmops_cli.core.result import Completion
from llmops_cli.core.verdict import Decision
from llmops_cli.engine.budget import Budget
from llmops_cli.gate.judges import calibration_records
from llmops_cli.registry.release import released_number
from llmops_cli.report.build import report
from llmops_cli.report.sinks import Sink, write_reports
from llmops_cli.run.comparison import contests
from llmops_cli.run.cost_plan import plan_of
from llmops_cli.run.evalset_facts import evalset_facts
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.prepare import SamplingPlan, plan, vetted
from llmops_cli.run.reuse import reuse_runs
from llmops_cli.run.run_loop import Options, Run, conduct
from llmops_cli.run.selection import Selection
from llmops_cli.run.side import Side, chunks
from llmops_cli.run.workspace import Workspace, open_workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """The version to measure, and how."""

    address: str
    """`support@v3`."""
    environment: str | None = None
    """The environment to compare with; None: the last."""
    runs: Sequence[Path] = ()
    """Run files whose answers and scores are reused first."""
    offline: bool = False
    """Make no call over a network."""
    budget: Budget | None = None
    sinks: Sequence[Sink] = ()
    """Reports to write whatever the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The result of `measure`; no evidence where something was not measured."""

    report: Report
    run: Run
    evidence: Evidence | None


def measure(
    start: Path,
    request: MeasureRequest,
    *,
    progress: Progress,
    environ: Mapping[str, str] | None = None,
) -> Measured:
    """Make the calls that the evidence of a version lacks, and write the evidence.

    An INCOMPLETE run writes nothing: run it again, and only what is missing is called.
    """
    with open_workspace(start, environ=environ) as workspace:
        reuse_runs(workspace, request.runs)
        started = datetime.now(UTC)
        planned = _planned(workspace, request, started)
        options = Options(offline=request.offline, budget=request.budget, now=started.isoformat())
        run = conduct(workspace, planned, options, progress=progress)
        result = report(run)
        (verdict,) = run.verdicts.values()
        lacking = [why for each in planned for why in _lacking(each)]
        complete = not (run.interrupted or lacking or verdict.decision is Decision.INCOMPLETE)
        if not complete:
            code = result.exit_code if run.interrupted else ExitCode.INCOMPLETE
            result = replace(result, exit_code=code, notes=(*result.notes, *lacking))
        write_reports(request.sinks, run, result, workspace.redact)
        evidence = _write(workspace, run, started) if complete else None
    return Measured(report=result, run=run, evidence=evidence)


def cost_of_measuring(
    start: Path, request: MeasureRequest, *, environ: Mapping[str, str] | None = None
) -> Plan:
    """Return what `measure` would call, and what that would cost. Nothing is called."""
    with open_workspace(start, environ=environ) as workspace:
        return plan_of(workspace, _planned(workspace, request, datetime.now(UTC)))


def _planned(workspace: Workspace, request: MeasureRequest, now: datetime) -> list[EvalsetRun]:
    number = released_number(workspace.registry, request.address)
    address = f"{request.address.partition('@')[0]}@v{number}"
    selection = Selection(prompts=[address], environment=request.environment)
    return vetted(
        plan(workspace, contests(workspace, selection), SamplingPlan(now=now, own_baseline=True))
    )


def _lacking(pairing: EvalsetRun) -> Iterator[str]:
    """What later candidates would be compared with, and was not measured."""
    own = pairing.own_baseline
    if own is not None and (own.failures or own.unscored):
        count = len(own.failures.keys() | own.unscored.keys())
        yield (
            f"{pairing.round.evalset.name}: {count} of {own.planned} baseline draws of "
            f"{own.name} were not measured: without them nothing can be compared with it"
        )


def _write(workspace: Workspace, run: Run, now: datetime) -> Evidence:
    first = run.pairings[0]
    candidate = first.contest.candidate
    assert candidate.version is not None
    (verdict,) = run.verdicts.values()
    measurement = Measurement(
        name=first.contest.prompt,
        number=candidate.version,
        environment=first.contest.environment,
        llmops=__version__,
        sides=_sides(workspace, run.pairings),
        evalsets=tuple(
            evalset_facts(each.round, each.scorers, look=each.look, gating=each.gating)
            for each in run.pairings
        ),
        verdict=verdict,
        judges=dict(_judges(run.pairings)),
        counts={"calls": run.calls, "reused": run.reused},
        calibrations={
            name: plain
            for each in run.pairings
            for name, plain in calibration_records(each.gating).items()
        },
        made=Provenance(by=workspace.actor(), at=now.isoformat(timespec="seconds")),
    )
    texts = _texts(workspace, run.pairings) if workspace.project.outputs == "commit" else None
    return workspace.registry.write_evidence(
        measurement,
        [case for pairing in run.pairings for case in pairing.case_results()],
        texts,
        summary=summary(measurement),
        redact=workspace.redact,
    )


def _sides(workspace: Workspace, pairings: Sequence[EvalsetRun]) -> Mapping[str, SideFacts]:
    """Target, model and age of each side over all evalsets."""
    facts: dict[str, list[tuple[Side, EvalsetRun]]] = {}
    for pairing in pairings:
        assert pairing.own_baseline is not None
        facts.setdefault(CANDIDATE, []).append((pairing.candidate, pairing))
        facts.setdefault(OWN_BASELINE, []).append((pairing.own_baseline, pairing))
        for role, side in pairing.others.items():
            facts.setdefault(role, []).append((side, pairing))
    return {role: _facts(workspace, sides) for role, sides in facts.items()}


def _judges(pairings: Sequence[EvalsetRun]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for each in pairings:
        for metric in each.scorers.metrics:
            served = set().union(*(side.judges.get(metric.label, ()) for side in each.sides))
            if served:
                yield f"{each.round.evalset.name}:{metric.label}", tuple(sorted(served))


def _facts(workspace: Workspace, sides: list[tuple[Side, EvalsetRun]]) -> SideFacts:
    side, pairing = sides[0]
    times, served = set[str](), set[str]()
    for one, _ in sides:
        for part in chunks(one.trials(range(len(one.requests)))):
            found = one.briefs(part).values()
            times.update(each.at for each in found if each.at)
            served.update(each.served_model for each in found if each.served_model)
    model = side.target.model
    return SideFacts(
        version=_version_of(pairing, side),
        target=side.target.digest,
        model=f"{model.provider}/{model.model}",
        served_models=tuple(sorted(served)),
        oldest=min(times, default=None),
        newest=max(times, default=None),
        deterministic=workspace.provider(model).deterministic,
    )


def _version_of(pairing: EvalsetRun, side: Side) -> int | None:
    contest = pairing.contest
    contenders = [contest.candidate, contest.baseline, *contest.anchors.values()]
    return next((one.version for one in contenders if one and one.name == side.name), None)


def _completions(side: Side) -> Iterator[Completion]:
    for part in chunks(side.trials(range(len(side.requests)))):
        yield from side.completions(part).values()


def _texts(workspace: Workspace, pairings: Sequence[EvalsetRun]) -> Iterator[Completion]:
    """Every answer, but for those that stand in the evidence of the versions compared with."""
    for pairing in pairings:
        yield from _completions(pairing.candidate)
        if pairing.own_baseline is not None:
            yield from _completions(pairing.own_baseline)
        if pairing.confirming is not None and pairing.unconfirmed:
            yield from _completions(pairing.confirming)
        for side in pairing.others.values():
            known = _committed(workspace, pairing, side)
            yield from (each for each in _completions(side) if each.digest not in known)


def _committed(workspace: Workspace, pairing: EvalsetRun, side: Side) -> AbstractSet[str]:
    """Digests of the answers whose texts are committed with the version of `side`."""
    version = _version_of(pairing, side)
    if version is None:
        return frozenset()
    registry = workspace.registry
    found = registry.evidence(pairing.contest.prompt, version)
    return {
        each
        for evidence in found
        if registry.has_rows(evidence)
        for each in registry.evidence_texts(evidence)
    }


def summary(measurement: Measurement) -> str:
    """About ten lines for whoever reviews the pull request that brings this evidence."""
    found = measurement
    against = found.sides.get(BASELINE)
    lines = [
        f"# {found.name}@v{found.number}: {found.verdict.decision.value}",
        "",
        found.verdict.why,
        "",
        f"- compared with: {_against(found, against)}",
        *(
            f"- {each.evalset}: {each.cases} cases, "
            f"scorers {', '.join(metric.label for metric in each.metrics)}"
            for each in found.evalsets
        ),
        *(f"- {each.decision.value} {each.rule}: {each.why}" for each in found.verdict.findings),
        f"- measured by {found.made.by} at {found.made.at} with llmops {found.llmops}",
    ]
    return "\n".join(lines) + "\n"


def _against(found: Measurement, baseline: SideFacts | None) -> str:
    if baseline is None:
        return f"nothing: {found.environment} runs no version of it yet"
    return f"v{baseline.version} ({found.environment}), {baseline.model}"
