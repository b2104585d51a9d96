"""One evalset of a prompt comparison, from the plan of its trials to what the gate compares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import NamedTuple

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.policy import Policy
from llmops_cli.core.ports import TrialKey
from llmops_cli.core.prompt import Case, Model
from llmops_cli.core.records import EvalsetFacts
from llmops_cli.core.result import (
    BASELINE,
    CANDIDATE,
    OWN_BASELINE,
    CaseResult,
    Completion,
    SideResult,
)
from llmops_cli.gate.calibration import GatingJudge, scaled, shrinkage
from llmops_cli.gate.comparison import Comparison, compare
from llmops_cli.run.case_results import side_results
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import Side, TrialAt, chunks

CONFIRMING = "confirming"


class AnswerPair(NamedTuple):
    """A trial of the candidate, its answer, and the baseline's answer it is compared with."""

    at: TrialAt
    candidate: Completion
    baseline: Completion


@dataclass(kw_only=True)
class EvalsetRun:
    """One evalset with its sides and their remaining work."""

    comparison: PromptComparison
    selection: EvalsetSelection
    scorers: Scorers
    candidate: Side
    others: dict[str, Side]
    """By role: `baseline`, and `anchor v3` for each anchor of the policy."""
    removed: tuple[str, ...] = ()
    """Cases of the baseline's evidence that this evalset no longer has."""
    own_baseline: Side | None = None
    """The candidate's own baseline trials, run when evidence for a version is measured: then every
    side runs every case, so that the evidence is complete.
    """
    confirming: Side | None = None
    """Further trials of the candidate for critical cases that a judge fails, where one judges."""
    unconfirmed: frozenset[int] = frozenset()
    """Positions of those cases."""
    judged_again: set[str] = field(default_factory=set)
    """Labels of the scorers that rescored answers in this run."""
    unscored_pairs: int = 0
    """Pairs of stored answers that lack a paired score."""
    look: int = 1
    notes: tuple[str, ...] = ()
    gating: tuple[GatingJudge, ...] = ()
    """The judges that gate, with their calibrations."""

    @property
    def name(self) -> str:
        """Return the evalset's name."""
        return self.selection.evalset.name

    @property
    def cases(self) -> Sequence[Case]:
        """Return the selected cases."""
        return self.selection.cases

    @property
    def policy(self) -> Policy:
        """Return the policy, with margins scaled by the judges if it says `scale_margin`."""
        return scaled(self.selection.policy, shrinkage(self.gating, self.scorers.metrics))

    @property
    def roles(self) -> Mapping[str, Side]:
        """Return every side by its role, the candidate first."""
        own = {OWN_BASELINE: self.own_baseline} if self.own_baseline else {}
        confirming = {CONFIRMING: self.confirming} if self.unconfirmed and self.confirming else {}
        return {CANDIDATE: self.candidate, **own, **self.others, **confirming}

    @property
    def sides(self) -> list[Side]:
        """Return every side, the candidate first."""
        return list(self.roles.values())

    @property
    def models(self) -> tuple[Model, ...]:
        """Return every model that may be called, by a target or by a judge."""
        return self._called_by(self.sides)

    @property
    def models_to_vet(self) -> list[Model]:
        """Return the models that may be called: not those of sides that cannot be called here."""
        gone = [side.spec.target.model for side in self.sides if side.spec.unavailable is not None]
        return [model for model in self.models if not any(model is other for other in gone)]

    @property
    def models_due(self) -> tuple[Model, ...]:
        """Return the models that will be called for something."""
        if not self.todo:
            return ()
        return self._called_by([side for side in self.sides if side.plan.missing])

    @property
    def todo(self) -> int:
        """Return how many trials to call, trials to score again and pairs to score are left."""
        plans = [side.plan for side in self.sides]
        return self.unscored_pairs + sum(len(plan.missing) + len(plan.rescore) for plan in plans)

    @property
    def compared_with(self) -> Side | None:
        """Return the side whose answers paired scorers compare with; None: there are none."""
        return self.others.get(BASELINE) if self.scorers.paired else None

    def plan(self, requested: set[TrialKey]) -> None:
        """Find what is missing beyond what is `requested` already; nothing is called."""
        for side in self.sides:
            if not side.plan.requests:
                side.make_requests(self.cases)
        for side in self.others.values():
            side.plan.same_records = self._same_records(side)
        for side in self.sides:
            side.plan_trials(
                self.cases,
                scorers=self.scorers,
                requested=requested,
                skip=self._same_requests(side),
            )
        self.candidate.state.needs_pairs = self.compared_with is not None
        self.unscored_pairs = len(self.pairs_to_score())

    def finish(self) -> None:
        """Clear the remaining work: it is done, or recorded as failures."""
        self.unscored_pairs = 0
        self.scorers.outdated.clear()
        for side in self.sides:
            side.plan.finish()

    def pairs_to_score(self) -> list[AnswerPair]:
        """Return the pairs of stored answers that lack a score."""
        pairs = [] if self.compared_with is None else self._pairs(self.compared_with)
        lacking = []
        for pair in pairs:
            case = self.cases[pair.at.case]
            keys = [
                bound.key(case, pair.candidate.digest, pair.baseline.digest)
                for bound in self.scorers.paired
            ]
            stored = self.candidate.spec.results.scores(keys)
            bound_keys = zip(self.scorers.paired, keys, strict=True)
            if not all(self.scorers.counts(bound, stored, key) for bound, key in bound_keys):
                lacking.append(pair)
        return lacking

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
        cases = self.cases
        if positions is None:
            positions = range(len(cases) + len(self.removed))
        present = [position for position in positions if position < len(cases)]

        def results(side: Side) -> Iterator[SideResult]:
            return side_results(side, cases, self.scorers, positions=present, texts=texts)

        others = {
            role: side
            for role, side in self.roles.items()
            if role not in (CANDIDATE, CONFIRMING) and (roles is None or role in roles)
        }
        confirming: Iterator[SideResult | None] = repeat(None)
        if CONFIRMING in self.roles:
            confirming = results(self.roles[CONFIRMING])
        streams = {role: results(side) for role, side in others.items()}
        candidates = results(self.candidate)
        for position, candidate, more in zip(present, candidates, confirming, strict=False):
            case = cases[position]
            sides = {role: next(stream) for role, stream in streams.items()}
            for role, side in others.items():
                if side.spec.evidence_only and not sides[role].planned:
                    del sides[role]  # the evidence that is compared with lacks the case
            yield CaseResult(
                case=case.id,
                prompt=self.comparison.prompt,
                evalset=self.name,
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

    def compare(self, role: str = BASELINE) -> Comparison:
        """Compare the candidate with the side called `role`."""
        results = (
            case.against(case.sides.get(role))
            for case in self.case_results([role])
            if case.candidate is not None or role == BASELINE
        )
        return compare(results, self.scorers.metrics, same_target=self.comparison.watch)

    def facts(self) -> EvalsetFacts:
        """Return what the evalset asks of the prompt, as evidence and run files name it."""
        return evalset_facts(self.selection, self.scorers, look=self.look, gating=self.gating)

    def _removed(self, position: int) -> CaseResult:
        """Return a case that the baseline was measured on and the evalset no longer has."""
        return CaseResult(
            case=self.removed[position - len(self.cases)],
            prompt=self.comparison.prompt,
            evalset=self.name,
            position=position,
            candidate=None,
            baseline=SideResult(request="", facts="", planned=0),
        )

    def _pairs(self, baseline: Side) -> Iterator[AnswerPair]:
        """Yield every trial with both answers stored, and record what it is compared with.

        Trial n is compared with the baseline's trial n, starting over where there are fewer. Where
        both sides make the same request, an answer is compared with itself: that is a tie.
        """
        candidate = self.candidate
        for positions in chunks(range(len(self.cases))):
            ours = candidate.completions(candidate.plan.trials(positions))
            theirs = baseline.completions(baseline.plan.trials(positions))
            for at, answer in ours.items():
                if at in candidate.state.failures:
                    continue
                other: Completion | None = answer
                if candidate.plan.requests[at.case] != baseline.plan.requests[at.case]:
                    numbers = baseline.plan.trial_numbers[at.case]
                    match = TrialAt(at.case, numbers[at.n % len(numbers)]) if numbers else None
                    failed = match is None or match in baseline.state.failures
                    other = None if match is None or failed else theirs.get(match)
                if other is not None:
                    candidate.state.compared_with[at] = other.digest
                    yield AnswerPair(at, answer, other)

    def _called_by(self, sides: Sequence[Side]) -> tuple[Model, ...]:
        judges = [bound.judge for bound in self.scorers.all if bound.judge]
        models = [side.spec.target.model for side in sides]
        models += (model for judge in judges for model in judge.models)
        return tuple({model.name: model for model in models}.values())

    def _same_requests(self, side: Side) -> frozenset[int]:
        """Return the cases for which `side` needs no trials of its own."""
        if side is self.confirming:
            return frozenset(range(len(side.plan.requests))) - self.unconfirmed
        if side is self.candidate or self.comparison.watch or self.own_baseline:
            return frozenset()
        requests = zip(side.plan.requests, self.candidate.plan.requests, strict=True)
        return frozenset(
            position for position, (theirs, ours) in enumerate(requests) if theirs == ours
        )

    def _same_records(self, side: Side) -> frozenset[int]:
        """Return the cases that one record answers on both sides, for any request."""
        ours, theirs = self.candidate, side
        recorded = theirs.spec.recorded_in is not None and theirs.spec.records is not None
        if not recorded or theirs.spec.recorded_in != ours.spec.recorded_in:
            return frozenset()
        places = zip(theirs.plan.record_places, ours.plan.record_places, strict=True)
        return frozenset(
            position
            for position, (their_place, our_place) in enumerate(places)
            if their_place
            and their_place == our_place
            and theirs.plan.requests[position] != ours.plan.requests[position]
        )


def evalset_facts(
    selection: EvalsetSelection,
    scorers: Scorers,
    *,
    look: int = 1,
    gating: Sequence[GatingJudge] = (),
) -> EvalsetFacts:
    """Return what an evalset asks of a prompt: cases, scorers, policy and its `gating` judges."""
    due: list[Json] = [
        [case.id, case.facts, [bound.digest for bound in scorers.due(case)]]
        for case in selection.cases
    ]
    return EvalsetFacts(
        evalset=selection.evalset.name,
        digest=digest("llmops/evalset/v1", due),
        cases=len(selection.cases),
        policy=selection.policy,
        metrics=tuple(scorers.metrics),
        retired=selection.evalset.retired,
        look=look,
        shrinkage=shrinkage(gating, scorers.metrics),
    )
