"""Find the scorers that apply to a case, and the scores that are missing.

Scorers are bound once per evalset: the catalog's row, the digest that is half of every score's
key, and the metric that reads the raw values. The code behind them is opened where a score is
missing, so that a run that reuses everything imports none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Protocol, TypeVar

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import Location, Refused
from llmops_cli.core.ports import Catalog, ScoreKey, ScorerKind
from llmops_cli.core.prompt import Case, Evalset, Judge, ScorerSpec
from llmops_cli.core.result import Metric, Score
from llmops_cli.plugins.catalog import scorer_digest, volatile
from llmops_cli.project.templates import Options, Templates
from llmops_cli.stores.results import ResultsStore
from llmops_cli.stores.sources import OWN

T = TypeVar("T")


class ReadFile(Protocol):
    """Reads a project file that a scorer names."""

    def __call__(self, path: str, *, code: bool) -> bytes: ...


@dataclass(kw_only=True)
class BoundScorer:
    """One scorer spec, bound to its row in the catalog."""

    spec: ScorerSpec
    kind: ScorerKind
    digest: str
    label: str
    options: Options
    judge: Judge | None
    stored: bool
    """Whether its scores are stored: not of a live call's clock, nor of code without identity, nor
    of a judge or code that the base revision lacks."""
    source: str = OWN
    """What its scores are stored as being from."""

    @cached_property
    def templates(self) -> Templates | None:
        """Return the judge's prompt, compiled where it is called."""
        return Templates(self.judge.target.prompt) if self.judge else None

    def key(self, case: Case, output: str, compared_with: str | None = None) -> ScoreKey:
        """Return the store's key of this scorer's score of `output` on `case`."""
        if self.kind.paired:
            output = digest("llmops/pair/v1", [output, compared_with])
        return ScoreKey(self.digest, case.facts, output)

    @property
    def reading(self) -> str:
        """Return the metric that reads its raw values."""
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
        """Return how its values are read; `digests` are those of all scorers under its label."""
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


