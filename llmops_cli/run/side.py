"""One target on the cases of one evalset: the trials it needs and their outcomes.

A side has three parts: its spec, which does not change during a run; the plan of its trials; and
the state of this run. Everything that was measured is in the store, by key, so that a run that is
killed at any moment goes on where it stopped. Plans are columns, not objects: a digest is 32 bytes
there and 120 as text, a trial is 8 bytes there and a tuple of two numbers otherwise.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Records, TrialKey
from llmops_cli.core.prompt import Case, Message, Request, Target
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind, Purpose, Score
from llmops_cli.project.templates import Documents, Templates
from llmops_cli.run.scorers import Scorers, missing_scores
from llmops_cli.stores.results import ResultsStore
from llmops_cli.stores.sources import UNKNOWN

CHUNK = 64
"""Cases whose results are read together: enough for SQLite to be fast, few enough for little
memory.
"""
PREFIX = "sha256:"
WIDTH = 32
"""Bytes of a digest."""

T = TypeVar("T")
Answer = TypeVar("Answer", Completion, Brief)


class TrialAt(NamedTuple):
    """A trial of a side: the position of its case in the evalset, and its number."""

    case: int
    n: int


class Digests:
    """Digests by position. The column grows, and single ones may be replaced."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def append(self, digest: str) -> None:
        """Add one at the end."""
        self._bytes += bytes.fromhex(digest.removeprefix(PREFIX))

    def __len__(self) -> int:
        return len(self._bytes) // WIDTH

    def __getitem__(self, position: int) -> str:
        if not 0 <= position < len(self):
            raise IndexError(position)
        return PREFIX + self._bytes[position * WIDTH : (position + 1) * WIDTH].hex()

    def __setitem__(self, position: int, digest: str) -> None:
        raw = bytes.fromhex(digest.removeprefix(PREFIX))
        self._bytes[position * WIDTH : (position + 1) * WIDTH] = raw

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


class TrialColumn:
    """Trials in the order in which they were added."""

    __slots__ = ("_cases", "_numbers")

    def __init__(self) -> None:
        self._cases = array("i")
        self._numbers = array("i")

    def append(self, trial: TrialAt) -> None:
        """Add one at the end."""
        self._cases.append(trial.case)
        self._numbers.append(trial.n)

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[TrialAt]:
        return map(TrialAt, self._cases, self._numbers)


@dataclass(kw_only=True)
class TrialPlan:
    """The trials of one side: which stored ones count, and the remaining work."""

    repeats: int
    """Trials per case that are planned."""
    not_before: str | None = None
    """UTC time (ISO 8601). Where age matters, stored answers that are older do not count."""
    not_after: str = "9999"
    """UTC time (ISO 8601). Answers that are dated later don't count: their clock was wrong."""
    pools: bool = True
    """Whether further trials of the same request count too: running again adds trials, it never
    replaces them (docs/verdict.md). Not where the question is whether answers changed."""
    model_changed: bool = False
    """Whether it was run again in this run, because another model had answered it."""
    requests: Digests = field(default_factory=Digests)
    """Request digest per case."""
    record_places: array[int] = field(default_factory=lambda: array("q"))
    """Place of each case's answer among recorded answers; 0: there is none."""
    same_records: frozenset[int] = frozenset()
    """Positions of cases whose only record is the answer of the other side."""
    trial_numbers: list[tuple[int, ...]] = field(default_factory=list)
    """Numbers of the trials of each case."""
    missing: TrialColumn = field(default_factory=TrialColumn)
    """Trials to call."""
    shared: TrialColumn = field(default_factory=TrialColumn)
    """Trials that an equal request, here or of another side, makes for this one too."""
    rescore: TrialColumn = field(default_factory=TrialColumn)
    """Trials whose answer is stored and some score is not."""

    @property
    def planned(self) -> int:
        """Return the number of trials in all."""
        return sum(map(len, self.trial_numbers))

    def trials(self, positions: Sequence[int]) -> list[TrialAt]:
        """Return every planned trial of the cases at `positions`."""
        return [TrialAt(case, n) for case in positions for n in self.trial_numbers[case]]

    def counts(self, answered_at: str | None) -> bool:
        """Whether an answer of that time may be used."""
        if self.not_before is None:
            return True
        return self.not_before <= (answered_at or "") <= self.not_after

    def finish(self) -> None:
        """Clear the remaining work: it is done, or recorded as failures."""
        self.missing, self.shared, self.rescore = TrialColumn(), TrialColumn(), TrialColumn()


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSpec:
    """A target and where its answers come from."""

    name: str
    """`support@working`, `support@v3`."""
    role: str
    """`candidate`, `baseline`, `anchor v3`, `own baseline` or `confirming`."""
    target: Target
    results: ResultsStore
    purpose: Purpose
    source: str = UNKNOWN
    """What its answers are stored as being from."""
    evidence: tuple[str, ...] = ()
    """Digests of the evidence that answers for it: that of its version."""
    documents: Documents | None = None
    """Where the target is an application."""
    unavailable: str | None = None
    """Why it can't be called here: this checkout doesn't have the application it was released with.
    Stored answers count.
    """
    records: Records | None = None
    """Where its answers are recorded: then nothing is called."""
    recorded_in: str | None = None
    """Names these records: one case has one answer in them, whichever side asks."""
    evidence_only: bool = False
    """Whether it comes from evidence only and is never called: the comparison is whether answers
    changed since.
    """
    timed: bool = False
    """Whether the time to the first token is needed: then answers are streamed."""


