"""Prompts, models, the requests that are sent to them, and the cases that requests are made of.

A `Prompt` and a resolved `Model` make a `Target`; a target and a case make a `Request`. Each is
named by a digest of what can change an answer and of nothing else: not the alias of
the model, its URL, its keys or its limits, and not the prompt's name, description or comments.

The *facts* of a case are what a score may depend on. Its id, tags, group and `critical` organize
cases: they affect the verdict but are in no cache key, so changing them causes no calls.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from llmops_cli.core.digest import (
    Json,
    canonical,
    canonical_array,
    canonical_object,
    digest,
    digest_canonical,
)
from llmops_cli.core.errors import Location
from llmops_cli.core.literals import with_literals

FROM_ENVIRONMENT = "env:"
"""How a header in llmops.yaml refers to a secret."""
Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
ResponseFormat: TypeAlias = Literal["text", "json_object", "json_schema", "embedding"]
"""`embedding`: the answer's text is a JSON array of floats; the messages are one user turn."""
SCHEMA_NAME = 64
"""Characters that APIs allow in a schema's name."""
StructuredOutput: TypeAlias = Literal["json_schema", "json_object", "none"]
"""What a server can enforce: a JSON Schema, any JSON object, nothing."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn: text, or parts as the SDKs take them (`{"type": "text", …}`, `image_url`)."""

    role: Role
    content: str | tuple[Mapping[str, Json], ...]

    @cached_property
    def canonical(self) -> bytes:
        """Return its canonical JSON: written once for turns that many requests share."""
        return canonical(self.plain())

    def plain(self) -> dict[str, Json]:
        """Return `{"role": …, "content": …}`, as digests and wire formats want it."""
        content = self.content if isinstance(self.content, str) else list(self.content)
        return {"role": self.role, "content": content}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A named template with declared inputs: one file under `prompts/`, parsed and validated."""

    name: str
    description: str = ""
    model: str
    """A name from llmops.yaml or `provider/model`."""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    """snake_case names as the wire has them: `max_tokens`, `temperature`, …"""
    inputs: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Input name to its JSON-Schema subset. Key `required: false` makes one optional."""
    messages: tuple[Message, ...]
    """Templates: `content` is Jinja source, rendered on its own per message."""
    response_format: ResponseFormat | None = None
    json_schema: Mapping[str, Json] | None = None
    tools: tuple[Mapping[str, Json], ...] = ()
    includes: Mapping[str, str] = field(default_factory=dict)
    """Text of each included file, by its path under `prompts/`."""
    path: str = ""
    """Its path in the project: for messages to people, never part of a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float | None = None
    """Input that is served from a cache; default: `input`."""
    cache_write: float | None = None
    """Input that is written to a cache; default: `input`."""
    cache_write_1h: float | None = None
    """Input that is cached for an hour; default: `cache_write`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a model may be called: concurrency, rates per minute, seconds per call, retries."""

    max_concurrency: int = 16
    rpm: int | None = None
    tpm: int | None = None
    timeout: float = 120.0
    """Seconds for one call in all, its retries included in none of them."""
    retries: int = 5

    def divided(self, shards: int) -> Limits:
        """Return the limits of one of `shards` processes that share the rates."""
        rpm, tpm = (rate and max(1, rate // shards) for rate in (self.rpm, self.tpm))
        return replace(self, rpm=rpm, tpm=tpm)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model resolved from `llmops.yaml` or `provider/model`."""

    name: str
    """The alias in llmops.yaml, or `provider/model`: for people."""
    provider: str
    model: str
    """The provider's own name for it."""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    """Defaults under the prompt's own parameters."""
    extra_body: Mapping[str, Json] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    """What only this provider understands: `file` and `by` of replay, `request` of http, …"""
    identity: str | None = None
    """Digest of the code or records behind a target that is not named by its model."""
    base_url: str | None = None
    api_key_env: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    price: Price | None = None
    structured_output: StructuredOutput | None = None
    """What its server can enforce, if llmops.yaml says so; part of no key."""
    where: Location | None = field(default=None, compare=False)
    """Its line in llmops.yaml."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that it names: its key, in headers, for its code."""
        named = [value.rpartition(FROM_ENVIRONMENT) for value in self.headers.values()]
        env = self.options.get("env")  # what an application sees
        return (
            *([self.api_key_env] if self.api_key_env else []),
            *(name for _, reference, name in named if reference),
            *(map(str, env) if isinstance(env, (list, tuple)) else []),
        )

    def holds(self, wanted: ResponseFormat | None) -> bool:
        """Whether this format may be requested from its server: yes, unless llmops.yaml says no."""
        match wanted:
            case "json_schema":
                return self.structured_output in {None, "json_schema"}
            case "json_object":
                return self.structured_output != "none"
            case _:
                return True