class Scorers:
    """The scorers of one evalset, those of single cases included."""

    def __init__(
        self,
        catalog: Catalog,
        evalset: Evalset,
        read: ReadFile,
        judges: Callable[[ScorerKind, Mapping[str, Json]], Judge],
        source: Callable[[ScorerKind, Judge | None], str | None] = lambda _kind, _judge: OWN,
    ) -> None:
        """Bind the scorers of `evalset`.

        `source` returns what the scores of a scorer are from; None: they are not stored.
        """
        self._catalog = catalog
        self._read = read
        self._judges = judges
        self._source = source
        shared = tuple(self._bind(spec, spec.label) for spec in evalset.scorers)
        taken = {bound.label for bound in shared}
        self.paired = tuple(bound for bound in shared if bound.kind.paired)
        """Those that compare the candidate's answer with the baseline's."""
        self._single = tuple(bound for bound in shared if not bound.kind.paired)
        self._own = _with_own_labels(
            {
                case.id: [
                    self._bind(spec, f"{spec.label} (case)" if spec.label in taken else spec.label)
                    for spec in case.scorers
                ]
                for case in evalset.cases
                if case.scorers
            }
        )
        self.all = (*shared, *chain.from_iterable(self._own.values()))
        """Every scorer, those of single cases included."""
        by_label: dict[str, list[BoundScorer]] = {}
        for bound in self.all:
            by_label.setdefault(bound.label, []).append(bound)
        self.by_label = {
            label: same_label[0].metric(bound.digest for bound in same_label)
            for label, same_label in by_label.items()
        }
        """Every metric by its label."""
        self.outdated: dict[str, AbstractSet[str]] = {}
        """By label, the judges whose stored scores are no longer valid."""

    def counts(self, bound: BoundScorer, stored: Mapping[ScoreKey, Score], key: ScoreKey) -> bool:
        """Whether a valid score of `key` is stored."""
        score = stored.get(key)
        return score is not None and judge_of(score) not in self.outdated.get(bound.label, ())

    @property
    def kinds(self) -> tuple[ScorerKind, ...]:
        """Return every kind of scorer in use, once."""
        return tuple({bound.kind.name: bound.kind for bound in self.all}.values())

    @property
    def judged_metrics(self) -> list[Metric]:
        """Return the metric of each judged scorer by itself."""
        return [bound.metric([bound.digest]) for bound in self.all if bound.kind.judged]

    @property
    def metrics(self) -> Sequence[Metric]:
        """Return every metric, in the order of the evalset."""
        return tuple(self.by_label.values())

    @property
    def timed(self) -> bool:
        """Whether one of them needs the time to the first token."""
        return any(
            bound.kind.live and bound.spec.options.get("of") == "first_token" for bound in self.all
        )

    def code(self) -> list[tuple[BoundScorer, str]]:
        """Return every scorer that runs the project's own code, with its project file.

        What else it depends on is data, unless it is Python, which it may import.
        """
        return [
            (bound, str(path).partition(":")[0])
            for bound in self.all
            if bound.kind.code
            for option in bound.kind.files
            for path in _paths(bound.spec.options.get(option))
            if option == bound.kind.shorthand or path.endswith(".py")
        ]

    def files(self) -> set[str]:
        """Return the project files that scorers name."""
        return {
            path.partition(":")[0]
            for bound in self.all
            for option in bound.kind.files
            for path in _paths(bound.spec.options.get(option))
        }

    def place(self, label: str) -> Location | None:
        """Return the line of the first scorer under `label`."""
        return next((bound.spec.where for bound in self.all if bound.label == label), None)

    def due(self, case: Case, compared_with: str | None = None) -> tuple[BoundScorer, ...]:
        """Return the scorers that apply to `case`; `paired` adds those that compare two answers."""
        single = self._single + self._own.get(case.id, ())
        return single if compared_with is None else single + self.paired

    def keys(self, case: Case, output: str, compared_with: str | None = None) -> list[ScoreKey]:
        """Return the store's keys of every score due on `output`."""
        return [
            bound.key(case, output, compared_with)
            for bound in self.due(case, compared_with)
            if bound.stored
        ]

    def own_digests(self, case: Case) -> Mapping[str, str]:
        """Return, by label, the digests of the scorers of `case` that its metrics do not name."""
        return {
            bound.label: bound.digest
            for bound in self.due(case)
            if bound.digest != self.by_label[bound.label].scorer
        }

    def _bind(self, spec: ScorerSpec, label: str) -> BoundScorer:
        kind = self._catalog.scorers[spec.kind]
        judge = self._judges(kind, spec.options) if kind.judged else None
        lasting = not kind.live and not volatile(kind, spec)
        source = self._source(kind, judge) if lasting else None
        try:
            read = partial(self._read, code=kind.code)
            named = scorer_digest(kind, spec, read, judge=judge.digest if judge else None)
        except Refused as error:  # its library is not installed
            error.at(spec.where)
            raise
        return BoundScorer(
            spec=spec,
            kind=kind,
            digest=named,
            judge=judge,
            label=label,
            options=Options(spec, kind),
            stored=source is not None,
            source=OWN if source is None else source,
        )


def _with_own_labels(
    own: Mapping[str, Sequence[BoundScorer]],
) -> Mapping[str, tuple[BoundScorer, ...]]:
    """Label single cases' scorers by their thresholds, where one label has several.

    A metric reads all values under its label alike: `length` up to 10 on one case and up to 100
    on another are two metrics.
    """
    readings: dict[str, set[str]] = {}
    for bound in chain.from_iterable(own.values()):
        readings.setdefault(bound.label, set()).add(bound.reading)
    return {
        case: tuple(
            replace(bound, label=f"{bound.label} ({bound.reading})")
            if len(readings[bound.label]) > 1
            else bound
            for bound in scorers
        )
        for case, scorers in own.items()
    }


def missing_scores(
    results: ResultsStore, answers: Mapping[T, tuple[Case, str]], scorers: Scorers
) -> set[T]:
    """Return the keys of `answers` where a due score is not stored and needs no call.

    `answers` are cases with the output digests of their answers.
    """
    due = answers.values()
    stored = results.scores([key for case, output in due for key in scorers.keys(case, output)])
    return {
        name
        for name, (case, output) in answers.items()
        if any(
            not scorers.counts(bound, stored, bound.key(case, output))
            if bound.stored
            else not bound.kind.live
            for bound in scorers.due(case)
        )
    }


def judge_of(score: Score) -> str | None:
    """Return the model that judged, as it calls itself; None: unknown, or none did."""
    served = score.detail.get("judge")
    return served if isinstance(served, str) else None


def _paths(value: Json) -> list[str]:
    paths = value if isinstance(value, (list, tuple)) else [value]
    return [path for path in paths if isinstance(path, str)]
