"""One evalset of a contest, from its plan to the columns that the gate compares.

The candidate's draws are `gate` draws; the baseline's, and an anchor's, are `baseline` draws made
apart from the ones that let it pass (the winner's curse). Where both arms make the same
request, the baseline needs no draw: the same question has one answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain

from llmops_cli.core import row
from llmops_cli.core.policy import Latency, Policy
from llmops_cli.core.ports import DrawKey
from llmops_cli.core.prompt import Model
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.core.row import Row
from llmops_cli.files.template import Templates
from llmops_cli.flows.judge.instruments import Instrument, instruments, shrinkage, vet_judges
from llmops_cli.flows.run.arm import Arm
from llmops_cli.flows.run.before import cases_before, news, recalled, removed, watched
from llmops_cli.flows.run.contest import Contest, Round
from llmops_cli.flows.run.planning import plan_arm
from llmops_cli.flows.run.preferences import unset
from llmops_cli.flows.run.rows import rows
from llmops_cli.flows.run.scoring import Scorers
from llmops_cli.flows.run.vetting import (
    vet_commands,
    vet_job,
    vet_metrics,
    vet_models,
    vet_scorers,
)
from llmops_cli.flows.run.work import Work
from llmops_cli.flows.workspace import Contender, Workspace
from llmops_cli.gate.calibration import scaled
from llmops_cli.gate.compare import compare
from llmops_cli.gate.comparison import Comparison
from llmops_cli.gate.critical import JUDGED_DRAWS

BASELINE_REPEATS = 3
CONFIRMATIONS = JUDGED_DRAWS - 1
CENTURIES = 100_000
"""Days: older than any draw, and within the calendar."""
OFFLINE = Failure(
    kind=FailureKind.NOT_ATTEMPTED, message="not called: --offline, and no result is held"
)


@dataclass(kw_only=True)
class Pairing:
    """One evalset's arms, candidate first, and what is left to do for them."""

    contest: Contest
    round: Round
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
    gating: tuple[Instrument, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much to draw: `fresh` takes nothing held, `own_baseline` is for evidence."""

    now: datetime
    fresh: bool = False
    own_baseline: bool = False
    for_this_run: bool = False
    """Whether what is drawn is forgotten afterwards: chosen cases that are drawn anew would have
    more draws than the others, and re-running the failures alone hides a loss (docs/verdict.md)."""

    @property
    def start(self) -> str:
        """What was answered earlier is not fresh."""
        return self.now.isoformat(timespec="milliseconds")


def pairings(workspace: Workspace, contest: Contest, depth: Depth) -> list[Pairing]:
    """The contest's evalsets, ready to be planned."""
    return [_timed(_pairing(workspace, contest, each, depth)) for each in contest.rounds]


def plan(workspace: Workspace, contests: Sequence[Contest], depth: Depth) -> list[Pairing]:
    """The evalsets of all contests, planned: a request that several make is made once."""
    planned = [each for contest in contests for each in pairings(workspace, contest, depth)]
    models = [model for pairing in planned for model in pairing.work().models]
    replaying = all(workspace.provider(model).offline for model in models)
    ci = vet_job(workspace.environ, replaying=replaying)
    for pairing in planned:
        trusted = workspace.rules.trust
        code = [each for each in pairing.drawn_from if workspace.provider(each).code]
        vet_models(code, trusted=trusted, ci=ci, environ=workspace.environ)
        started = workspace.commands(pairing.drawn_from)
        vet_commands(started, trusted=trusted, ci=ci, environ=workspace.environ)
        vet_scorers(pairing.scorers, trusted=trusted, ci=ci, environ=workspace.environ)
        vet_metrics(pairing.scorers, pairing.round.policy)
    asked: set[DrawKey] = set()
    for pairing in planned:
        pairing.plan(asked)
    return planned


def vetted(planned: list[Pairing]) -> list[Pairing]:
    """`planned`, whose judges may all gate. Raises `Refused`."""
    for each in planned:
        vet_judges(each.gating, each.round.policy)
    return planned


def _pairing(workspace: Workspace, contest: Contest, this: Round, depth: Depth) -> Pairing:
    start = depth.start if depth.fresh else None
    candidate = _arm(workspace, contest.candidate, "candidate", repeats=this.evalset.repeats)
    candidate.not_before, candidate.fresh = start, depth.fresh
    candidate.pools = candidate.pools and not contest.watch
    before = cases_before(workspace, contest, this)
    others = dict(_others(workspace, contest, this, depth))
    if contest.watch:
        assert contest.baseline is not None
        watched(workspace, others["baseline"], contest.baseline, this, before)
    own = None
    if depth.own_baseline:
        repeats = _repeats(workspace, contest.candidate, this)
        own = _arm(workspace, contest.candidate, "own baseline", repeats=repeats)
        own.not_before, own.fresh = start, depth.fresh
    scorers = workspace.scorers(this.evalset)
    confirming = None
    if any(metric.judged and metric.counts for metric in scorers.metrics):
        confirming = _arm(workspace, contest.candidate, "confirming", repeats=CONFIRMATIONS)
        confirming.purpose, confirming.pools = "confirm", False
        confirming.not_before, confirming.fresh = start, depth.fresh
    if any(kind.live for kind in scorers.kinds):
        for arm in (candidate, *others.values()):
            arm.pools = False  # earlier draws have no latency: pooled, they would lack a score
    if depth.for_this_run:
        for arm in filter(None, (candidate, confirming, *others.values())):
            if not arm.evidence_only:
                arm.results = workspace.volatile
    here = {case.id: case.facts for case in this.evalset.cases} if before else {}
    return Pairing(
        contest=contest,
        round=this,
        scorers=scorers,
        candidate=candidate,
        others=others,
        own_baseline=own,
        confirming=confirming,
        removed=tuple(removed(workspace, contest, this, before)),
        notes=tuple(news(before, here, watch=contest.watch)),
        gating=instruments(workspace.root, this.evalset.name, scorers, this.policy),
    )


def _timed(each: Pairing) -> Pairing:
    """`each`; its answers are streamed where something asks for the time to the first token."""
    rules = each.round.policy.rules
    asked = any(isinstance(rule, Latency) and rule.of == "first_token" for rule in rules)
    if asked or each.scorers.timed:
        for arm in filter(None, (*each.arms, each.confirming)):
            arm.timed = True
    return each


def _others(
    workspace: Workspace, contest: Contest, this: Round, depth: Depth
) -> Iterator[tuple[str, Arm]]:
    """What the candidate is compared with, by role."""
    named = {f"anchor {version}": each for version, each in contest.anchors.items()}
    if contest.baseline is not None:
        named = {"baseline": contest.baseline, **named}
    for role, contender in named.items():
        arm = _arm(workspace, contender, role, repeats=_repeats(workspace, contender, this))
        if depth.fresh and arm.undrawable is None:
            arm.not_before, arm.fresh = depth.start, True
        elif not workspace.provider(contender.target.model).deterministic:
            oldest = depth.now - timedelta(days=min(this.policy.baseline_max_age, CENTURIES))
            arm.not_before = oldest.isoformat()
            if arm.undrawable is not None:
                days = this.policy.baseline_max_age
                arm.undrawable += f", or none of the last {days} days (`baseline_max_age`)"
        if not contest.watch:
            recalled(workspace, arm, contender, this)
        yield role, arm


def _repeats(workspace: Workspace, contender: Contender, this: Round) -> int:
    """Baseline draws per case: one answer stands for all where it is always the same."""
    steady = workspace.provider(contender.target.model).deterministic
    return this.policy.baseline_repeats or (1 if steady else BASELINE_REPEATS)


def _arm(workspace: Workspace, contender: Contender, role: str, *, repeats: int) -> Arm:
    model = contender.target.model
    return Arm(
        name=contender.name,
        role=role,
        target=contender.target,
        templates=Templates(contender.target.prompt),
        documents=workspace.documents(contender.target),
        undrawable=contender.undrawable,
        results=workspace.results_of(model),
        records=workspace.records(model, at_base=contender.at_base),
        recorded_in=workspace.recorded_in(model, at_base=contender.at_base),
        purpose="gate" if role == "candidate" else "baseline",
        repeats=repeats,
        pools=not workspace.provider(model).deterministic,
    )


def gone(case: str) -> Row:
    """The row of a case that the baseline was measured on and the evalset no longer has."""
    return Row(case=case, candidate=None, baseline=row.Arm(request="", facts="", planned=0))
