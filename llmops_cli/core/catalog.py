"""The catalog of scorers and providers as data: names, options, and where their code is.

Loading, planning, `schema` and the reference pages only need the catalog, so none of them imports a
vendor's SDK. `plugins` has the built-in rows and adds entry points and project code; the code
itself is imported when a score or a call is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llmops_cli.core.case import Case, ScorerSpec
from llmops_cli.core.case_result import Unit
from llmops_cli.core.prompt import Limits

Role: TypeAlias = Literal["judge", "embedding"]
"""What a scorer needs a model for."""

Part: TypeAlias = Literal["retrieval", "generation"]
"""The two stages of a RAG application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a scorer or provider: a Python type that pydantic understands."""

    type: Any
    help: str
    required: bool = False
    template: bool = True
    """Whether strings in it are Jinja templates over the facts of a case."""
    keyed: bool = True
    """Whether an application's answer may depend on it: then it is part of its identity."""
    default: str | None = None
    """Default: a template over the facts of a case."""


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
    question: str | None = None
    """The option that falls back on the case's `question`: one of the two must be there."""
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
