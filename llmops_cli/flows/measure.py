"""Makes the evidence of a version: its gate draws and, apart from them, its baseline draws.

The draws that let a version pass are a lucky choice among draws, so they are not the ones that a
later candidate is compared with (GATE §3, the winner's curse). Evidence stands on its own: every
arm holds every case, so that the verdict is computed again from it alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from llmops_cli import __version__
from llmops_cli.core import row
from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Progress
from llmops_cli.core.release import (
    BASELINE,
    SUBJECT,
    ArmDraws,
    ArmFacts,
    Draws,
    EvalsetFacts,
    Evidence,
    EvidenceRow,
    Measurement,
    Provenance,
)
from llmops_cli.core.report import Report
from llmops_cli.core.result import Completion
from llmops_cli.core.verdict import Decision
from llmops_cli.engine.budget import Budget
from llmops_cli.flows.arm import Arm, chunks
from llmops_cli.flows.conduct import Options, Run, conduct
from llmops_cli.flows.contest import Round, Selection, contests
from llmops_cli.flows.pairing import Depth, Pairing, plan
from llmops_cli.flows.reporting import report
from llmops_cli.flows.rows import arm_rows
from llmops_cli.flows.scoring import Scorers
from llmops_cli.flows.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What `measure` found; no evidence where something was not measured."""

    report: Report
    evidence: Evidence | None


def measure(
    workspace: Workspace,
    name: str,
    number: int,
    *,
    environment: str | None,
    budget: Budget | None,
    progress: Progress,
) -> Measured:
    """Draws what the evidence of `name@v<number>` needs and is missing, and writes it.

    An INCOMPLETE run writes nothing: run again, only what is missing is called.
    """
    selection = Selection(prompts=[f"{name}@v{number}"], environment=environment)
    now = datetime.now(UTC)
    planned = plan(workspace, contests(workspace, selection), Depth(now=now, own_baseline=True))
    options = Options(budget=budget, now=now.isoformat())
    run = conduct(workspace, planned, options, progress=progress)
    found = report(run)
    (verdict,) = run.verdicts.values()
    if run.interrupted or verdict.decision is Decision.INCOMPLETE:
        return Measured(report=found, evidence=None)
    return Measured(report=found, evidence=_write(workspace, run, name, number, now))


def _write(workspace: Workspace, run: Run, name: str, number: int, now: datetime) -> Evidence:
    first = run.pairings[0]
    (verdict,) = run.verdicts.values()
    measurement = Measurement(
        name=name,
        number=number,
        environment=first.contest.environment,
        llmops=__version__,
        arms=_arms(workspace, run.pairings),
        evalsets=tuple(
            evalset_facts(each.round, each.scorers, look=each.look) for each in run.pairings
        ),
        verdict=verdict,
        counts={"calls": run.calls, "reused": run.reused},
        made=Provenance(by=workspace.actor(), at=now.isoformat(timespec="seconds")),
    )
    texts = _texts(run.pairings) if workspace.project.outputs == "commit" else None
    return workspace.registry.write_evidence(
        measurement,
        [each for pairing in run.pairings for each in _rows(pairing)],
        texts,
        summary=summary(measurement),
        redact=workspace.redact,
    )


def _roles(pairing: Pairing) -> Iterator[tuple[str, Arm]]:
    """The arms besides the subject, as evidence calls them."""
    for role, arm in pairing.others.items():
        yield role.replace("anchor ", "anchor:"), arm


def _arms(workspace: Workspace, pairings: Sequence[Pairing]) -> Mapping[str, ArmFacts]:
    """Target, model and age of each arm over all evalsets."""
    facts: dict[str, list[tuple[Arm, Pairing]]] = {}
    for pairing in pairings:
        facts.setdefault(SUBJECT, []).append((pairing.candidate, pairing))
        for role, arm in _roles(pairing):
            facts.setdefault(role, []).append((arm, pairing))
    return {role: _facts(workspace, arms) for role, arms in facts.items()}


