"""What a provider, a scorer and a store of results must be able to do.

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
    """Holds what is opened once for a command, by name, and closes it at the end.

    A command may call models several times (a further look, a baseline that is run again): a server
    that was started for the first time serves all of them.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._held: dict[str, Any] = {}

    def take(self, name: str, opens: Callable[[], AbstractContextManager[T]]) -> T:
        """Return what is stored under `name`; it is opened the first time."""
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
"""Reports a wait: takes a description and covers the block."""


def _no_listener(_what: str) -> AbstractContextManager[None]:
    return nullcontext()


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=_no_listener)


def listen(listener: Listener) -> None:
    """Tell `listener` about every long wait from here on."""
    _LISTENER.set(listener)


def long_wait(what: str) -> AbstractContextManager[None]:
    """Tell what is waited for until the block ends: "reading 16 GB"."""
    return _LISTENER.get()(what)


def ignore_wait(_what: str) -> None:
    """Ignore waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginContext:
    """The context of a provider or scorer; it reads nothing else from the process."""

    root: Path
    """The project's folder; paths in options are relative to it and stay inside."""
    environ: Mapping[str, str]
    redact: Redactor = field(default_factory=Redactor)
    """Removes secrets from what is written."""
    resources: ResourceCache = field(default_factory=ResourceCache)
    """Holds what is opened once for a command."""
    tell: Callable[[str], None] = ignore_wait
    """Takes what is waited for before any call can be made; an empty text: no more."""


class Provider(Protocol):
    """Makes one attempt at one call. The engine has retries, deadlines and limits."""

    async def complete(self, request: Request) -> Completion | Failure:
        """Return the answer with usage, served model and finish reason, or what went wrong."""
        ...


class OpenProvider(Protocol):
    """What a provider's catalog row points at."""

    def __call__(
        self, model: Model, context: PluginContext
    ) -> AbstractAsyncContextManager[Provider]:
        """Open the clients on entering and close them on leaving.

        Raises `Refused` on entering where the model's configuration can never work: no key, an
        option that is not one, a parameter that the API refuses.
        """
        ...


class Record(NamedTuple):
    """The position of a recorded answer in its file, and its digest."""

    place: int
    """Its number among the records, from 1."""
    identity: str
    """The digest of its content."""


class Records(Protocol):
    """Answers that were recorded elsewhere (`replay`): they are read, and nothing is called."""

    def find(self, case: str, request: Request) -> Record | None:
        """Return what answers `case`; None if nothing does."""
        ...

    def briefs(self, places: Iterable[int]) -> list[Brief]:
        """Return what a verdict needs of the answers at `places`."""
        ...

    def completion(self, place: int) -> Completion:
        """Return the whole answer. Raises `Refused` if the file has changed meanwhile."""
        ...


class OpenRecords(Protocol):
    """What `ProviderKind.records` points at; raises `Refused` for files that cannot be read."""

    def __call__(
        self, model: Model, root: Path, enter: Callable[[Completion], Completion]
    ) -> AbstractContextManager[Records]:
        """Open them; `enter` turns a recorded answer into what a call would have returned."""
        ...


class Ready(Protocol):
    """Checks whether a provider can run on this machine."""

    def __call__(self, model: Model, context: PluginContext) -> str | None:
        """Say what calling `model` starts; None: nothing. Raises `Refused`."""


class Runs(Protocol):
    """Returns the command that a model starts, which may run untrusted code."""

    def __call__(self, model: Model) -> Sequence[str] | None:
        """Return the command as words; None if it needs no trust."""
        ...


class Checks(Protocol):
    """A provider that knows before a call that a request can never be answered."""

    def check(self, request: Request) -> None:
        """Raise `Refused`, with a hint, for a parameter or format that the API does not take."""
        ...


class Ask(Protocol):
    """How a judged scorer calls its models: cached, limited and budgeted like any call.

    One is created for every score. The same request twice within a score is two trials. Cached
    answers are returned first and cost nothing (their `latency` is None).
    """

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """Return the judge's answer to its prompt rendered with `inputs`.

        It follows `json_schema` where the judge's provider can enforce one.
        """
        ...

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """Return the judge model's answer to messages that a library wrote."""
        ...

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        """Return the embedding of `text` by the scorer's embedding model."""
        ...


class Scorer(Protocol):
    """What a scorer's catalog row points at.

    `options` are those of its `ScorerSpec`, templates rendered, as keyword arguments. May return
    an awaitable. Judged scorers take `ask` as well.
    """

    def __call__(
        self, case: Case, completion: Completion, **options: Any
    ) -> Score | Unscored | Awaitable[Score | Unscored]: ...


class OpenScorer(Protocol):
    """What the registry row of a scorer with `opens` points at: made once, closed with the run."""

    def __call__(self, context: PluginContext) -> AbstractAsyncContextManager[Scorer]: ...


class CheckOptions(Protocol):
    """Checks rendered options, or a model as written, before any call is made."""

    def __call__(self, options: Mapping[str, Any], context: PluginContext) -> str | None:
        """Say what is wrong with them, in one sentence; None: nothing."""
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
        """Return those of `keys` that are stored, without latencies: they were not called now."""
        ...

    def briefs(self, keys: Iterable[TrialKey]) -> Mapping[TrialKey, Brief]:
        """Return those of `keys` that are stored, without their texts."""
        ...

    def further(
        self, requests: Iterable[str], purpose: Purpose, *, beyond: int
    ) -> Mapping[str, tuple[int, ...]]:
        """Return, for each of `requests`, the numbers of its stored trials from `beyond` on."""
        ...

    def scores(self, keys: Iterable[ScoreKey]) -> Mapping[ScoreKey, Score]: ...

    def put_completions(self, completions: Iterable[tuple[TrialKey, Completion]]) -> None:
        """Store all or none; a later answer takes the key, the earlier one a further number."""
        ...

    def put_score(self, key: ScoreKey, score: Score) -> None: ...


class SharedCounter(Protocol):
    """A number shared with other processes, and the clock that goes with it."""

    def now(self) -> float:
        """Return seconds on a clock that never jumps and that all who share the number share."""
        ...

    def change(self, step: Callable[[float], float]) -> float:
        """Put `step(number)` in its place, undivided; the number there was, at first -inf."""
        ...


class OpenSharedCounter(Protocol):
    """Returns the shared number of a name, in this process or on this machine."""

    def __call__(self, name: str) -> SharedCounter: ...


Progress = Callable[[int, int, int], None]
"""Called with (done, planned, failed) calls. One that has a `waiting(what)` hears, too, what a run
waits for before it can call: a server that starts; one that has a `slowed_by(what)`, what slows the
calls down: a model that pushes back."""
