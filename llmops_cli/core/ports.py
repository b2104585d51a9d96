"""Plugins: how scorers and providers are declared, and what they and a store must be able to do.

The catalog is data: names, options, and where the code is. Loading, planning, `schema` and the
reference pages only need that, so none of them imports a vendor's SDK; the code itself is imported
when a score or a call is made. `plugins` has the built-in rows and adds entry points and project
code.

No base classes: anything that fits a protocol is one. Failures are returned, not raised; an
exception that leaves one of these is a bug, and the engine or the scoring loop treats it as one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case, Limits, Message, Model, Request, ScorerSpec
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import (
    Brief,
    Completion,
    Failure,
    Outcome,
    Purpose,
    Score,
    Unit,
    Unscored,
)

Role: TypeAlias = Literal["judge", "embedding"]
"""What a scorer needs a model for."""

Part: TypeAlias = Literal["retrieval", "generation"]
"""The two stages of a RAG application."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a scorer or provider: a Python type that pydantic understands."""

    type: Any
    help: str
    _: KW_ONLY
    required: bool = False
    template: bool = True
    """Whether strings in it are Jinja templates over the facts of a case."""
    keyed: bool = True
    """Whether an application's answer may depend on it: then it is part of its identity."""
    default: str | None = None
    """Default: a template over the facts of a case."""


fixed = partial(Option, template=False)
"""Makes an option that is the same for every case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerKind:
    """A row of the scorer table."""

    name: str
    target: str
    """`module:attribute` of a `core.ports.Scorer`."""
    summary: str
    revision: int = 1
    """Increased whenever the same input may give a different value; part of every score's key."""
    options: Mapping[str, Option] = field(default_factory=dict)
    shorthand: str | None = None
    """The option that `{name: value}` sets, or `min` or `max` for a threshold; None: it takes no
    bare value."""
    expects: str | None = None
    """The option that defaults to the case's `expected`; one of the two is required."""
    instead: tuple[str, ...] = ()
    """Options that make the one named by `expects` unnecessary."""
    question: str | None = None
    """The option that falls back on the case's `question`: one of the two must be there."""
    structured: tuple[str, ...] = ()
    """Options that take lists, mappings or any JSON: a table's cell that is JSON is that value."""
    check: str | None = None
    """`module:attribute` of a `core.ports.CheckOptions`, called before any model call."""
    unit: Unit = "pass"
    minimum: float | None = None
    """Default threshold on the raw value; a `pass` scorer passes at 1."""
    maximum: float | None = None
    files: tuple[str, ...] = ()
    """Options that name project files, whose bytes are part of the key."""
    library: str | None = None
    """Distribution whose version is part of the key."""
    extra: str | None = None
    """The extra that installs `library`, where the core does not."""
    judged: bool = False
    """It calls models (`core.ports.Ask`): the option `model` names its judge, `embeddings` its
    embedding model, and `prompt` the judge's prompt, which is a prompt of the project.
    """
    passages: bool = False
    """It compares with passages: the case's `contexts`, or what the application retrieved."""
    asks: Mapping[Role, int] = field(default_factory=dict)
    """Calls of a score by role, about: for the plan."""
    prompt: str | None = None
    """The default prompt of the judge: a file next to the scorers' code."""
    paired: bool = False
    """It compares the candidate's answer with the baseline's; never part of `pass`."""
    part: Part | None = None
    """The stage of a RAG application that it measures; None: the whole application."""
    live: bool = False
    """It measures the time of a live call, so it is never scored or stored for a cached answer."""
    code: bool = False
    """It runs project code and needs trust."""
    opens: bool = False
    """`target` is a `core.ports.OpenScorer`: it reads project files or keeps a process for the
    length of a run."""

    def needs_of_cases(self, spec: ScorerSpec) -> bool:
        """Return whether the result of `lacks` can depend on the case."""
        shown = any(spec.options.get(name) is True for name in ("expected", "contexts"))
        return shown or self.passages or bool(self.expects or self.question)

    def lacks(
        self, spec: ScorerSpec, case: Case | None = None, *, retrieves: bool = True
    ) -> str | None:
        """Return what `spec` leaves out that no default fills, for `case` or for any, if anything.

        `retrieves`: the answers may report passages of their own, since an application gives them.
        Checked before any call: a score that can never be given, a judge that would be asked
        without its reference, or a threshold that is not there and would let everything pass.
        """
        if self.unit not in ("pass", "fraction") and not _has_threshold(self, spec):
            return f"{self.name} measures {self.unit} and passes nothing without `min` or `max`"
        if case is None:
            return None
        if self.question and self.question not in spec.options and case.question is None:
            return f"{self.name} has no `{self.question}`, and case {case.id!r} does not show which"
        # An empty list is a JSON value that can be expected, and no reference for a judge.
        there = case.has_reference if self.judged else case.expected is not None
        if spec.options.get("expected") is True and not there:
            return f"{self.name} compares with `expected`, and case {case.id!r} has none"
        needs_passages = self.passages or spec.options.get("contexts") is True
        if needs_passages and not case.contexts and not retrieves:
            return f"{self.name} compares with `contexts`, and case {case.id!r} has none"
        if self.expects is None or there:
            return None
        if not any(name in spec.options for name in (self.expects, *self.instead)):
            return f"{self.name} has no `{self.expects}`, and case {case.id!r} no `expected`"
        return None


