"""One evalset of a prompt comparison, from the plan of its trials to what the gate compares.

Results are read from the store a few cases at a time and handed on at once. Texts are read only
where they are asked for. A trial that was planned and is not there is a failure with its cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import NamedTuple

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.policy import Policy, Verdict
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.prompt import Case, Model
from llmops_cli.core.records import EvalsetFacts
from llmops_cli.core.report import Spending
from llmops_cli.core.result import (
    BASELINE,
    CANDIDATE,
    OWN_BASELINE,
    Brief,
    CaseResult,
    Completion,
    Failure,
    FailureKind,
    Score,
    SideResult,
    Trial,
)
from llmops_cli.engine.budget import Budget
from llmops_cli.gate.calibration import GatingJudge, scaled, shrinkage
from llmops_cli.gate.comparison import Comparison, compare
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison, evalset_facts
from llmops_cli.run.scorers import BoundScorer, Scorers, judge_of
from llmops_cli.run.side import Side, TrialAt, chunks

CONFIRMING = "confirming"
NOT_CALLED = Failure(
    kind=FailureKind.NOT_ATTEMPTED, message="this trial was planned and not called"
)


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
    part: Sequence[int] | None = None
    """Positions of the cases of this shard; None: all."""
    look: int = 1
    notes: tuple[str, ...] = ()
    gating: tuple[GatingJudge, ...] = ()
    """The judges that gate, with their calibrations."""
    result: Comparison = field(init=False)
    """The candidate compared with the baseline, once that was measured."""

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
    def models_to_vet(self) -> tuple[Model, ...]:
        """Return the models that may be called: not those of sides that cannot be called here."""
        return self._called_by([side for side in self.sides if side.spec.unavailable is None])

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

    def judged_by(self, label: str) -> set[str]:
        """Return the models that judged under `label`, as they report themselves."""
        return {model for side in self.sides for model in side.state.judges.get(label, ())}

    @property
    def compared_with(self) -> Side | None:
        """Return the side whose answers paired scorers compare with; None: there are none."""
        return self.others.get(BASELINE) if self.scorers.paired else None

    def plan(self, requested: set[TrialKey]) -> None:
        """Find what is missing beyond what is `requested` already; nothing is called."""
        for side in self.sides:
            if not side.plan.requests:
                with self._rendering():
                    side.make_requests(self.cases)
        for side in self.others.values():
            side.plan.same_records = self._same_records(side)
        for side in self.sides:
            skip = self._same_requests(side)
            side.plan_trials(self.cases, scorers=self.scorers, requested=requested, skip=skip)
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
            answers = self.cases[pair.at.case], pair.candidate.digest, pair.baseline.digest
            keys = [(bound, bound.key(*answers)) for bound in self.scorers.paired]
            stored = self.candidate.spec.results.scores(key for _, key in keys)
            if not all(self.scorers.counts(bound, stored, key) for bound, key in keys):
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
        for positions in chunks(range(len(self.cases)) if self.part is None else self.part):
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

    @contextmanager
    def _rendering(self) -> Iterator[None]:
        """Raise `Refused` if the cases of the base revision no longer fit the prompt."""
        try:
            yield
        except InvalidFiles as error:
            if self.selection.base_of is None:
                raise
            raise Refused(
                f"{self.comparison.candidate.name} can't be measured on {self.name}, whose cases "
                f"decide as well because this change alters them: {error.problems[0]}",
                hint="first merge a change of the cases alone, with the old and the new inputs "
                "(the prompt may declare inputs that it doesn't use yet)",
            ) from error

    def _called_by(self, sides: Sequence[Side]) -> tuple[Model, ...]:
        judges = [bound.judge for bound in self.scorers.all if bound.judge]
        models = [side.spec.target.model for side in sides]
        models += (model for judge in judges for model in judge.models)
        unique: list[Model] = []  # two sides may call different models under one alias
        for model in models:
            unique += [] if model in unique else [model]
        return tuple(unique)

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


@dataclass(kw_only=True)
class Run:
    """Evalset runs, what was measured for them, and the gate's answer."""

    evalset_runs: Sequence[EvalsetRun]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By the name of the candidate."""
    calls: int = 0
    cost: float | None = 0.0
    """US dollars; None: some of it is unpriced."""
    spent: dict[str, Spending] = field(default_factory=dict)
    """Of it, the calls of scorers, by role."""
    served: dict[str, str] = field(default_factory=dict)
    """The models that answered, as they report themselves, by the configured judge model."""
    partial: str | None = None
    """Why this run is partial: the filter or sample."""
    budget: Budget | None = None
    """The remaining budget."""
    interrupted: bool = False
    shard: Json = None
    """Of one shard, what its run file says in place of a report."""
    notes: list[str] = field(default_factory=list)

    @property
    def sides(self) -> Iterator[Side]:
        """Yield the sides of every evalset."""
        return (side for evalset_run in self.evalset_runs for side in evalset_run.sides)

    @property
    def kept(self) -> bool:
        """Whether every answer is stored for later runs."""
        return all(side.spec.results.kept for side in self.sides)

    @property
    def trials_called(self) -> int:
        """Return how many calls were made for trials, and not by scorers."""
        return self.calls - sum(spending.calls for spending in self.spent.values())

    @property
    def reused(self) -> int:
        """Return how many trials were answered from evidence or the store."""
        return sum(
            side.plan.planned - side.state.called - len(side.state.failures) for side in self.sides
        )

    @property
    def prompt_comparisons(self) -> list[PromptComparison]:
        """Return the comparison of each prompt, in the order of the run."""
        return list({id(run.comparison): run.comparison for run in self.evalset_runs}.values())

    def of(self, comparison: PromptComparison) -> Run:
        """Return this run of one prompt; `calls` are those of its sides, without judges."""
        evalset_runs = self.evalsets_of(comparison)
        name = comparison.candidate.name
        calls = sum(side.state.called for item in evalset_runs for side in item.sides)
        return replace(
            self, evalset_runs=evalset_runs, verdicts={name: self.verdicts[name]}, calls=calls
        )

    def evalsets_of(self, comparison: PromptComparison) -> list[EvalsetRun]:
        """Return the evalsets of one prompt."""
        return [run for run in self.evalset_runs if run.comparison is comparison]


def plan_trials(evalset_runs: Iterable[EvalsetRun]) -> None:
    """Plan the trials of all evalsets: equal requests are made once."""
    requested: set[TrialKey] = set()
    for evalset_run in evalset_runs:
        evalset_run.plan(requested)


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
        stored = side.spec.results.scores(keys)
        for position, case in read.items():
            trials = side.plan.trials([position])
            yield SideResult(
                request=side.plan.requests[position],
                facts=case.facts,
                planned=len(trials),
                trials=tuple(
                    _trial(side, scorers, stored, at, case, answers.get(at)) for at in trials
                ),
            )


def with_text(trial: Trial, answer: Completion) -> Trial:
    """Return `trial` with the text of its answer."""
    return replace(
        trial,
        text=answer.text,
        tool_calls=[[call.name, call.arguments] for call in answer.tool_calls] or None,
        contexts=answer.contexts,
    )


def _trial(
    side: Side,
    scorers: Scorers,
    stored: Mapping[ScoreKey, Score],
    at: TrialAt,
    case: Case,
    answer: Completion | Brief | None,
) -> Trial:
    """Combine an answer, its scores (of this run, or `stored`) and the outcomes of this run."""
    state = side.state
    due = scorers.due(case) + (scorers.paired if state.needs_pairs else ())
    failure = state.failures.get(at)  # of this run: it counts before an answer that was stored
    if failure is not None or answer is None:
        return Trial(failure=failure or NOT_CALLED, scores={bound.label: None for bound in due})
    brief = answer.brief if isinstance(answer, Completion) else answer
    compared_with = state.compared_with.get(at)
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for bound in due:
        score = state.scores.get(at, {}).get(bound.label)
        if bound.stored and (compared_with is not None or not bound.kind.paired):
            score = stored.get(bound.key(case, brief.digest, compared_with), score)
        if score is not None and bound.judge is not None and (served := judge_of(score)):
            state.judges.setdefault(bound.label, set()).add(served)
        values[bound.label] = score.value if score else None
        reasons[bound.label] = score.reason if score else _why_unscored(side, at, bound)
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


def _why_unscored(side: Side, at: TrialAt, bound: BoundScorer) -> str:
    reason = side.state.unscored.get(at, {}).get(bound.label)
    if reason is not None:
        return reason
    if bound.kind.live:
        return "this answer was not called just now, so it has no latency; --no-cache calls again"
    if bound.kind.paired and at not in side.state.compared_with:
        return "the answer that it is compared with is missing"
    return "not scored in this run"
