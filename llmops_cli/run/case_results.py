"""What the store holds of two sides, read back as one row per case for the gate.

Rows are made chunk by chunk and handed on at once, without reading a text. A draw that was
planned and is not there is a failure with its cause; a case whose request is the same in both
sides shares the candidate's trials, because the same question has one answer.
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
from llmops_cli.run.columns import TrialAt
from llmops_cli.run.scorers import Scorers, judge_of, unscored_reason
from llmops_cli.run.side import Side, chunks

T = TypeVar("T")
UNMADE = Failure(kind=FailureKind.NOT_ATTEMPTED, message="this draw was planned and not made")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTrial:
    """One draw as it was found: its outcome, and the score of every scorer that gave one."""

    outcome: Completion | Failure
    scores: Mapping[str, Score]
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Why, by label, where a scorer could not score it in this run."""
    latency: float | None = None
    """Seconds, where it was called in this run."""


def measured(
    side: Side, cases: Sequence[Case], positions: Sequence[int], scorers: Scorers
) -> Iterator[list[MeasuredTrial]]:
    """For each of `positions`, its wanted draws in order, with their texts."""
    found = side.completions(side.trials(positions))
    held = _held(side, found, cases, scorers)
    for position in positions:
        case = cases[position]
        yield [
            MeasuredTrial(
                outcome=outcome,
                scores={}
                if isinstance(outcome, Failure)
                else _scores(side, at, case, outcome.digest, scorers, held),
                unscored={} if isinstance(outcome, Failure) else side.unscored.get(at, {}),
                latency=side.latencies.get(at),
            )
            for at in side.trials([position])
            for outcome in [_outcome(side, at, found.get(at))]
        ]


def side_rows(side: Side, cases: Sequence[Case], scorers: Scorers) -> Iterator[row.Side]:
    """What `side` did on each case, in evalset order."""
    for positions in chunks(range(len(cases))):
        found = side.briefs(side.trials(positions))
        held = _held(side, found, cases, scorers)
        for position in positions:
            case, trials = cases[position], side.trials([position])
            yield row.Side(
                request=side.requests[position],
                facts=case.facts,
                planned=len(trials),
                trials=tuple(_trial(side, at, found.get(at), case, scorers, held) for at in trials),
            )


def confirmed_rows(
    side: Side, confirming: Side | None, cases: Sequence[Case], scorers: Scorers
) -> Iterator[row.Side]:
    """What `side` did on each case, with the trials of `confirming`, which is the same target."""
    plain = side_rows(side, cases, scorers)
    if confirming is None:
        yield from plain
        return
    for mine, more in zip(plain, side_rows(confirming, cases, scorers), strict=True):
        yield replace(mine, confirm=more.trials) if more.trials else mine


def rows(
    cases: Sequence[Case],
    candidate: Side,
    baseline: Side | None,
    scorers: Scorers,
    confirming: Side | None = None,
) -> Iterator[row.Row]:
    """One row per case, in evalset order."""
    ours = confirmed_rows(candidate, confirming, cases, scorers)
    theirs = repeat(None) if baseline is None else side_rows(baseline, cases, scorers)
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


def _beside(mine: row.Side, other: row.Side | None, baseline: Side | None) -> row.Side | None:
    """What a case is compared with; None where the evidence that is asked about lacks it."""
    if other is None or baseline is None or other.planned:
        return other
    if baseline.evidence_only:
        return None
    return mine if other.request == mine.request else other


def _trial(
    side: Side,
    at: TrialAt,
    found: Brief | None,
    case: Case,
    scorers: Scorers,
    held: Mapping[ScoreKey, Score],
) -> row.Trial:
    due, outcome = scorers.due(case), _outcome(side, at, found)
    if side.opposed:
        due += scorers.paired
    if isinstance(outcome, Failure):
        return row.Trial(failure=outcome, scores={bound.label: None for bound in due})
    scores = _scores(side, at, case, outcome.digest, scorers, held)
    return row.Trial(
        output=outcome.digest,
        scores={
            bound.label: given.value if (given := scores.get(bound.label)) else None
            for bound in due
        },
        unscored={
            bound.label: unscored_reason(side, at, bound)
            for bound in due
            if bound.label not in scores
        },
        finish_reason=outcome.finish_reason,
        cost=outcome.cost,
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        latency=side.latencies.get(at),
        first_token=side.first_tokens.get(at),
        served_model=outcome.served_model,
    )


def _outcome(side: Side, at: TrialAt, found: T | None) -> T | Failure:
    """What became of a trial: a failure of this run counts before an answer that was held."""
    failure = side.failures.get(at)
    return failure or found or UNMADE


def _held(
    side: Side, found: Mapping[TrialAt, Completion | Brief], cases: Sequence[Case], scorers: Scorers
) -> Mapping[ScoreKey, Score]:
    """Every score that is held of the answers in `found`."""
    return side.results.scores(
        key
        for at, answer in found.items()
        for key in scorers.keys(cases[at.case], answer.digest, side.beside.get(at))
    )


def _scores(
    side: Side,
    at: TrialAt,
    case: Case,
    output: str,
    scorers: Scorers,
    held: Mapping[ScoreKey, Score],
) -> Mapping[str, Score]:
    """The scores of one answer by label: those of this run, and those that are held."""
    given = dict(side.passing_scores.get(at, {}))
    beside = side.beside.get(at)
    for bound in scorers.due(case, beside):
        score = held.get(bound.key(case, output, beside)) if bound.kept else None
        if score is not None:
            given[bound.label] = score
            if bound.judge is not None and (served := judge_of(score)) is not None:
                side.judges.setdefault(bound.label, set()).add(served)
    return given
