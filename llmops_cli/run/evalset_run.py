"""What is left to do for one evalset.

One evalset of a contest, from its plan to the columns that the gate compares.

Where both sides make the same request, the baseline needs no trial: one answer serves both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat

from llmops_cli.core.case import Case
from llmops_cli.core.case_result import BASELINE, OWN_BASELINE, CaseResult, SideResult
from llmops_cli.core.policy import Policy
from llmops_cli.core.ports import TrialKey
from llmops_cli.core.prompt import Model
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.gate.calibration import scaled
from llmops_cli.gate.compare import compare
from llmops_cli.gate.comparison import Comparison
from llmops_cli.gate.judges import GatingJudge, shrinkage
from llmops_cli.run.case_results import side_results
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.scorers import Scorers, unset
from llmops_cli.run.side import Side
from llmops_cli.run.trial_plan import plan_side


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One evalset's sides, each with what is left to do for it."""

    cases: Sequence[Case]
    scorers: Scorers
    sides: Sequence[Side]
    """The candidate's first."""
    against: Side | None = None
    """Whose answers the candidate's are set against, where a scorer does that."""
    pairs: int = 0
    """Pairs of answers to score, of those that are there already."""

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model that may be asked, by a target or by a judge."""
        return self._asked(self.sides)

    @property
    def due(self) -> tuple[Model, ...]:
        """Those that will be asked for something."""
        return self._asked([side for side in self.sides if side.missing]) if self.todo else ()

    def _asked(self, sides: Sequence[Side]) -> tuple[Model, ...]:
        judges = [bound.judge for bound in self.scorers.all if bound.judge]
        asked = [*(side.target.model for side in sides), *(m for j in judges for m in j.models)]
        return tuple({model.name: model for model in asked}.values())

    @property
    def todo(self) -> int:
        """Trials to make, draws to score again, and pairs to score."""
        return self.pairs + sum(len(side.missing) + len(side.rescore) for side in self.sides)


OFFLINE = Failure(
    kind=FailureKind.NOT_ATTEMPTED, message="not called: --offline, and no result is held"
)


@dataclass(kw_only=True)
class EvalsetRun:
    """One evalset's sides, candidate first, and what is left to do for them."""

    contest: PromptComparison
    round: EvalsetSelection
    scorers: Scorers
    candidate: Side
    others: dict[str, Side]
    """By role: `baseline`, and `anchor v3` for each anchor of the policy."""
    removed: tuple[str, ...] = ()
    """Cases of the baseline's evidence that this evalset no longer has."""
    own_baseline: Side | None = None
    """The candidate's own baseline trials, made where evidence for a version is measured: then
    every side draws every case, so that the evidence stands on its own."""
    confirming: Side | None = None
    """Further trials of the candidate for critical cases that a judge fails, where one judges."""
    unconfirmed: frozenset[int] = frozenset()
    """Positions of those cases."""
    rejudged: set[str] = field(default_factory=set)
    """Labels of the scorers whose scores were given anew in this run."""
    pairs: int = 0
    """Pairs of answers to score, of those that are there already."""
    look: int = 1
    notes: tuple[str, ...] = ()
    gating: tuple[GatingJudge, ...] = ()
    """The judges that gate, and what is known about them."""

    @property
    def policy(self) -> Policy:
        """What decides, with margins as they show through its judges where that is asked for."""
        return scaled(self.round.policy, shrinkage(self.gating, self.scorers.metrics))

    @property
    def sides(self) -> list[Side]:
        """All of them."""
        own = [self.own_baseline] if self.own_baseline else []
        confirming = [self.confirming] if self.unconfirmed and self.confirming else []
        return [self.candidate, *own, *self.others.values(), *confirming]

    @property
    def models_called(self) -> list[Model]:
        """The models that may be called for it: not those of sides that cannot be drawn here."""
        gone = [side.target.model for side in self.sides if side.unavailable is not None]
        return [model for model in self.work().models if not any(model is each for each in gone)]

    @property
    def against(self) -> Side | None:
        """Whose answers the candidate's are set against; None where no scorer does that."""
        return self.others.get("baseline") if self.scorers.paired else None

    def plan(self, asked: set[TrialKey]) -> None:
        """Finds what is missing beyond what is `asked` already; nothing is called."""
        for side in self.sides:
            if not side.requests:
                side.address(self.round.cases)
        for side in self.others.values():
            side.answered_alike = self._answered_alike(side)
        for side in self.sides:
            plan_side(
                side, self.round.cases, scorers=self.scorers, asked=asked, skip=self._alike(side)
            )
            side.fail_missing_trials()
        self.candidate.opposed = self.against is not None
        if self.against is not None:
            self.pairs = len(unset(self.candidate, self.against, self.round.cases, self.scorers))

    def work(self) -> Work:
        """What is left to do."""
        return Work(
            cases=self.round.cases,
            scorers=self.scorers,
            sides=self.sides,
            against=self.against,
            pairs=self.pairs,
        )

    def settle(self) -> None:
        """What was to be done is done, or among the failures: nothing is made twice."""
        self.pairs = 0
        self.scorers.outdated.clear()
        for side in self.sides:
            side.settle()

    def stay_offline(self, side: Side) -> None:
        """Gives up every missing trial of `side`: without a network they cannot be made."""
        side.failures.update(dict.fromkeys(chain(side.missing, side.shared), OFFLINE))
        side.missing, side.shared = (), ()

    def case_results(
        self,
        roles: Iterable[str] | None = None,
        *,
        positions: Sequence[int] | None = None,
        texts: bool = False,
    ) -> Iterator[CaseResult]:
        """Yield the cases at `positions` (default: all), those that were removed last.

        `roles` are the sides to read beside the candidate; default: all.
        """
        cases = self.round.cases
        if positions is None:
            positions = range(len(cases) + len(self.removed))
        there = [position for position in positions if position < len(cases)]

        def results(side: Side) -> Iterator[SideResult]:
            return side_results(side, cases, self.scorers, positions=there, texts=texts)

        others = dict(self.others)
        if self.own_baseline is not None:
            others[OWN_BASELINE] = self.own_baseline
        if roles is not None:
            others = {role: others[role] for role in roles if role in others}
        candidates = results(self.candidate)
        confirming: Iterator[SideResult | None] = repeat(None)
        if self.confirming is not None and self.unconfirmed:
            confirming = results(self.confirming)
        beside = {role: results(side) for role, side in others.items()}
        for position, candidate, more in zip(there, candidates, confirming, strict=False):
            case = cases[position]
            sides = {role: next(stream) for role, stream in beside.items()}
            for role, side in others.items():
                if side.evidence_only and not sides[role].planned:
                    del sides[role]  # the evidence that is compared with lacks the case
            yield CaseResult(
                case=case.id,
                prompt=self.contest.prompt,
                evalset=self.round.evalset.name,
                position=position,
                candidate=replace(candidate, confirm=more.trials) if more else candidate,
                baseline=sides.pop(BASELINE, None),
                others=sides,
                tags=case.tags,
                critical=case.critical,
                group=case.group,
                known_failing=case.known_failing,
                scorers=self.scorers.own_digests(case),
                inputs=case.inputs,
                expected=case.expected,
                contexts=case.contexts,
                messages=[message.plain() for message in case.messages] or None,
            )
        yield from (self._removed(position) for position in positions if position >= len(cases))

    def _removed(self, position: int) -> CaseResult:
        """The result of a case that the baseline was measured on and the evalset no longer has."""
        return CaseResult(
            case=self.removed[position - len(self.round.cases)],
            prompt=self.contest.prompt,
            evalset=self.round.evalset.name,
            position=position,
            candidate=None,
            baseline=SideResult(request="", facts="", planned=0),
        )

    def comparison(self, role: str = BASELINE) -> Comparison:
        """Compare the candidate with the side called `role`."""
        results = (
            case.against(case.sides.get(role))
            for case in self.case_results([role])
            if case.candidate is not None or role == BASELINE
        )
        return compare(results, self.scorers.metrics, same_target=self.contest.watch)

    def _alike(self, side: Side) -> frozenset[int]:
        if side is self.confirming:
            return frozenset(range(len(side.requests))) - self.unconfirmed
        if side is self.candidate or self.contest.watch or self.own_baseline:
            return frozenset()
        pairs = zip(side.requests, self.candidate.requests, strict=True)
        return frozenset(at for at, (theirs, ours) in enumerate(pairs) if theirs == ours)

    def _answered_alike(self, side: Side) -> frozenset[int]:
        """Cases that one and the same record answers in both sides, whatever they ask."""
        ours = self.candidate
        if side.recorded_in is None or side.records is None or side.recorded_in != ours.recorded_in:
            return frozenset()
        pairs = enumerate(zip(side.places, ours.places, strict=True))
        return frozenset(
            at
            for at, (their, our) in pairs
            if their and their == our and side.requests[at] != ours.requests[at]
        )
