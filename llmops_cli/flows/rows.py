"""What the store holds of two arms, read back as one row per case for the gate.

Rows are made chunk by chunk and handed on at once. A draw that was planned and is not there is a
failure with its cause; a case whose request is the same in both arms shares the candidate's
draws, because the same question has one answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

from llmops_cli.core import row
from llmops_cli.core.case import Case
from llmops_cli.core.ports import ScoreKey
from llmops_cli.core.result import Completion, Failure, FailureKind, Score
from llmops_cli.flows.arm import Arm, DrawAt, chunks
from llmops_cli.flows.scoring import Bound, Scorers, unscored_reason

UNMADE = Failure(kind=FailureKind.NOT_ATTEMPTED, message="this draw was planned and not made")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDraw:
    """One draw as it was found: its outcome, and the score of every scorer that gave one."""

    outcome: Completion | Failure
    scores: Mapping[str, Score]
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Why, by label, where a scorer could not score it in this run."""


def measured(
    arm: Arm, cases: Sequence[Case], positions: Sequence[int], scorers: Scorers
) -> Iterator[list[MeasuredDraw]]:
    """For each of `positions`, its wanted draws in order."""
    found = arm.results.completions(map(arm.key, arm.draws(positions)))
    keys = [
        key
        for at in arm.draws(positions)
        if (completion := found.get(arm.key(at))) is not None
        for key in scorers.keys(cases[at.case], completion.digest, arm.beside.get(at))
    ]
    scores = arm.results.scores(keys)
    for position in positions:
        yield [
            _measured(
                arm,
                at,
                found.get(arm.key(at)),
                scorers.due(cases[position], arm.beside.get(at)),
                scores,
                cases,
            )
            for at in arm.draws([position])
        ]


def arm_rows(arm: Arm, cases: Sequence[Case], scorers: Scorers) -> Iterator[row.Arm]:
    """What `arm` did on each case, in evalset order."""
    for positions in chunks(range(len(cases))):
        found = measured(arm, cases, positions, scorers)
        for position, draws in zip(positions, found, strict=True):
            yield _arm(arm, position, cases[position], draws, scorers)


def confirmed_rows(
    arm: Arm, confirming: Arm | None, cases: Sequence[Case], scorers: Scorers
) -> Iterator[row.Arm]:
    """What `arm` did on each case, with the draws of `confirming`, which is the same target."""
    plain = arm_rows(arm, cases, scorers)
    if confirming is None:
        yield from plain
        return
    for mine, more in zip(plain, arm_rows(confirming, cases, scorers), strict=True):
        yield replace(mine, confirm=more.draws) if more.draws else mine


def rows(
    cases: Sequence[Case],
    candidate: Arm,
    baseline: Arm | None,
    scorers: Scorers,
    confirming: Arm | None = None,
) -> Iterator[row.Row]:
    """One row per case, in evalset order."""
    ours = confirmed_rows(candidate, confirming, cases, scorers)
    theirs = repeat(None) if baseline is None else arm_rows(baseline, cases, scorers)
    for case, mine, other in zip(cases, ours, theirs, strict=False):
        yield row.Row(
            case=case.id,
            candidate=mine,
            baseline=_beside(mine, other, baseline),
            tags=case.tags,
            critical=case.critical,
            group=case.group,
            known_failing=case.known_failing,
        )


def _beside(mine: row.Arm, other: row.Arm | None, baseline: Arm | None) -> row.Arm | None:
    """What a case is compared with; None where the evidence that is asked about lacks it."""
    if other is None or baseline is None or other.planned:
        return other
    if baseline.evidence_only:
        return None
    return mine if other.request == mine.request else other


def _arm(
    arm: Arm, position: int, case: Case, draws: list[MeasuredDraw], scorers: Scorers
) -> row.Arm:
    return row.Arm(
        request=arm.requests[position],
        facts=case.facts,
        planned=len(draws),
        draws=tuple(
            _draw(arm, at, draw, scorers.due(case, arm.beside.get(at)))
            for at, draw in zip(arm.draws([position]), draws, strict=True)
        ),
    )


def _draw(arm: Arm, at: DrawAt, draw: MeasuredDraw, due: tuple[Bound, ...]) -> row.Draw:
    outcome = draw.outcome
    if isinstance(outcome, Failure):
        return row.Draw(failure=outcome, scores={bound.label: None for bound in due})
    usage = outcome.usage
    return row.Draw(
        output=outcome.digest,
        scores={
            bound.label: found.value if (found := draw.scores.get(bound.label)) else None
            for bound in due
        },
        unscored={
            bound.label: unscored_reason(arm, at, bound)
            for bound in due
            if bound.label not in draw.scores
        },
        finish_reason=outcome.finish_reason,
        cost=outcome.cost,
        input_tokens=usage.input if usage else None,
        output_tokens=usage.output if usage else None,
        latency=arm.latencies.get(at),
        served_model=outcome.served_model,
    )


def _measured(
    arm: Arm,
    at: DrawAt,
    found: Completion | None,
    due: tuple[Bound, ...],
    scores: Mapping[ScoreKey, Score],
    cases: Sequence[Case],
) -> MeasuredDraw:
    if at in arm.failures or found is None or not arm.counts(found):
        return MeasuredDraw(outcome=arm.failures.get(at, UNMADE), scores={})
    given = dict(arm.passing_scores.get(at, {}))
    for bound in due:
        key = bound.key(cases[at.case], found.digest, arm.beside.get(at))
        score = scores.get(key) if bound.kept else None
        if score is not None:
            given[bound.label] = score
    return MeasuredDraw(outcome=found, scores=given, unscored=arm.unscored.get(at, {}))
