"""Reads back what the store holds of the sides of an evalset, as one `CaseResult` per case.

Results are made a few cases at a time and handed on at once. Texts are read only where they are
asked for. A trial that was planned and is not there is a failure with its cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llmops_cli.core.case import Case
from llmops_cli.core.case_result import SideResult, Trial
from llmops_cli.core.ports import ScoreKey
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind, Score
from llmops_cli.run.columns import TrialAt
from llmops_cli.run.scorers import Scorers, judge_of, unscored_reason
from llmops_cli.run.side import Side, chunks

UNMADE = Failure(kind=FailureKind.NOT_ATTEMPTED, message="this draw was planned and not made")


def side_results(
    side: Side,
    cases: Sequence[Case],
    scorers: Scorers,
    *,
    positions: Sequence[int] | None = None,
    texts: bool = False,
) -> Iterator[SideResult]:
    """Yield what `side` did on each case at `positions` (default: all), in that order."""
    for part in chunks(range(len(cases)) if positions is None else positions):
        answers: Mapping[TrialAt, Completion | Brief] = (
            side.completions(side.trials(part)) if texts else side.briefs(side.trials(part))
        )
        keys = (
            key
            for at, answer in answers.items()
            for key in scorers.keys(cases[at.case], answer.digest, side.beside.get(at))
        )
        stored = side.results.scores(keys)
        for position in part:
            case, trials = cases[position], side.trials([position])
            yield SideResult(
                request=side.requests[position],
                facts=case.facts,
                planned=len(trials),
                trials=tuple(
                    _trial(side, at, case, answers.get(at), scorers, stored) for at in trials
                ),
            )


def _trial(
    side: Side,
    at: TrialAt,
    case: Case,
    answer: Completion | Brief | None,
    scorers: Scorers,
    stored: Mapping[ScoreKey, Score],
) -> Trial:
    due = scorers.due(case) + (scorers.paired if side.opposed else ())
    failure = side.failures.get(at)  # of this run: it counts before an answer that was stored
    if failure is not None or answer is None:
        return Trial(failure=failure or UNMADE, scores={bound.label: None for bound in due})
    brief = answer.brief if isinstance(answer, Completion) else answer
    scores = _scores(side, at, case, brief.digest, scorers, stored)
    trial = Trial(
        output=brief.digest,
        scores={
            bound.label: score.value if (score := scores.get(bound.label)) else None
            for bound in due
        },
        reasons={
            bound.label: score.reason
            if (score := scores.get(bound.label))
            else unscored_reason(side, at, bound)
            for bound in due
        },
        finish_reason=brief.finish_reason,
        cost=brief.cost,
        input_tokens=brief.input_tokens,
        output_tokens=brief.output_tokens,
        latency=side.latencies.get(at),
        first_token=side.first_tokens.get(at),
        served_model=brief.served_model,
    )
    return with_text(trial, answer) if isinstance(answer, Completion) else trial


def with_text(trial: Trial, answer: Completion) -> Trial:
    """Return `trial` with the text of its answer."""
    return replace(
        trial,
        text=answer.text,
        tool_calls=[[call.name, call.arguments] for call in answer.tool_calls] or None,
        contexts=answer.contexts,
    )


def _scores(
    side: Side,
    at: TrialAt,
    case: Case,
    output: str,
    scorers: Scorers,
    stored: Mapping[ScoreKey, Score],
) -> Mapping[str, Score]:
    """Return the scores of one answer by label: those of this run and the stored ones."""
    scores = dict(side.passing_scores.get(at, {}))
    beside = side.beside.get(at)
    for bound in scorers.due(case, beside):
        score = stored.get(bound.key(case, output, beside)) if bound.kept else None
        if score is not None:
            scores[bound.label] = score
            if bound.judge is not None and (served := judge_of(score)) is not None:
                side.judges.setdefault(bound.label, set()).add(served)
    return scores
