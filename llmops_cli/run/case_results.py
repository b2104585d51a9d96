"""Read the stored results of a side, as one `SideResult` per case.

Results are made a few cases at a time and handed on at once. Texts are read only where they are
asked for. A trial that was planned and is not there is a failure with its cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmops_cli.core.ports import ScoreKey
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind, Score, SideResult, Trial
from llmops_cli.run.scorers import BoundScorer, Scorers, judge_of
from llmops_cli.run.side import Side, TrialAt, chunks

NOT_CALLED = Failure(
    kind=FailureKind.NOT_ATTEMPTED, message="this trial was planned and not called"
)


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
        trials = side.plan.trials(part)
        answers: Mapping[TrialAt, Completion | Brief] = (
            side.completions(trials) if texts else side.briefs(trials)
        )
        read = {position: cases[position] for position in part}  # once: it may be unpacked
        keys = (
            key
            for at, answer in answers.items()
            for key in scorers.keys(read[at.case], answer.digest, side.state.compared_with.get(at))
        )
        reader = _Reader(side, scorers, side.spec.results.scores(keys))
        for position, case in read.items():
            trials = side.plan.trials([position])
            yield SideResult(
                request=side.plan.requests[position],
                facts=case.facts,
                planned=len(trials),
                trials=tuple(reader.trial(at, case, answers.get(at)) for at in trials),
            )


def with_text(trial: Trial, answer: Completion) -> Trial:
    """Return `trial` with the text of its answer."""
    return replace(
        trial,
        text=answer.text,
        tool_calls=[[call.name, call.arguments] for call in answer.tool_calls] or None,
        contexts=answer.contexts,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Combines answers, scores and the outcomes of this run."""

    side: Side
    scorers: Scorers
    stored: Mapping[ScoreKey, Score]

    def trial(self, at: TrialAt, case: Case, answer: Completion | Brief | None) -> Trial:
        state = self.side.state
        due = self.scorers.due(case) + (self.scorers.paired if state.needs_pairs else ())
        failure = state.failures.get(at)  # of this run: it counts before an answer that was stored
        if failure is not None or answer is None:
            return Trial(failure=failure or NOT_CALLED, scores={bound.label: None for bound in due})
        brief = answer.brief if isinstance(answer, Completion) else answer
        scores = self._scores(at, case, brief.digest)
        values: dict[str, float | None] = {}
        reasons: dict[str, str] = {}
        for bound in due:
            score = scores.get(bound.label)
            values[bound.label] = score.value if score else None
            reasons[bound.label] = score.reason if score else self._why_unscored(at, bound)
        trial = Trial(
            output=brief.digest,
            scores=values,
            reasons=reasons,
            finish_reason=brief.finish_reason,
            cost=brief.cost,
            input_tokens=brief.input_tokens,
            output_tokens=brief.output_tokens,
            latency=state.latencies.get(at),
            first_token=state.first_tokens.get(at),
            served_model=brief.served_model,
        )
        return with_text(trial, answer) if isinstance(answer, Completion) else trial

    def _scores(self, at: TrialAt, case: Case, output: str) -> Mapping[str, Score]:
        """Return the scores of one answer by label: those of this run and the stored ones."""
        state = self.side.state
        scores = dict(state.scores.get(at, {}))
        compared_with = state.compared_with.get(at)
        for bound in self.scorers.due(case, compared_with):
            if not bound.stored:
                continue
            score = self.stored.get(bound.key(case, output, compared_with))
            if score is not None:
                scores[bound.label] = score
                if bound.judge is not None and (served := judge_of(score)) is not None:
                    state.judges.setdefault(bound.label, set()).add(served)
        return scores

    def _why_unscored(self, at: TrialAt, bound: BoundScorer) -> str:
        state = self.side.state
        reason = state.unscored.get(at, {}).get(bound.label)
        if reason is not None:
            return reason
        if bound.kind.live:
            return (
                "this answer was not called just now, so it has no latency; --no-cache calls again"
            )
        if bound.kind.paired and at not in state.compared_with:
            return "the answer that it is compared with is missing"
        return "not scored in this run"