def _has_threshold(kind: ScorerKind, spec: ScorerSpec) -> bool:
    return any(
        limit is not None for limit in (spec.minimum, spec.maximum, kind.minimum, kind.maximum)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKind:
    """A row of the provider table."""

    name: str
    target: str
    """`module:attribute` of a `core.ports.OpenProvider`."""
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    structured: bool = False
    """It can enforce a JSON schema."""
    embeds: bool = False
    """It answers requests of the format `embedding`."""
    deterministic: bool = False
    """The same request always gets the same answer: one baseline trial is enough."""
    offline: bool = False
    """It needs neither network nor key."""
    volatile: bool = False
    """Its answers are only cached for one run unless the model declares an identity."""
    records: str | None = None
    """`module:attribute` of a `core.ports.OpenRecords`, where answers are named one by one."""
    application: bool = False
    """It is an application, not a model: it receives a document with the case's inputs, its prompt
    needs no messages, and an identity names its code.
    """
    files: tuple[str, ...] = ()
    """Options that may name project files, whose bytes are part of an application's identity."""
    check: str | None = None
    """`module:attribute` of a `core.ports.CheckOptions`, which checks the model's options."""
    ready: str | None = None
    """`module:attribute` of a `core.ports.Ready`, called before the first call of a run."""
    runs: str | None = None
    """`module:attribute` of a `core.ports.Runs`: its models may start a program."""
    weights: bool = False
    """Its models may be on this machine: the files and folders that a model's name and its
    keyed options name are part of its identity, as the options are."""
    max_concurrency: int = Limits().max_concurrency
    """Calls at once, unless the model says otherwise."""
    identity: str | None = None
    """Names the algorithm of a built-in model: the `Model.identity` of the provider's models."""
    max_tokens: int | None = None
    """The most tokens of an answer where none are given: a parameter of its models like any
    other, so that it is sent and is part of what names a request. None: its API has its own."""
    code: bool = False
    """It runs project code and needs trust."""
    api_key_env: str | None = None
    """The default environment variable of the key."""
    extra: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every scorer and provider of this installation and project."""

    scorers: Mapping[str, ScorerKind]
    providers: Mapping[str, ProviderKind]


T = TypeVar("T")


class ResourceCache(ExitStack):
    """Holds what is opened once for a command, by name, and closes it at the end.

    A command may call models several times (a further look, a baseline that is run again): a server
    that was started for the first time serves all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, Any] = {}

    def take(self, name: str, opens: Callable[[], AbstractContextManager[T]]) -> T:
        """Return what is stored under `name`; it is opened the first time."""
        if name not in self._held:
            self._held[name] = self.enter_context(opens())
        return cast("T", self._held[name])


Listener: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Reports a wait: takes a description and covers the block."""


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=lambda _what: nullcontext())


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
    trust: Sequence[str] = ()
    """The project files, or globs of them, whose code may run."""
    resources: ResourceCache = field(default_factory=ResourceCache)
    """Holds what is opened once for a command."""
    tell: Callable[[str], None] = ignore_wait
    """Takes what is waited for before any call can be made; an empty text: no more."""


class Provider(Protocol):
    """Makes one attempt at one call. The engine has retries, deadlines and limits."""

    async def complete(self, request: Request) -> Completion | Failure:
        """Return the answer with usage, served model and finish reason, or what went wrong."""
        ...


OpenProvider: TypeAlias = Callable[[Model, PluginContext], AbstractAsyncContextManager[Provider]]
"""What a provider's catalog row points at: opens the clients on entering, closes them on leaving.

Raises `Refused` on entering where the model's configuration can never work: no key, an option that
is not one, a parameter that the API refuses.
"""


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


OpenRecords: TypeAlias = Callable[
    [Model, Path, Callable[[Completion], Completion]], AbstractContextManager[Records]
]
"""What `ProviderKind.records` points at; raises `Refused` for files that cannot be read.

It takes the model, the project's folder, and a function that turns a recorded answer into what a
call would have returned.
"""

Ready: TypeAlias = Callable[[Model, PluginContext], str | None]
"""Says what calling a model starts on this machine; None: nothing. Raises `Refused`."""

Runs: TypeAlias = Callable[[Model], Sequence[str] | None]
"""Returns the command that a model starts, as words; None if it needs no trust."""


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


OpenScorer: TypeAlias = Callable[[PluginContext], AbstractAsyncContextManager[Scorer]]
"""What the row of a scorer with `opens` points at: made once, closed with the run."""

CheckOptions: TypeAlias = Callable[[Mapping[str, Any], PluginContext], str | None]
"""Says what is wrong with rendered options, or a model as written, before any call is made.

In one sentence; None: nothing.
"""


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


class SharedCounter(Protocol):
    """A number shared with other processes, and the clock that goes with it."""

    def now(self) -> float:
        """Return seconds on a clock that never jumps and that all who share the number share."""
        ...

    def change(self, step: Callable[[float], float]) -> float:
        """Put `step(number)` in its place, undivided; the number there was, at first -inf."""
        ...


OpenSharedCounter: TypeAlias = Callable[[str], SharedCounter]
"""Returns the shared number of a name, in this process or on this machine."""

Progress = Callable[[int, int, int], None]
"""Called with (done, planned, failed) calls. One that has a `waiting(what)` hears, too, what a run
waits for before it can call: a server that starts; one that has a `slowed_by(what)`, what slows the
calls down: a model that pushes back."""
