"""One target on one evalset's cases: which draws a verdict needs of it, and what became of each.

An arm is columns, not objects: the digest of every case's request, the draws that are missing,
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
from llmops_cli.core.ports import DrawKey, Records, Results
from llmops_cli.core.prompt import Message, Request, Target
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind, Purpose, Score
from llmops_cli.run.columns import Digests, DrawAt, Draws

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
class Arm:
    """A target, the draws that are wanted of it, and the state of each.

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
    undrawable: str | None = None
    """Why it cannot be drawn here: what it was made with is not in this checkout. What is held of
    it counts."""
    records: Records | None = None
    """Where its answers are recorded: they are held, and nothing is called."""
    recorded_in: str | None = None
    """What names these records: one case has one answer in them, whichever arm asks."""
    answered_alike: frozenset[int] = frozenset()
    """Positions of cases whose only record is the answer of the other arm."""
    not_before: str | None = None
    not_after: str = "9999"
    """Where age matters, what is dated later does not count either: a clock ran ahead."""
    pools: bool = True
    """Whether further draws of the same request count too: a re-run adds draws, it never
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
    """Numbers of the draws of each case."""
    missing: Sequence[DrawAt] = ()
    """Draws to make."""
    shared: Sequence[DrawAt] = ()
    """Draws that an equal request, here or in another arm, makes for this one too."""
    rescore: Sequence[DrawAt] = ()
    """Draws whose completion is held and some score is not."""
    failures: dict[DrawAt, Failure] = field(default_factory=dict)
    unscored: dict[DrawAt, dict[str, str]] = field(default_factory=dict)
    """Why, by scorer label, for draws of this run that a scorer could not score."""
    latencies: dict[DrawAt, float] = field(default_factory=dict)
    """Seconds, for draws of this very run: what is reused has no latency."""
    first_tokens: dict[DrawAt, float] = field(default_factory=dict)
    """Seconds until the first token, for those that were streamed."""
    timed: bool = False
    """Whether something asks for the time to the first token: then answers are streamed."""
    passing_scores: dict[DrawAt, dict[str, Score]] = field(default_factory=dict)
    """Scores that are not stored, by scorer label: they live for this run."""
    judges: dict[str, set[str]] = field(default_factory=dict)
    """The models that judged its answers, by scorer label, as they call themselves."""
    opposed: bool = False
    """Whether every draw owes a score against the baseline's answer, also where one of the two
    answers is missing: nothing unmeasured drops out of a paired metric."""
    beside: dict[DrawAt, str] = field(default_factory=dict)
    """The digest of the baseline's answer that a draw is set against, where a scorer does that."""
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

    def key(self, at: DrawAt) -> DrawKey:
        """The store's key of a draw."""
        return DrawKey(self.requests[at.case], self.purpose, at.n)

    def completions(self, draws: Iterable[DrawAt]) -> Mapping[DrawAt, Completion]:
        """Those of `draws` whose answers are held and count."""
        if self.records is not None:
            places = ((at, self.places[at.case]) for at in draws)
            return {at: self.records.completion(place) for at, place in places if place}
        keys = [(at, self.key(at)) for at in draws]
        held = self.results.completions(key for _, key in keys)
        return {at: held[key] for at, key in keys if key in held and self.counts(held[key])}

    def briefs(self, draws: Iterable[DrawAt]) -> Mapping[DrawAt, Brief]:
        """`completions` without their texts."""
        if self.records is not None:
            wanted = [at for at in draws if self.places[at.case]]
            found = self.records.briefs(self.places[at.case] for at in wanted)
            return dict(zip(wanted, found, strict=True))
        keys = [(at, self.key(at)) for at in draws]
        held = self.results.briefs(key for _, key in keys)
        return {at: held[key] for at, key in keys if key in held and self.counts(held[key])}

    def draws(self, positions: Sequence[int]) -> list[DrawAt]:
        """Every wanted draw of the cases at `positions`."""
        return [DrawAt(case, n) for case in positions for n in self.wanted[case]]

    def counts(self, completion: Completion | Brief) -> bool:
        """Whether a stored completion is young enough to be used."""
        return self.not_before is None or self.not_before <= (completion.at or "") <= self.not_after

    def unanswerable(self, case: Case, position: int) -> bool:
        """Records a failure for each draw that a replayed file has no answer to."""
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
        for at in self.draws([position]):
            self.failures[at] = failure
        return True

    def give_up_undrawable(self) -> None:
        """Makes failures of the missing draws of an arm that cannot be drawn here."""
        if self.undrawable is not None:
            failure = Failure(kind=FailureKind.NOT_ATTEMPTED, message=self.undrawable, attempts=0)
            self.failures.update(dict.fromkeys(chain(self.missing, self.shared), failure))
            self.missing, self.shared = (), ()

    def cut_short(self, failure: Failure) -> None:
        """Records `failure` for each draw that was to be made in this run and was not."""
        for part in chunks(chain(self.missing, self.shared)):
            held = self.briefs(part)
            for at in part:
                if at not in held:
                    self.failures.setdefault(at, failure)

    def settle(self) -> None:
        """What was to be done is done, or among the failures: nothing is made twice."""
        self.missing, self.shared, self.rescore = Draws(), Draws(), Draws()

    def draw_anew(self, now: str) -> None:
        """Asks for every draw again: another model answered it under the same name."""
        self.not_before, self.renewed, self.pools = now, True, False
        self.failures.clear()

    @property
    def planned(self) -> int:
        """Draws in all."""
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