@dataclass(slots=True, kw_only=True)
class SideState:
    """The outcomes of this run's trials of a side."""

    failures: dict[TrialAt, Failure] = field(default_factory=dict)
    unscored: dict[TrialAt, dict[str, str]] = field(default_factory=dict)
    """Why, by scorer label, for trials of this run that a scorer could not score."""
    latencies: dict[TrialAt, float] = field(default_factory=dict)
    """Seconds, for trials of this very run: what is reused has no latency."""
    first_tokens: dict[TrialAt, float] = field(default_factory=dict)
    """Seconds until the first token, for those that were streamed."""
    scores: dict[TrialAt, dict[str, Score]] = field(default_factory=dict)
    """Scores that are only valid for this run, by scorer label."""
    judges: dict[str, set[str]] = field(default_factory=dict)
    """The models that judged its answers, as they report themselves, by scorer label."""
    needs_pairs: bool = False
    """Whether every trial owes a score against the baseline's answer, also where one of the two
    answers is missing: nothing unmeasured drops out of a paired metric."""
    compared_with: dict[TrialAt, str] = field(default_factory=dict)
    """Digest of the baseline's answer that a trial is compared with, where a scorer does that."""
    called: int = 0
    """Trials answered by a call of this run."""


@dataclass(slots=True, kw_only=True)
class Side:
    """One target on the cases of one evalset."""

    spec: SideSpec
    plan: TrialPlan
    state: SideState = field(default_factory=SideState)
    _templates: Templates = field(init=False)

    def __post_init__(self) -> None:
        self._templates = Templates(self.spec.target.prompt)

    def request(self, case: Case) -> Request:
        """Return the request for `case`. Raises what the template raises."""
        messages = self._templates.messages(case)
        request = self.spec.target.request(messages, document=self._document(case, messages))
        return replace(request, timed=True) if self.spec.timed else request

    def make_requests(self, cases: Iterable[Case]) -> None:
        """Fill in the request digests; what cannot be rendered is known before any call."""
        for case in cases:
            messages = self._templates.messages(case)
            identity = None
            if self.spec.records is not None:
                record = self.spec.records.find(case.id, self.spec.target.request(messages))
                self.plan.record_places.append(record.place if record else 0)
                identity = record.identity if record else f"no record of {case.id}"
            digest = self.spec.target.request_digest(
                messages, identity=identity, document=self._document(case, messages)
            )
            self.plan.requests.append(digest)
        for evidence in self.spec.evidence:
            self.spec.results.sources.accept_evidence(evidence, self.plan.requests)

    def key(self, at: TrialAt) -> TrialKey:
        """Return the store's key of a trial."""
        return TrialKey(self.plan.requests[at.case], self.spec.purpose, at.n)

    def completions(self, trials: Iterable[TrialAt]) -> Mapping[TrialAt, Completion]:
        """Return the stored answers of `trials`, those that count."""
        records = self.spec.records
        if records is None:
            return self._stored(trials, self.spec.results.completions)
        return {at: records.completion(place) for at, place in self._recorded(trials).items()}

    def briefs(self, trials: Iterable[TrialAt]) -> Mapping[TrialAt, Brief]:
        """Return what `completions` does, without texts."""
        if self.spec.records is None:
            return self._stored(trials, self.spec.results.briefs)
        places = self._recorded(trials)
        return dict(zip(places, self.spec.records.briefs(places.values()), strict=True))

    def _recorded(self, trials: Iterable[TrialAt]) -> dict[TrialAt, int]:
        """Return the places of recorded answers, of those trials that have one."""
        places = ((at, self.plan.record_places[at.case]) for at in trials)
        return {at: place for at, place in places if place}

    def _stored(
        self,
        trials: Iterable[TrialAt],
        read: Callable[[Iterable[TrialKey]], Mapping[TrialKey, Answer]],
    ) -> Mapping[TrialAt, Answer]:
        """Return what `read` finds in the store, of those trials whose answer counts."""
        keys = {at: self.key(at) for at in trials}
        stored = read(keys.values())
        return {
            at: stored[key]
            for at, key in keys.items()
            if key in stored and self.plan.counts(stored[key].at)
        }

    def plan_trials(
        self,
        cases: Sequence[Case],
        *,
        scorers: Scorers,
        requested: set[TrialKey],
        skip: frozenset[int] = frozenset(),
    ) -> None:
        """Sort the planned trials into stored, missing, shared and to be scored again.

        `requested` are the trials that the run makes already: equal requests are made once. Cases
        at the positions in `skip` need no trials: both sides make the same request. An answer that
        is known by its digest alone and lacks a score is called again: texts and scores of one case
        are never mixed from different answers. Trials that failed in this run are not planned
        again.
        """
        plan = self.plan
        plan.trial_numbers = self._trial_numbers(len(cases), skip)
        missing, shared, rescore = TrialColumn(), TrialColumn(), TrialColumn()
        for positions in chunks(range(len(cases))):
            if self.spec.records is not None:
                for position in positions:
                    self._fail_without_record(cases[position], position)
            trials = [at for at in plan.trials(positions) if at not in self.state.failures]
            stored = self.briefs(trials)
            answers = {at: (cases[at.case], brief.digest) for at, brief in stored.items()}
            unscored = missing_scores(self.spec.results, answers, scorers)
            for at in trials:
                if at in stored and at not in unscored:
                    continue
                if at in stored and stored[at].whole:
                    rescore.append(at)
                    continue
                key = self.key(at)
                (shared if key in requested else missing).append(at)
                requested.add(key)
        plan.missing, plan.shared, plan.rescore = missing, shared, rescore
        if self.spec.unavailable is not None:
            self.give_up(
                Failure(kind=FailureKind.NOT_ATTEMPTED, message=self.spec.unavailable, attempts=0)
            )

    def give_up(self, failure: Failure) -> None:
        """Record `failure` for each trial that is to be called: none of them can be."""
        left = chain(self.plan.missing, self.plan.shared)
        self.state.failures.update(dict.fromkeys(left, failure))
        self.plan.missing, self.plan.shared = TrialColumn(), TrialColumn()

    def cut_short(self, failure: Failure) -> None:
        """Record `failure` for each trial that was to be called in this run and was not."""
        for part in chunks(chain(self.plan.missing, self.plan.shared)):
            stored = self.briefs(part)
            for at in part:
                if at not in stored:
                    self.state.failures.setdefault(at, failure)

    def _trial_numbers(self, cases: int, skip: frozenset[int]) -> list[tuple[int, ...]]:
        """Return the planned trials of each case, and further ones that are stored already."""
        plan, results, purpose = self.plan, self.spec.results, self.spec.purpose
        planned = tuple(range(plan.repeats))
        skip = frozenset() if self.spec.evidence_only else skip
        numbers = [() if position in skip else planned for position in range(cases)]
        if not (plan.pools or self.spec.evidence_only):
            return numbers
        beyond = 0 if self.spec.evidence_only else plan.repeats
        for positions in chunks([position for position in range(cases) if position not in skip]):
            requests = [plan.requests[position] for position in positions]
            further = results.further(requests, purpose, beyond=beyond)
            for position, request in zip(positions, requests, strict=True):
                if self.spec.evidence_only:
                    numbers[position] = further.get(request, ())
                elif request in further:
                    numbers[position] = planned + self._of_one_model(request, further[request])
        return numbers

    def _of_one_model(self, request: str, further: tuple[int, ...]) -> tuple[int, ...]:
        """Return those of `further` that count and come from the model that answered last."""
        numbers = (*range(self.plan.repeats), *further)
        keys = [TrialKey(request, self.spec.purpose, n) for n in numbers]
        briefs = self.spec.results.briefs(keys)
        stored = {key: brief for key, brief in briefs.items() if self.plan.counts(brief.at)}
        if not stored:
            return ()
        newest = max(stored.values(), key=lambda brief: brief.at or "")
        alike = {
            key.n for key, brief in stored.items() if brief.served_model == newest.served_model
        }
        return tuple(sorted(alike & set(further)))

    def _fail_without_record(self, case: Case, position: int) -> None:
        """Record a failure for each trial that a file of recorded answers cannot answer."""
        model = self.spec.target.model
        file = model.options.get("file", model.name)
        if not self.plan.record_places[position]:
            why = f"{file} holds no answer to case {case.id!r}: record one there"
        elif position in self.plan.same_records:
            why = (
                f"{file} holds one answer to case {case.id!r} for both sides, which compares "
                "nothing: record each side in a file of its own"
            )
        else:
            return
        failure = Failure(kind=FailureKind.NO_RECORD, message=why)
        self.state.failures.update(dict.fromkeys(self.plan.trials([position]), failure))

    def _document(self, case: Case, messages: tuple[Message, ...]) -> Mapping[str, Json] | None:
        """Return the document that an application receives; None for a model."""
        documents = self.spec.documents
        return None if documents is None else documents.document(case, messages)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield `items` in lists of at most `size`."""
    stream = iter(items)
    while part := list(islice(stream, size)):
        yield part