def _facts(workspace: Workspace, arms: list[tuple[Arm, Pairing]]) -> ArmFacts:
    arm, pairing = arms[0]
    contest = pairing.contest
    contenders = [contest.candidate, contest.baseline, *contest.anchors.values()]
    version = next((one.version for one in contenders if one and one.name == arm.name), None)
    found = [each for one, _ in arms for each in _completions(one)]
    times = sorted(each.at for each in found if each.at)
    model = arm.target.model
    return ArmFacts(
        version=version,
        target=arm.target.digest,
        model=f"{model.provider}/{model.model}",
        served_models=tuple(sorted({each.served_model for each in found if each.served_model})),
        oldest=times[0] if times else None,
        newest=times[-1] if times else None,
        deterministic=workspace.provider(model).deterministic,
    )


def _completions(arm: Arm) -> Iterator[Completion]:
    for part in chunks(arm.draws(range(len(arm.requests)))):
        yield from arm.results.completions(map(arm.key, part)).values()


def _texts(pairings: Sequence[Pairing]) -> Iterator[Completion]:
    for pairing in pairings:
        for arm in pairing.arms:
            yield from _completions(arm)


def evalset_facts(this: Round, scorers: Scorers, *, look: int = 1) -> EvalsetFacts:
    """What is asked of a prompt by one evalset: cases, scorers and policy."""
    due: list[Json] = [
        [case.id, case.facts, [bound.digest for bound in scorers.due(case)]] for case in this.cases
    ]
    return EvalsetFacts(
        evalset=this.evalset.name,
        digest=digest("llmops/evalset/v1", due),
        cases=len(this.cases),
        policy=this.policy,
        metrics=tuple(scorers.metrics),
        retired=this.evalset.retired,
        look=look,
    )


def _rows(pairing: Pairing) -> Iterator[EvidenceRow]:
    cases, scorers = pairing.round.cases, pairing.scorers
    assert pairing.own_baseline is not None
    gate = arm_rows(pairing.candidate, cases, scorers)
    own = arm_rows(pairing.own_baseline, cases, scorers)
    others = {role: arm_rows(arm, cases, scorers) for role, arm in _roles(pairing)}
    for case in cases:
        mine = next(gate)
        arms = {
            SUBJECT: ArmDraws(request=mine.request, gate=_draws(mine), baseline=_draws(next(own)))
        }
        for role, found in others.items():
            theirs = next(found)
            arms[role] = ArmDraws(request=theirs.request, baseline=_draws(theirs))
        yield EvidenceRow(
            evalset=pairing.round.evalset.name,
            case=case.id,
            facts=case.facts,
            tags=case.tags,
            critical=case.critical,
            group=case.group,
            known_failing=case.known_failing,
            arms=arms,
        )
    for gone in pairing.removed:
        lost = ArmDraws(request="", baseline=Draws(planned=0))
        yield EvidenceRow(
            evalset=pairing.round.evalset.name, case=gone, facts="", arms={BASELINE: lost}
        )


def _draws(arm: row.Arm) -> Draws:
    return Draws(planned=arm.planned, made=arm.draws)


def summary(measurement: Measurement) -> str:
    """About ten lines for whoever reviews the pull request that brings this evidence."""
    found = measurement
    against = found.arms.get(BASELINE)
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


def _against(found: Measurement, baseline: ArmFacts | None) -> str:
    if baseline is None:
        return f"nothing: {found.environment} runs no version of it yet"
    return f"v{baseline.version} ({found.environment}), {baseline.model}"


def number_of(workspace: Workspace, name: str, selector: str) -> int:
    """The version that `name@selector` means; what is not released has no evidence."""
    if selector in {"", "working"}:
        raise Refused(
            f"{name!r} names no version: evidence belongs to a released one",
            hint=f"llmops release {name}, then llmops measure {name}@latest",
        )
    return workspace.registry.resolve(name, selector)