@dataclass(frozen=True, kw_only=True)
class Target:
    """A prompt bound to the model that answers it: what a version freezes."""

    prompt: Prompt
    model: Model

    @cached_property
    def parameters(self) -> dict[str, Json]:
        """Return the model's defaults, overridden by the prompt's own."""
        return {**self.model.parameters, **self.prompt.parameters}

    @cached_property
    def digest(self) -> str:
        prompt = self.prompt
        return digest(
            "llmops/target/v1",
            {
                **_request_key(self.request(())),
                "messages": [message.plain() for message in prompt.messages],
                "includes": dict(prompt.includes),
                "inputs": {name: dict(schema) for name, schema in prompt.inputs.items()},
            },
        )

    @cached_property
    def _frame(self) -> Mapping[str, bytes]:
        """Return what the keys of all its requests have in common, written once."""
        return _canonical_frame(self.request(()))

    def request_digest(
        self,
        messages: tuple[Message, ...],
        *,
        identity: str | None = None,
        document: Mapping[str, Json] | None = None,
    ) -> str:
        """Return `request(…).digest`, at a fraction of the work."""
        frame = self._frame
        if identity is not None:
            frame = {**frame, "identity": canonical(identity)}
        return _request_digest({**frame, **_document_key(document)}, messages)

    def request(
        self,
        messages: tuple[Message, ...],
        *,
        identity: str | None = None,
        document: Mapping[str, Json] | None = None,
    ) -> Request:
        """Return the request for rendered `messages`; `identity` overrides the model's (replay)."""
        return Request(
            provider=self.model.provider,
            model=self.model.model,
            identity=identity or self.model.identity,
            parameters=self.parameters,
            extra_body=self.model.extra_body,
            messages=messages,
            document=document,
            response_format=self.prompt.response_format,
            json_schema=self.prompt.json_schema,
            tools=self.prompt.tools,
        )


@dataclass(frozen=True, kw_only=True)
class Request:
    """One rendered question to one model: everything the provider sends, and its key."""

    provider: str
    model: str
    identity: str | None = None
    parameters: Mapping[str, Json] = field(default_factory=dict)
    extra_body: Mapping[str, Json] = field(default_factory=dict)
    messages: tuple[Message, ...]
    document: Mapping[str, Json] | None = None
    """What an application receives; None: the messages go to a model."""
    response_format: ResponseFormat | None = None
    json_schema: Mapping[str, Json] | None = None
    tools: tuple[Mapping[str, Json], ...] = ()
    timed: bool = False
    """The time to the first token is wanted, which only a stream shows: part of no key."""

    @property
    def named_schema(self) -> Mapping[str, Json] | None:
        """Return the schema as an API takes it: with its own name, or its title for one."""
        if self.json_schema is None:
            return None
        inner = self.json_schema.get("schema")
        wrapped = (
            self.json_schema if isinstance(inner, Mapping) else {"schema": dict(self.json_schema)}
        )
        schema = inner if isinstance(inner, Mapping) else self.json_schema
        title = re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title", ""))).strip("_")
        return {"name": title[:SCHEMA_NAME] or "answer", "strict": True, **wrapped}

    @cached_property
    def digest(self) -> str:
        frame = {**_canonical_frame(self), **_document_key(self.document)}
        return _request_digest(frame, self.messages)


def _request_key(request: Request) -> dict[str, Json]:
    """Return everything in a request's key but its messages and its document."""
    schema = request.json_schema
    return {
        "provider": request.provider,
        "model": request.model,
        "identity": request.identity,
        "parameters": dict(request.parameters),
        "extra_body": dict(request.extra_body),
        "response_format": request.response_format,
        "json_schema": None if schema is None else dict(schema),
        "tools": [dict(tool) for tool in request.tools],
    }


def _canonical_frame(request: Request) -> Mapping[str, bytes]:
    return {name: canonical(value) for name, value in _request_key(request).items()}


def _document_key(document: Mapping[str, Json] | None) -> dict[str, bytes]:
    """Return the key of a document; nothing for a model, whose requests have none."""
    return {} if document is None else {"document": canonical(document)}


def _request_digest(frame: Mapping[str, bytes], messages: tuple[Message, ...]) -> str:
    written = canonical_array(message.canonical for message in messages)
    return digest_canonical("llmops/request/v1", canonical_object({**frame, "messages": written}))


