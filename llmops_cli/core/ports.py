"""What outlives one run of an event loop within a command: kept by name, closed at the end.

A command may call models several times over (a further look, a baseline drawn anew). A server
that was started for the first time serves all of them.

Who hears what takes long where nothing else is to be seen: nobody, unless a program says so.

The holes in the wall: what a provider, a scorer and a store of results must be able to do.

No base classes: anything that fits is one. Failures are returned, not raised; an exception that
leaves one of these is a bug, and the engine or the scoring loop treats it as one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, TypeVar, cast

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Brief, Completion, Failure, Outcome, Purpose, Score, Unscored

T = TypeVar("T")


class ResourceCache:
    """Holds what is opened once for a command. Use as `with Shelf()`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._held: dict[str, Any] = {}

    def take(self, name: str, opens: Callable[[], AbstractContextManager[T]]) -> T:
        """What stands under `name`, opened at the first asking."""
        if name not in self._held:
            self._held[name] = self._stack.enter_context(opens())
        return cast("T", self._held[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.clear()
        self._stack.close()


Listener: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Is told in words what is waited for; the block is the wait."""


def _nobody(_what: str) -> AbstractContextManager[None]:
    return nullcontext()


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=_nobody)


def listen(listener: Listener) -> None:
    """Has `listener` hear of every long wait from here on."""
    _LISTENER.set(listener)


def long_wait(what: str) -> AbstractContextManager[None]:
    """Tells `what` is waited for until the block ends: "reading 16 GB"."""
    return _LISTENER.get()(what)


def untold(_what: str) -> None:
    """Says nothing to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a provider may see of its surroundings: nothing else is read from the process."""

    root: Path
    """The project's folder; paths in options are relative to it and stay inside."""
    environ: Mapping[str, str]
    redact: Redactor = field(default_factory=Redactor)
    """For what is written about the outside."""
    shelf: ResourceCache = field(default_factory=ResourceCache)
    """What is opened once for a command."""
    tell: Callable[[str], None] = untold
    """Says what is waited for before any call can be made; an empty text: no more."""


class Provider(Protocol):
    """Makes one attempt at one call. Retries, deadlines and limits are the engine's."""

    async def complete(self, request: Request) -> Completion | Failure:
        """The answer with usage, served model and finish reason, or what went wrong."""
        ...


class OpenProvider(Protocol):
    """What a provider's registry row points at."""

    def __call__(self, model: Model, world: World) -> AbstractAsyncContextManager[Provider]:
        """Clients are made on entering and closed on leaving.

        Raises `Refused` on entering where the model's configuration can never work: no key, an
        option that is not one, a parameter that the API refuses.
        """
        ...


class Record(NamedTuple):
    """Where a recorded answer stands, and what names it."""

    place: int
    """Its number among the records, from 1."""
    identity: str
    """The digest of what it says."""


class Records(Protocol):
    """Answers that were recorded elsewhere (`replay`): they are read, and nothing is called."""

    def find(self, case: str, request: Request) -> Record | None:
        """What answers `case`; None where nothing does."""
        ...

    def briefs(self, places: Iterable[int]) -> list[Brief]:
        """What a verdict needs of the answers at `places`."""
        ...

    def completion(self, place: int) -> Completion:
        """The whole answer. Raises `Refused` where the file has changed meanwhile."""
        ...


class OpenRecords(Protocol):
    """What `ProviderKind.records` points at; raises `Refused` for files that cannot be read."""

    def __call__(
        self, model: Model, root: Path, enter: Callable[[Completion], Completion]
    ) -> AbstractContextManager[Records]:
        """`enter` makes of a recorded answer what a call would have given."""
        ...


class Ready(Protocol):
    """Whether a provider could be asked here, where that takes a program of this machine."""

    def __call__(self, model: Model, world: World) -> str | None:
        """What asking `model` starts, in words; None: nothing. Raises `Refused`."""


class Runs(Protocol):
    """Says what a model starts that may run anybody's code."""

    def __call__(self, model: Model) -> Sequence[str] | None:
        """The command, as words; None where it needs no trust."""
        ...


class Checks(Protocol):
    """A provider that knows before a call that a request can never be answered."""

    def check(self, request: Request) -> None:
        """Raises `Refused`, with a hint, for a parameter or format that the API does not take."""
        ...


class Ask(Protocol):
    """How a judged scorer reaches its models: keyed, cached, limited and budgeted like any call.

    One is made for every score. Saying the same thing twice within a score is two trials. What an
    earlier run was answered is given first and costs nothing (its `latency` is None).
    """

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """The judge's answer to its prompt rendered with `inputs`, asked for by `json_schema`
        where the judge's provider can be held to one.
        """
        ...

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """The judge model's answer to messages that a library wrote."""
        ...

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        """The embedding of `text` by the scorer's embedding model."""
        ...


class Scorer(Protocol):
    """What a scorer's registry row points at.

    `options` are those of its `ScorerSpec`, templates rendered, as keyword arguments. May return
    an awaitable. Judged scorers take `ask` as well.
    """

    def __call__(
        self, case: Case, completion: Completion, **options: Any
    ) -> Score | Unscored | Awaitable[Score | Unscored]: ...


class OpenScorer(Protocol):
    """What the registry row of a scorer with `opens` points at: made once, closed with the run."""

    def __call__(self, world: World) -> AbstractAsyncContextManager[Scorer]: ...


class CheckOptions(Protocol):
    """Looks at rendered options, or at a model as it is written, before any call is made."""

    def __call__(self, options: Mapping[str, Any], world: World) -> str | None:
        """What is wrong with them, in one sentence; None: nothing."""
        ...


@dataclass(frozen=True, slots=True)
class TrialKey:
    """Names one completion in a store."""

    request: str
    purpose: Purpose
    n: int


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """Names one score in a store: digests of the scorer, the facts and the output."""

    scorer: str
    facts: str
    output: str


class Results(Protocol):
    """Completions and scores by key. What was put is there after a crash."""

    def completions(self, keys: Iterable[TrialKey]) -> Mapping[TrialKey, Completion]:
        """Those of `keys` that are held. `latency` is None on each: it was not called just now."""
        ...

    def briefs(self, keys: Iterable[TrialKey]) -> Mapping[TrialKey, Brief]:
        """Those of `keys` that are held, without their texts."""
        ...

    def further(
        self, requests: Iterable[str], purpose: Purpose, *, beyond: int
    ) -> Mapping[str, tuple[int, ...]]:
        """The numbers, from `beyond` on, of the trials that are held of each of `requests`."""
        ...

    def scores(self, keys: Iterable[ScoreKey]) -> Mapping[ScoreKey, Score]: ...

    def put_completions(self, completions: Iterable[tuple[TrialKey, Completion]]) -> None:
        """All or none. A later answer takes the key; the earlier one stays as a further trial."""
        ...

    def put_score(self, key: ScoreKey, score: Score) -> None: ...


class SharedCounter(Protocol):
    """One number that others may change too, and the clock it is read against."""

    def now(self) -> float:
        """Seconds on a clock that never jumps and that all who share the number share."""
        ...

    def change(self, step: Callable[[float], float]) -> float:
        """Put `step(number)` in its place, undivided; the number there was, at first -inf."""
        ...


class OpenSharedCounter(Protocol):
    """Finds the cell of a name, in this process or on this machine."""

    def __call__(self, name: str) -> SharedCounter: ...


Progress = Callable[[int, int, int], None]
"""Called with (done, planned, failed) calls. One that has a `waiting(what)` hears, too, what a run
waits for before it can call: a server that starts; one that has a `held_up(what)`, what slows the
calls down: a model that pushes back."""
