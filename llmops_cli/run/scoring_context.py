"""Where scores are given: the code of each scorer, opened, and the way to the judges."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from llmops_cli.core.case import Case
from llmops_cli.core.ports import Ask, ScoreKey, Scorer
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.run.columns import TrialAt
from llmops_cli.run.judge_client import JudgeCallCache, JudgeClient
from llmops_cli.run.scorers import AnswerPair, BoundScorer, Scorers
from llmops_cli.run.side import Side
from llmops_cli.scorers.scoring import score


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringContext:
    """What scoring needs while a run goes on: the code of each kind of scorer, opened."""

    code: Mapping[str, Scorer]
    calls: JudgeCallCache | None = None
    """How judges are asked; None where no scorer asks one."""

    def ask(
        self, bound: BoundScorer, *, first: int = 0, outdated: AbstractSet[str] = frozenset()
    ) -> Ask | None:
        """One score's way to its judge; None for a scorer that has none.

        `outdated`: judges whose held answers do not count any more.
        """
        if bound.judge is None:
            return None
        assert self.calls is not None
        assert bound.templates is not None
        return JudgeClient(self.calls, bound.judge, bound.templates, first=first, outdated=outdated)


async def score_trial(
    side: Side,
    at: TrialAt,
    case: Case,
    completion: Completion,
    *,
    scorers: Scorers,
    desk: ScoringContext,
) -> None:
    """Gives every due score of one completion that is not held."""
    held = side.results.scores(scorers.keys(case, completion.digest))
    for bound in scorers.due(case):
        key = bound.key(case, completion.digest)
        if scorers.counts(bound, held, key) or (bound.kind.live and completion.latency is None):
            continue
        given = await score(
            desk.code[bound.kind.name],
            bound.options.render(case),
            case=case,
            completion=completion,
            ask=desk.ask(bound, outdated=scorers.outdated.get(bound.label, frozenset())),
        )
        _keep(side, at, bound, key, given)


async def score_pair(
    side: Side, met: AnswerPair, case: Case, *, scorers: Scorers, desk: ScoringContext
) -> None:
    """Gives every score of an answer set against another that is not held."""
    for bound in scorers.paired:
        key = bound.key(case, met.ours.digest, met.theirs.digest)
        if scorers.counts(bound, side.results.scores([key]), key):
            continue
        given: Score | Unscored = Unscored(why="the baseline's answer is not held here")
        if met.theirs.text is not None:
            given = await score(
                desk.code[bound.kind.name],
                {**bound.options.render(case), "against": met.theirs},
                case=case,
                completion=met.ours,
                ask=desk.ask(bound, outdated=scorers.outdated.get(bound.label, frozenset())),
            )
        _keep(side, met.at, bound, key, given)


def _keep(
    side: Side, at: TrialAt, bound: BoundScorer, key: ScoreKey, given: Score | Unscored
) -> None:
    if isinstance(given, Unscored):
        side.unscored.setdefault(at, {})[bound.label] = given.why
        return
    side.unscored.get(at, {}).pop(bound.label, None)
    if bound.kept:
        side.results.put_score(key, given)
    else:
        side.passing_scores.setdefault(at, {})[bound.label] = given
