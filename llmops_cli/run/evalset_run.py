"""What is left to do for one evalset.

One evalset of a contest, from its plan to the columns that the gate compares.

Where both arms make the same request, the baseline needs no draw: the same question has one answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from llmops_cli.core import case_result as row
from llmops_cli.core.case import Case
from llmops_cli.core.case_result import Row
from llmops_cli.core.policy import Policy
from llmops_cli.core.ports import DrawKey
from llmops_cli.core.prompt import Model
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.gate.calibration import scaled
from llmops_cli.gate.compare import compare
from llmops_cli.gate.comparison import Comparison
from llmops_cli.judges.gating import GatingJudge, shrinkage
from llmops_cli.run.case_results import rows
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.scorers import Scorers, unset
from llmops_cli.run.side import Arm
from llmops_cli.run.trial_plan import plan_arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One evalset's arms, each with what is left to do for it."""

    cases: Sequence[Case]
    scorers: Scorers
    arms: Sequence[Arm]
    """The candidate's first."""
    against: Arm | None = None
    """Whose answers the candidate's are set against, where a scorer does that."""
    pairs: int = 0
    """Pairs of answers to score, of those that are there already."""

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model that may be asked, by a target or by a judge."""
        return self._asked(self.arms)

    @property
    def due(self) -> tuple[Model, ...]:
        """Those that will be asked for something."""
        return self._asked([arm for arm in self.arms if arm.missing]) if self.todo else ()

    def _asked(self, arms: Sequence[Arm]) -> tuple[Model, ...]:
        judges = [bound.judge for bound in self.scorers.all if bound.judge]
        asked = [*(arm.target.model for arm in arms), *(m for j in judges for m in j.models)]
        return tuple({model.name: model for model in asked}.values())

    @property
    def todo(self) -> int:
        """Draws to make, draws to score again, and pairs to score."""
        return self.pairs + sum(len(arm.missing) + len(arm.rescore) for arm in self.arms)


OFFLINE = Failure(
    kind=FailureKind.NOT_ATTEMPTED, message="not called: --offline, and no result is held"
)


@dataclass(kw_only=True)
class EvalsetRun:
    """One evalset's arms, candidate first, and what is left to do for them."""

    contest: PromptComparison
    round: EvalsetSelection
    scorers: Scorers
    candidate: Arm
    others: dict[str, Arm]
    """By role: `baseline`, and `anchor v3` for each anchor of the policy."""
    removed: tuple[str, ...] = ()
    """Cases of the baseline's evidence that this evalset no longer has."""
    own_baseline: Arm | None = None
    """The candidate's own baseline draws, made where evidence for a version is measured: then
    every arm draws every case, so that the evidence stands on its own."""
    confirming: Arm | None = None
    """Further draws of the candidate for critical cases that a judge fails, where one judges."""
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
        return scaled(self.round.policy, shrinkage(self.gating, self.scorers))

    @property
    def arms(self) -> list[Arm]:
        """All of them."""
        own = [self.own_baseline] if self.own_baseline else []
        confirming = [self.confirming] if self.unconfirmed and self.confirming else []
        return [self.candidate, *own, *self.others.values(), *confirming]

    @property
    def drawn_from(self) -> list[Model]:
        """The models that may be called for it: not those of arms that cannot be drawn here."""
        gone = [arm.target.model for arm in self.arms if arm.undrawable is not None]
        return [model for model in self.work().models if not any(model is each for each in gone)]

    @property
    def against(self) -> Arm | None:
        """Whose answers the candidate's are set against; None where no scorer does that."""
        return self.others.get("baseline") if self.scorers.paired else None

    def plan(self, asked: set[DrawKey]) -> None:
        """Finds what is missing beyond what is `asked` already; nothing is called."""
        for arm in self.arms:
            if not arm.requests:
                arm.address(self.round.cases)
        for arm in self.others.values():
            arm.answered_alike = self._answered_alike(arm)
        for arm in self.arms:
            plan_arm(
                arm, self.round.cases, scorers=self.scorers, asked=asked, skip=self._alike(arm)
            )
            arm.give_up_undrawable()
        self.candidate.opposed = self.against is not None
        if self.against is not None:
            self.pairs = len(unset(self.candidate, self.against, self.round.cases, self.scorers))

    def work(self) -> Work:
        """What is left to do."""
        return Work(
            cases=self.round.cases,
            scorers=self.scorers,
            arms=self.arms,
            against=self.against,
            pairs=self.pairs,
        )

    def settle(self) -> None:
        """What was to be done is done, or among the failures: nothing is made twice."""
        self.pairs = 0
        self.scorers.outdated.clear()
        for arm in self.arms:
            arm.settle()

    def stay_offline(self, arm: Arm) -> None:
        """Gives up every missing draw of `arm`: without a network they cannot be made."""
        arm.failures.update(dict.fromkeys(chain(arm.missing, arm.shared), OFFLINE))
        arm.missing, arm.shared = (), ()

    def rows(self, role: str = "baseline") -> Iterator[Row]:
        """One row per case: the candidate beside the arm called `role`, if there is one."""
        other = self.others.get(role)
        confirming = self.confirming if self.unconfirmed else None
        yield from rows(self.round.cases, self.candidate, other, self.scorers, confirming)
        if role == "baseline":
            yield from (gone(case) for case in self.removed)

    def comparison(self, role: str = "baseline") -> Comparison:
        """The candidate against the arm called `role`, as columns."""
        return compare(self.rows(role), self.scorers.metrics, same_target=self.contest.watch)

    def _alike(self, arm: Arm) -> frozenset[int]:
        if arm is self.confirming:
            return frozenset(range(len(arm.requests))) - self.unconfirmed
        if arm is self.candidate or self.contest.watch or self.own_baseline:
            return frozenset()
        pairs = zip(arm.requests, self.candidate.requests, strict=True)
        return frozenset(at for at, (theirs, ours) in enumerate(pairs) if theirs == ours)

    def _answered_alike(self, arm: Arm) -> frozenset[int]:
        """Cases that one and the same record answers in both arms, whatever they ask."""
        ours = self.candidate
        if arm.recorded_in is None or arm.records is None or arm.recorded_in != ours.recorded_in:
            return frozenset()
        pairs = enumerate(zip(arm.places, ours.places, strict=True))
        return frozenset(
            at
            for at, (their, our) in pairs
            if their and their == our and arm.requests[at] != ours.requests[at]
        )


def gone(case: str) -> Row:
    """The row of a case that the baseline was measured on and the evalset no longer has."""
    return Row(case=case, candidate=None, baseline=row.Arm(request="", facts="", planned=0))
