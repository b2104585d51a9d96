"""What the store holds of two arms, read back as one row per case for the gate.

Rows are made chunk by chunk and handed on at once, without reading a text. A draw that was
planned and is not there is a failure with its cause; a case whose request is the same in both
arms shares the candidate's draws, because the same question has one answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import TypeVar

from llmops_cli.core import case_result as row
from llmops_cli.core.case import Case
from llmops_cli.core.ports import ScoreKey
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind, Score
from llmops_cli.run.columns import DrawAt
from llmops_cli.run.scorers import Scorers, judge_of, unscored_reason
from llmops_cli.run.side import Arm, chunks

T = TypeVar("T")
UNMADE = Failure(kind=FailureKind.NOT_ATTEMPTED, message="this draw was planned and not made")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDraw:
    """One draw as it was found: its outcome, and the score of every scorer that gave one."""

    outcome: Completion | Failure
    scores: Mapping[str, Score]
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Why, by label, where a scorer could not score it in this run."""
    latency: float | None = None
    """Seconds, where it was called in this run."""


def measured(
    arm: Arm, cases: Sequence[Case], positions: Sequence[int], scorers: Scorers
) -> Iterator[list[MeasuredDraw]]:
    """For each of `positions`, its wanted draws in order, with their texts."""
    found = arm.completions(arm.draws(positions))
    held = _held(arm, found, cases, scorers)
    for position in positions:
        case = cases[position]
        yield [
            MeasuredDraw(
                outcome=outcome,
                scores={}
                if isinstance(outcome, Failure)
                else _scores(arm, at, case, outcome.digest, scorers, held),
                unscored={} if isinstance(outcome, Failure) else arm.unscored.get(at, {}),
                latency=arm.latencies.get(at),
            )
            for at in arm.draws([position])
            for outcome in [_outcome(arm, at, found.get(at))]
        ]


def arm_rows(arm: Arm, cases: Sequence[Case], scorers: Scorers) -> Iterator[row.Arm]:
    """What `arm` did on each case, in evalset order."""
    for positions in chunks(range(len(cases))):
        found = arm.briefs(arm.draws(positions))
        held = _held(arm, found, cases, scorers)
        for position in positions:
            case, draws = cases[position], arm.draws([position])
            yield row.Arm(
                request=arm.requests[position],
                facts=case.facts,
                planned=len(draws),
                draws=tuple(_draw(arm, at, found.get(at), case, scorers, held) for at in draws),
            )


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


def _draw(
    arm: Arm,
    at: DrawAt,
    found: Brief | None,
    case: Case,
    scorers: Scorers,
    held: Mapping[ScoreKey, Score],
) -> row.Draw:
    due, outcome = scorers.due(case), _outcome(arm, at, found)
    if arm.opposed:
        due += scorers.paired
    if isinstance(outcome, Failure):
        return row.Draw(failure=outcome, scores={bound.label: None for bound in due})
    scores = _scores(arm, at, case, outcome.digest, scorers, held)
    return row.Draw(
        output=outcome.digest,
        scores={
            bound.label: given.value if (given := scores.get(bound.label)) else None
            for bound in due
        },
        unscored={
            bound.label: unscored_reason(arm, at, bound)
            for bound in due
            if bound.label not in scores
        },
        finish_reason=outcome.finish_reason,
        cost=outcome.cost,
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        latency=arm.latencies.get(at),
        first_token=arm.first_tokens.get(at),
        served_model=outcome.served_model,
    )


def _outcome(arm: Arm, at: DrawAt, found: T | None) -> T | Failure:
    """What became of a draw: a failure of this run counts before an answer that was held."""
    failure = arm.failures.get(at)
    return failure or found or UNMADE


def _held(
    arm: Arm, found: Mapping[DrawAt, Completion | Brief], cases: Sequence[Case], scorers: Scorers
) -> Mapping[ScoreKey, Score]:
    """Every score that is held of the answers in `found`."""
    return arm.results.scores(
        key
        for at, answer in found.items()
        for key in scorers.keys(cases[at.case], answer.digest, arm.beside.get(at))
    )


def _scores(
    arm: Arm,
    at: DrawAt,
    case: Case,
    output: str,
    scorers: Scorers,
    held: Mapping[ScoreKey, Score],
) -> Mapping[str, Score]:
    """The scores of one answer by label: those of this run, and those that are held."""
    given = dict(arm.passing_scores.get(at, {}))
    beside = arm.beside.get(at)
    for bound in scorers.due(case, beside):
        score = held.get(bound.key(case, output, beside)) if bound.kept else None
        if score is not None:
            given[bound.label] = score
            if bound.judge is not None and (served := judge_of(score)) is not None:
                arm.judges.setdefault(bound.label, set()).add(served)
    return given
