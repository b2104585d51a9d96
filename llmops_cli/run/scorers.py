"""Answers set side by side: which answer of the baseline each trial of the candidate meets.

Draw n meets the baseline's draw n, around again where there are fewer. Where both sides make the
same request, an answer meets itself: that is a tie. What is asked for, and kept, are the
scores of such pairs.

Which scorers owe a case a score, and which of these scores are missing.

Scorers are bound once per evalset: the catalogue's row, the digest that is half of every score's
key, and the metric that reads the raw values. The code behind them is opened where a score is
missing (`desk`), so that a run that reuses everything imports none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

from llmops_cli.core.case import Case, Evalset, ScorerSpec
from llmops_cli.core.case_result import Metric
from llmops_cli.core.catalog import Catalog, ScorerKind
from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Results, ScoreKey
from llmops_cli.core.prompt import Judge
from llmops_cli.core.result import Completion, Score
from llmops_cli.plugins import scorer_digest, volatile
from llmops_cli.project.templates import Options, Templates
from llmops_cli.run.columns import TrialAt
from llmops_cli.run.side import Renders, Side, chunks


class AnswerPair(NamedTuple):
    """A draw of the candidate, its answer, and the answer that it meets."""

    at: TrialAt
    ours: Completion
    theirs: Completion


def meetings(candidate: Side, baseline: Side, cases: Sequence[Case]) -> Iterator[AnswerPair]:
    """Every draw of which both answers are there; notes on `candidate` what each meets."""
    for part in chunks(range(len(cases))):
        ours = candidate.completions(candidate.trials(part))
        theirs = baseline.completions(baseline.trials(part))
        for at, mine in ours.items():
            if at in candidate.failures:
                continue
            other = mine
            if candidate.requests[at.case] != baseline.requests[at.case]:
                numbers = baseline.wanted[at.case]
                meets = TrialAt(at.case, numbers[at.n % len(numbers)]) if numbers else None
                found = theirs.get(meets) if meets else None
                if not meets or found is None or meets in baseline.failures:
                    continue
                other = found
            candidate.beside[at] = other.digest
            yield AnswerPair(at, mine, other)


def unset(
    candidate: Side, baseline: Side, cases: Sequence[Case], scorers: Scorers
) -> list[AnswerPair]:
    """The pairs that lack a score: those that are there already."""
    lacking = []
    for met in meetings(candidate, baseline, cases):
        case = cases[met.at.case]
        keys = [bound.key(case, met.ours.digest, met.theirs.digest) for bound in scorers.paired]
        held = candidate.results.scores(keys)
        known = zip(scorers.paired, keys, strict=True)
        if not all(scorers.counts(bound, held, key) for bound, key in known):
            lacking.append(met)
    return lacking


FindJudge: TypeAlias = Callable[[ScorerKind, Mapping[str, Json]], Judge]
"""The judge of a judged scorer, by its options; raises `Refused`."""


def _nobody(kind: ScorerKind, _options: Mapping[str, Json]) -> Judge:
    raise Refused(f"nobody is here to judge for {kind.name!r}")


@dataclass(kw_only=True)
class BoundScorer:
    """One scorer spec, bound to the row of the catalogue that carries it out."""

    spec: ScorerSpec
    kind: ScorerKind
    digest: str
    label: str
    options: Options
    judge: Judge | None
    kept: bool
    """Whether its scores are stored: not of a live call's clock, nor of code without identity."""

    @cached_property
    def templates(self) -> Renders | None:
        """The judge's prompt, compiled where it is asked."""
        return Templates(self.judge.target.prompt) if self.judge else None

    def key(self, case: Case, output: str, beside: str | None = None) -> ScoreKey:
        """The store's key of this scorer's score of `output`, set against `beside`, on `case`."""
        if self.kind.paired:
            output = digest("llmops/pair/v1", [output, beside])
        return ScoreKey(self.digest, case.facts, output)

    @property
    def reading(self) -> str:
        """What is made of its raw values, in words."""
        spec, kind = self.spec, self.kind
        words = [
            "not" if spec.negate else "",
            "judged" if kind.judged else "",
            kind.unit if kind.unit != "pass" else "",
            f"≥ {spec.minimum:g}" if spec.minimum is not None else "",
            f"≤ {spec.maximum:g}" if spec.maximum is not None else "",
            "advisory" if spec.advisory else "",
        ]
        return " ".join(filter(None, words)) or "as it is"

    def metric(self, digests: Iterable[str]) -> Metric:
        """How its raw values are read; `digests` are those of all scorers under its label."""
        several = sorted(set(digests))
        return Metric(
            label=self.label,
            scorer=several[0] if len(several) == 1 else digest("llmops/scorers/v1", several),
            unit=self.kind.unit,
            minimum=self.spec.minimum,
            maximum=self.spec.maximum,
            negate=self.spec.negate,
            advisory=self.spec.advisory,
            judged=self.kind.judged,
            paired=self.kind.paired,
        )


def _told_apart(
    own: Mapping[str, tuple[BoundScorer, ...]],
) -> Mapping[str, tuple[BoundScorer, ...]]:
    """Single cases' scorers, labelled by their thresholds where one label has several.

    A metric reads all values under its label alike: `length` up to 10 on one case and up to 100
    on another are two metrics.
    """
    readings: dict[str, set[str]] = {}
    for bound in (each for bounds in own.values() for each in bounds):
        readings.setdefault(bound.label, set()).add(bound.reading)
    return {
        case: tuple(
            replace(bound, label=f"{bound.label} ({bound.reading})")
            if len(readings[bound.label]) > 1
            else bound
            for bound in bounds
        )
        for case, bounds in own.items()
    }