_KEYED: Mapping[StructuredOutput, Json] = {"json_schema": True, "none": False}
"""The names of the two roles in a digest."""

SILENT = Prompt(name="", model="judge", messages=())
"""The prompt of a judge that a library writes the messages for."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The model and prompt that a judged scorer uses."""

    target: Target
    embeddings: Model | None = None
    structured: StructuredOutput = "json_schema"
    """What its model's server can enforce."""

    @cached_property
    def digest(self) -> str:
        """Return the name of everything in it that can change a score."""
        embedding = Target(prompt=SILENT, model=self.embeddings) if self.embeddings else None
        return digest(
            "llmops/judge/v1",
            {
                "target": self.target.digest,
                "structured": _KEYED.get(self.structured, self.structured),
                "embeddings": embedding.digest if embedding else None,
            },
        )

    @property
    def models(self) -> tuple[Model, ...]:
        """Return every model that it calls."""
        return (self.target.model, *([self.embeddings] if self.embeddings else []))


QUESTION_INPUTS = ("question", "query", "input")
"""Names of inputs that are taken as the question if a case has several, in order of preference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerSpec:
    """One line under `scorers:`; `label` names its metric and is unique within a case.

    `options` may hold Jinja templates over the facts (`"{{ expected }}"`). Threshold, negation and
    `advisory` are applied to the raw value later, so they aren't part of the scorer's key.
    """

    kind: str
    label: str
    options: Mapping[str, Json] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    negate: bool = False
    advisory: bool = False
    where: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One input with what is expected of the answer."""

    id: str
    inputs: Mapping[str, Json] = field(default_factory=dict)
    expected: Json = None
    contexts: tuple[str, ...] = ()
    """Passages the answer must rest on, for RAG scorers."""
    messages: tuple[Message, ...] = ()
    """Earlier turns of the conversation, put before the prompt's last user turn."""
    scorers: tuple[ScorerSpec, ...] = ()
    """Scorers for this case only, in addition to the evalset's."""
    tags: tuple[str, ...] = ()
    critical: bool = False
    group: str | None = None
    """Cases of one group are decided together and count as one cluster."""
    known_failing: str | None = None
    """Why it is known to fail. Such a case is shown, but doesn't count for floors and critical
    cases.
    """
    metadata: Mapping[str, Json] = field(default_factory=dict)
    where: Location | None = field(default=None, compare=False)
    _facts: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def has_reference(self) -> bool:
        """Whether `expected` says anything that an answer can be compared with."""
        return self.expected is not None and self.expected not in ("", [], {})

    @property
    def question(self) -> str | None:
        """Return the text under one of `QUESTION_INPUTS`, or the only text; None: unclear."""
        texts = {name: value for name, value in self.inputs.items() if isinstance(value, str)}
        for name in QUESTION_INPUTS:
            if name in texts:
                return texts[name]
        return next(iter(texts.values())) if len(texts) == 1 else None

    @property
    def facts(self) -> str:
        """Return the digest of the facts, computed once."""
        known = self._facts
        if known is None:
            plain: dict[str, Json] = {
                "inputs": dict(self.inputs),
                "expected": self.expected,
                "contexts": list(self.contexts),
                "messages": [message.plain() for message in self.messages],
                "metadata": dict(self.metadata),
            }
            known = digest("llmops/facts/v1", with_literals(plain))
            object.__setattr__(self, "_facts", known)
        return known


def remembered(case: Case, facts: str) -> Case:
    """Return `case` with the known digest of its facts."""
    object.__setattr__(case, "_facts", facts)
    return case


@dataclass(frozen=True, kw_only=True)
class Evalset:
    """A named set of cases that gates one or more prompts."""

    name: str
    prompts: tuple[str, ...]
    cases: Sequence[Case]
    scorers: tuple[ScorerSpec, ...] = ()
    repeats: int = 1
    """Gate trials per case."""
    gate: Mapping[str, Json] = field(default_factory=dict)
    """The part of the policy that this evalset overrides, as validated plain data."""
    retired: Mapping[str, str] = field(default_factory=dict)
    """Cases removed on purpose, by id, with the reason."""
    path: str = ""
    drafts: int = 0
    """Cases that wait for a review (`draft: true`); they are none of `cases`."""

    def due(self, case: Case) -> tuple[ScorerSpec, ...]:
        """Return every scorer that applies to `case`."""
        return self.scorers + case.scorers


def own_machine(url: str) -> bool:
    """Whether `url` points at loopback, a private network or a name without a public domain."""
    host = host_of(url)
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))


def host_of(url: str) -> str:
    """Return the host that `url` names; "" if it is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
