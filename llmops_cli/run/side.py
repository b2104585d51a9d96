"""One target on one evalset's cases: which trials a verdict needs of it, and what became of each.

A side is columns, not objects: the digest of every case's request, the trials that are missing,
and what this run could not measure. Everything measured lives in the store, by key, so that a
run killed at any moment goes on where it stopped.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Protocol, TypeVar

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Records, Results, TrialKey
from llmops_cli.core.prompt import Message, Request, Target
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind, Purpose, Score
from llmops_cli.run.columns import Digests, TrialAt, Trials

CHUNK = 64
"""Cases whose results are read together: enough to make SQLite fast, few enough to stay small."""

T = TypeVar("T")


class Renders(Protocol):
    """A prompt's compiled templates."""

    def messages(self, case: Case) -> tuple[Message, ...]: ...


class Hands(Protocol):
    """What an application is handed for a case, beside whatever its messages are."""

    def document(self, case: Case, messages: Sequence[Message]) -> Mapping[str, Json]: ...


@dataclass(kw_only=True)
class Side:
    """A target, the trials that are wanted of it, and the state of each.

    `not_before`: completions older than this UTC time (ISO 8601) do not count as held.
    """

    name: str
    role: str
    target: Target
    templates: Renders
    results: Results
    purpose: Purpose
    repeats: int
    documents: Hands | None = None
    """Where the target is an application."""
    unavailable: str | None = None
    """Why it cannot be drawn here: what it was made with is not in this checkout. What is held of
    it counts."""
    records: Records | None = None
    """Where its answers are recorded: they are held, and nothing is called."""
    recorded_in: str | None = None
    """What names these records: one case has one answer in them, whichever side asks."""
    answered_alike: frozenset[int] = frozenset()
    """Positions of cases whose only record is the answer of the other side."""
    not_before: str | None = None
    not_after: str = "9999"
    """Where age matters, what is dated later does not count either: a clock ran ahead."""
    pools: bool = True
    """Whether further trials of the same request count too: a re-run adds draws, it never
    replaces them (docs/verdict.md). Not where the question is whether answers changed."""
    fresh: bool = False
    """Whether nothing held counts until it has been drawn anew."""
    renewed: bool = False
    """Whether it was drawn anew in this run, because another model had answered it."""
    evidence_only: bool = False
    """Whether it is what the evidence holds and is never drawn: the question is whether answers
    are still what they were."""
    requests: Digests = field(default_factory=Digests)
    """Request digest per case."""
    places: array[int] = field(default_factory=lambda: array("q"))
    """Place of each case's answer among the `records`; 0: there is none."""
    wanted: list[tuple[int, ...]] = field(default_factory=list)
    """Numbers of the trials of each case."""
    missing: Sequence[TrialAt] = ()
    """Trials to make."""
    shared: Sequence[TrialAt] = ()
    """Trials that an equal request, here or in another side, makes for this one too."""
    rescore: Sequence[TrialAt] = ()
    """Trials whose completion is held and some score is not."""
    failures: dict[TrialAt, Failure] = field(default_factory=dict)
    unscored: dict[TrialAt, dict[str, str]] = field(default_factory=dict)
    """Why, by scorer label, for trials of this run that a scorer could not score."""
    latencies: dict[TrialAt, float] = field(default_factory=dict)
    """Seconds, for trials of this very run: what is reused has no latency."""
    first_tokens: dict[TrialAt, float] = field(default_factory=dict)
    """Seconds until the first token, for those that were streamed."""
    timed: bool = False
    """Whether something asks for the time to the first token: then answers are streamed."""
    passing_scores: dict[TrialAt, dict[str, Score]] = field(default_factory=dict)
    """Scores that are not stored, by scorer label: they live for this run."""
    judges: dict[str, set[str]] = field(default_factory=dict)
    """The models that judged its answers, by scorer label, as they call themselves."""
    opposed: bool = False
    """Whether every trial owes a score against the baseline's answer, also where one of the two
    answers is missing: nothing unmeasured drops out of a paired metric."""
    beside: dict[TrialAt, str] = field(default_factory=dict)
    """The digest of the baseline's answer that a trial is set against, where a scorer does that."""
    called: int = 0

    def request(self, case: Case) -> Request:
        """The request that `case` makes; raises what the template raises."""
        messages = self.templates.messages(case)
        request = self.target.request(messages, document=self._document(case, messages))
        return replace(request, timed=True) if self.timed else request

    def address(self, cases: Iterable[Case]) -> None:
        """Fills `requests`: what cannot be rendered is known here, before any call."""
        for case in cases:
            messages = self.templates.messages(case)
            identity = None if self.records is None else self._place(self.records, case, messages)
            document = self._document(case, messages)
            request = self.target.request_digest(messages, identity=identity, document=document)
            self.requests.append(request)

    def key(self, at: TrialAt) -> TrialKey:
        """The store's key of a trial."""
        return TrialKey(self.requests[at.case], self.purpose, at.n)

    def completions(self, trials: Iterable[TrialAt]) -> Mapping[TrialAt, Completion]:
        """Those of `draws` whose answers are held and count."""
        if self.records is not None:
            places = ((at, self.places[at.case]) for at in trials)
            return {at: self.records.completion(place) for at, place in places if place}
        keys = [(at, self.key(at)) for at in trials]
        held = self.results.completions(key for _, key in keys)
        return {at: held[key] for at, key in keys if key in held and self.counts(held[key])}

    def briefs(self, trials: Iterable[TrialAt]) -> Mapping[TrialAt, Brief]:
        """`completions` without their texts."""
        if self.records is not None:
            wanted = [at for at in trials if self.places[at.case]]
            found = self.records.briefs(self.places[at.case] for at in wanted)
            return dict(zip(wanted, found, strict=True))
        keys = [(at, self.key(at)) for at in trials]
        held = self.results.briefs(key for _, key in keys)
        return {at: held[key] for at, key in keys if key in held and self.counts(held[key])}

    def trials(self, positions: Sequence[int]) -> list[TrialAt]:
        """Every wanted draw of the cases at `positions`."""
        return [TrialAt(case, n) for case in positions for n in self.wanted[case]]

    def counts(self, completion: Completion | Brief) -> bool:
        """Whether a stored completion is young enough to be used."""
        return self.not_before is None or self.not_before <= (completion.at or "") <= self.not_after

    def unanswerable(self, case: Case, position: int) -> bool:
        """Records a failure for each trial that a replayed file has no answer to."""
        if self.records is None:
            return False
        file = self.target.model.options.get("file", self.target.model.name)
        if not self.places[position]:
            why = f"{file} holds no answer to case {case.id!r}: record one there"
        elif position in self.answered_alike:
            why = (
                f"{file} holds one answer to case {case.id!r} for both arms, which compares "
                "nothing: record each arm in a file of its own"
            )
        else:
            return False
        failure = Failure(kind=FailureKind.NO_RECORD, message=why)
        for at in self.trials([position]):
            self.failures[at] = failure
        return True

    def fail_missing_trials(self) -> None:
        """Makes failures of the missing trials of a side that cannot be drawn here."""
        if self.unavailable is not None:
            failure = Failure(kind=FailureKind.NOT_ATTEMPTED, message=self.unavailable, attempts=0)
            self.failures.update(dict.fromkeys(chain(self.missing, self.shared), failure))
            self.missing, self.shared = (), ()

    def cut_short(self, failure: Failure) -> None:
        """Records `failure` for each trial that was to be made in this run and was not."""
        for part in chunks(chain(self.missing, self.shared)):
            held = self.briefs(part)
            for at in part:
                if at not in held:
                    self.failures.setdefault(at, failure)

    def settle(self) -> None:
        """What was to be done is done, or among the failures: nothing is made twice."""
        self.missing, self.shared, self.rescore = Trials(), Trials(), Trials()

    def rerun(self, now: str) -> None:
        """Asks for every trial again: another model answered it under the same name."""
        self.not_before, self.renewed, self.pools = now, True, False
        self.failures.clear()

    @property
    def planned(self) -> int:
        """Trials in all."""
        return sum(map(len, self.wanted))

    def _document(self, case: Case, messages: tuple[Message, ...]) -> Mapping[str, Json] | None:
        """What the application is handed; None for a model."""
        return None if self.documents is None else self.documents.document(case, messages)

    def _place(self, records: Records, case: Case, messages: tuple[Message, ...]) -> str:
        """Notes where the answer to `case` is recorded; returns what names it."""
        found = records.find(case.id, self.target.request(messages))
        self.places.append(0 if found is None else found.place)
        return f"no record of {case.id}" if found is None else found.identity


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """`items` in lists of at most `size`."""
    stream = iter(items)
    while part := list(islice(stream, size)):
        yield part