class Scorers:
    """The scorers of one evalset, those of single cases included."""

    def __init__(
        self,
        catalog: Catalog,
        evalset: Evalset,
        read: Callable[[str], bytes],
        judges: FindJudge = _nobody,
    ) -> None:
        self._catalogue = catalog
        self._read = read
        self._judges = judges
        self._shared = tuple(self._bind(spec) for spec in evalset.scorers)
        self.paired = tuple(each for each in self._shared if each.kind.paired)
        """Those that set the candidate's answer against the baseline's."""
        self._single = tuple(each for each in self._shared if not each.kind.paired)
        self._own = _told_apart(
            {case.id: self._bind_own(case) for case in evalset.cases if case.scorers}
        )
        self.metrics: Sequence[Metric] = self._metrics()
        self.outdated: dict[str, AbstractSet[str]] = {}
        """By label, the judges whose scores that are held do not count any more."""

    def counts(self, bound: BoundScorer, held: Mapping[ScoreKey, Score], key: ScoreKey) -> bool:
        """Whether the score of `key` is held, from a judge that still counts."""
        score = held.get(key)
        if score is None:
            return False
        return judge_of(score) not in self.outdated.get(bound.label, ())

    @property
    def all(self) -> tuple[BoundScorer, ...]:
        """Every scorer, those of single cases included."""
        return (*self._shared, *(each for own in self._own.values() for each in own))

    @property
    def judged_metrics(self) -> list[Metric]:
        """The metric of each judged scorer by itself."""
        return [bound.metric([bound.digest]) for bound in self.all if bound.kind.judged]

    @property
    def kinds(self) -> tuple[ScorerKind, ...]:
        """Every kind of scorer in use, once."""
        return tuple({each.kind.name: each.kind for each in self.all}.values())

    def code(self) -> list[tuple[str, str]]:
        """Label and project file of every scorer that runs the project's own code.

        What else it depends on is data, unless it is Python, which it may import.
        """
        return [
            (bound.label, str(path).partition(":")[0])
            for bound in self.all
            if bound.kind.code
            for option in bound.kind.files
            for path in _listed(bound.spec.options.get(option))
            if option == bound.kind.shorthand or path.endswith(".py")
        ]

    def due(self, case: Case, beside: str | None = None) -> tuple[BoundScorer, ...]:
        """Every scorer that owes an answer to `case` a score; `beside`: what it is set against."""
        single = self._single + self._own.get(case.id, ())
        return single if beside is None else single + self.paired

    def keys(self, case: Case, output: str, beside: str | None = None) -> list[ScoreKey]:
        """The store's keys of every score due on `output`."""
        return [bound.key(case, output, beside) for bound in self.due(case, beside) if bound.kept]

    @cached_property
    def by_label(self) -> Mapping[str, Metric]:
        """Return every metric by its label."""
        return {metric.label: metric for metric in self.metrics}

    def own_digests(self, case: Case) -> Mapping[str, str]:
        """Return, by label, the digests of the scorers of `case` that its metrics do not name."""
        metrics = self.by_label
        return {
            bound.label: bound.digest
            for bound in self.due(case)
            if bound.digest != metrics[bound.label].scorer
        }

    def _bind(self, spec: ScorerSpec, label: str | None = None) -> BoundScorer:
        kind = self._catalogue.scorers[spec.kind]
        judge = self._judges(kind, spec.options) if kind.judged else None
        return BoundScorer(
            spec=spec,
            kind=kind,
            digest=scorer_digest(kind, spec, self._read, judge=judge.digest if judge else None),
            judge=judge,
            label=label or spec.label,
            options=Options(spec, kind),
            kept=not kind.live and not volatile(kind, spec),
        )

    def _bind_own(self, case: Case) -> tuple[BoundScorer, ...]:
        taken = {bound.label for bound in self._shared}
        return tuple(
            self._bind(spec, f"{spec.label} (case)" if spec.label in taken else spec.label)
            for spec in case.scorers
        )

    @property
    def timed(self) -> bool:
        """Whether one of them asks for the time to the first token."""
        return any(
            each.kind.live and each.spec.options.get("of") == "first_token" for each in self.all
        )

    def _metrics(self) -> list[Metric]:
        by_label: dict[str, list[BoundScorer]] = {}
        for bound in self.all:
            by_label.setdefault(bound.label, []).append(bound)
        return [bounds[0].metric(each.digest for each in bounds) for bounds in by_label.values()]


def unscored_reason(side: Side, at: TrialAt, bound: BoundScorer) -> str:
    """Why a due score is not there."""
    reasons: Mapping[str, str] = side.unscored.get(at, {})
    if bound.label in reasons:
        return reasons[bound.label]
    if bound.kind.live:
        return "this answer was not called just now, so it has no latency; --no-cache calls again"
    if bound.kind.paired and at not in side.beside:
        return "the answer that it is set against was not given"
    return "not scored in this run"


def missing_scores(
    results: Results, wanted: Sequence[tuple[Case, str]], scorers: Scorers
) -> list[int]:
    """Positions in `wanted`, cases with their answers' digests, where a due score is not held
    and can be given without a call.
    """
    held = results.scores([key for each in wanted for key in scorers.keys(*each)])
    return [
        at
        for at, (case, output) in enumerate(wanted)
        if any(
            not scorers.counts(bound, held, bound.key(case, output))
            if bound.kept
            else not bound.kind.live
            for bound in scorers.due(case)
        )
    ]


def judge_of(score: Score) -> str | None:
    """The model that judged, as it calls itself; None: unknown, or nobody."""
    served = score.detail.get("judge")
    return served if isinstance(served, str) else None


def _listed(value: Json) -> list[str]:
    paths = value if isinstance(value, (list, tuple)) else [value]
    return [path for path in paths if isinstance(path, str)]
