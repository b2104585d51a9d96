"""The outcome of a call, and its score.

Every planned trial ends as exactly one of `Completion` and `Failure`; every due scorer answers
with exactly one of `Score` and `Unscored`. Nothing here is ever NaN, absent or an exception:
what was not measured says so, and says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from llmops_cli.core.digest import Json, digest

Purpose: TypeAlias = Literal["gate", "baseline", "confirm", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the API counted them; those of the cache are a part of `input`."""

    input: int
    output: int
    cached_input: int = 0
    """Served from a cache."""
    cache_write: int = 0
    """Written to a cache, for any time."""
    cache_write_1h: int = 0
    """Those of `cache_write` that are cached for an hour, where the API has a price for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call; `arguments` parsed from JSON, or the raw text if it isn't JSON."""

    name: str
    arguments: Json


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The answer of a model. A content filter or a cut-off answer is one too, with its finish
    reason.
    """

    text: str | None
    """None: the answer is known by its digest only (evidence without outputs)."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    """`stop`, `length`, `content_filter`, `tool_calls` or the vendor's own word."""
    contexts: tuple[str, ...] | None = None
    """Passages that an application retrieved for this answer, best first. Empty: it retrieves, and
    found nothing; None: it does not say."""
    ids: tuple[str, ...] | None = None
    """Ids of what it retrieved, best first; empty and None as with `contexts`."""
    usage: Usage | None = None
    cost: float | None = None
    """US dollars; None if the price or the usage is not known."""
    latency: float | None = None
    """Seconds of the successful attempt. None on anything that was not called just now."""
    first_token: float | None = None
    """Seconds until the first token of the answer, where it was streamed. None as with `latency`:
    of no answer that was not called just now."""
    served_model: str | None = None
    fingerprint: str | None = None
    attempts: int = 1
    at: str | None = None
    """UTC time of the answer, ISO 8601."""
    known_digest: str | None = None
    """The output digest where `text` is None."""

    @cached_property
    def digest(self) -> str:
        """Return the name of the answer, not of the call: equal answers share their scores."""
        if self.text is None:
            assert self.known_digest is not None
            return self.known_digest
        named: dict[str, Json] = {
            "text": self.text,
            "tool_calls": [[call.name, call.arguments] for call in self.tool_calls],
            "finish_reason": self.finish_reason,
            "contexts": list(self.contexts or ()),
            "ids": list(self.ids or ()),
        }
        empty = [name for name in ("contexts", "ids") if getattr(self, name) == ()]
        if empty:
            named["retrieved_nothing"] = empty
        return digest("llmops/output/v1", named)

    @property
    def brief(self) -> Brief:
        """Return what a verdict needs of it."""
        return Brief(
            digest=self.digest,
            whole=self.text is not None,
            finish_reason=self.finish_reason,
            input_tokens=self.usage.input if self.usage else None,
            output_tokens=self.usage.output if self.usage else None,
            cost=self.cost,
            served_model=self.served_model,
            at=self.at,
        )


class Brief(NamedTuple):
    """A completion without its texts: what planning and the gate need of it."""

    digest: str
    whole: bool
    """Whether its text is stored, so that it can be scored again."""
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    served_model: str | None
    at: str | None


class FailureKind(Enum):
    """Why a call failed; each kind has a message (render, docs/reliability.md)."""

    AUTHENTICATION = "authentication"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER = "server"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad_answer"
    TOO_LARGE = "too_large"
    NO_RECORD = "no_record"
    BUDGET = "budget"
    NOT_ATTEMPTED = "not_attempted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one trial failed, and whether a retry may help."""

    kind: FailureKind
    message: str
    status: int | None = None
    attempts: int = 1
    retryable: bool = False
    retry_after: float | None = None
    """Seconds to wait before a retry, if the server says so."""


Outcome: TypeAlias = Completion | Failure


class NotAScore(ValueError):
    """A score that is NaN or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A scorer's raw value; pass or fail is decided later, from the threshold."""

    value: float
    reason: str = ""
    """The scorer's explanation: shown, never parsed."""
    detail: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise NotAScore(f"{self.value} is not a score")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unscored:
    """A score that couldn't be computed: never a pass and never a 0."""

    why: str
