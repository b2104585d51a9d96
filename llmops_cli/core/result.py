"""The outcome of a call, its score, and the result of a case: what each side answered and scored.

Every planned trial ends as exactly one of `Completion` and `Failure`; every due scorer answers
with exactly one of `Score` and `Unscored`. Nothing here is ever NaN, absent or an exception:
what was not measured says so, and says why.

A `CaseResult` flows from the store to the gate, the report, the run file and the evidence. Results
are streamed one case at a time and turned into arrays where they are compared, so that a hundred
thousand of them are never in memory at once. Texts are only read when they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    id: str | None = field(default=None, compare=False)
    """What a response to this call names; no part of what the model answered."""


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

    @property
    def attempted(self) -> bool:
        """Whether a call was made and failed; others are missing, and no errors."""
        return self not in NEVER_MADE


NEVER_MADE = frozenset({FailureKind.NOT_ATTEMPTED, FailureKind.BUDGET, FailureKind.NO_RECORD})


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


CANDIDATE = "candidate"
BASELINE = "baseline"
OWN_BASELINE = "own baseline"
"""The trials of a version that later candidates are compared with. Never the trials of its own
gate: those are biased upward, because they let it pass (docs/verdict.md).
"""

Unit: TypeAlias = Literal["pass", "fraction", "seconds", "usd", "tokens", "characters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How raw scores under one label are normalized and thresholded."""

    label: str
    scorer: str
    """Digest of the scorer that returned the raw values."""
    unit: Unit = "pass"
    minimum: float | None = None
    maximum: float | None = None
    negate: bool = False
    advisory: bool = False
    judged: bool = False
    """Whether a model judges, which can err."""
    paired: bool = False
    """Whether its values compare the candidate's answer with the baseline's: 1 better, ½ tie, 0
    worse. Never part of `pass`.
    """

    @property
    def counts(self) -> bool:
        """Whether a trial must pass it to pass."""
        return not (self.advisory or self.paired)

    def passes(self, value: float) -> bool:
        """Whether a raw value is within the thresholds (inclusive), negation applied last."""
        low = self.minimum is None or value >= self.minimum
        high = self.maximum is None or value <= self.maximum
        return (low and high) != self.negate

    def quality(self, value: float) -> float:
        """Return the raw value on [0, 1], higher is better: what `no_worse` and `floor` compare."""
        if self.unit != "fraction":
            return 1.0 if self.passes(value) else 0.0
        return 1.0 - value if self.negate else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial of one case: the answer, its scores and its cost, or why there is none."""

    output: str | None = None
    """Output digest; None if the trial failed."""
    failure: Failure | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Raw value by label for every due scorer; None: unscored."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """By label, the scorer's explanation, or why there is no score."""
    text: str | None = None
    """The answer. None if the trial failed, or where texts were not read."""
    tool_calls: Json = None
    contexts: tuple[str, ...] | None = None
    """Passages that an application retrieved for this answer; None: it does not report them."""
    finish_reason: str | None = None
    cost: float | None = None
    """US dollars."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency: float | None = None
    """Seconds of a call made in this run; None for a cached answer."""
    first_token: float | None = None
    """Seconds until the first token, where the answer was streamed."""
    served_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideResult:
    """The trials of one target on one case. `planned` is how many there should be."""

    request: str
    """Digest of the rendered request."""
    facts: str
    """Digest of what a score may depend on, as it was when the side was measured."""
    planned: int
    trials: tuple[Trial, ...] = ()
    confirm: tuple[Trial, ...] = ()
    """Extra trials of a critical judged case, used only by the `critical` rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case with the results of its sides. A side is None where it does not have the case."""

    case: str
    prompt: str = ""
    evalset: str = ""
    position: int = 0
    """In the evalset; removed cases come after those that are there."""
    candidate: SideResult | None
    baseline: SideResult | None
    others: Mapping[str, SideResult] = field(default_factory=dict)
    """By role: `own baseline`, and `anchor v3` for each anchor of the policy."""
    tags: tuple[str, ...] = ()
    critical: bool = False
    group: str | None = None
    known_failing: str | None = None
    scorers: Mapping[str, str] = field(default_factory=dict)
    """Digest of the scorer under a label, where it is the case's own and not the metric's."""
    inputs: Mapping[str, Json] = field(default_factory=dict)
    expected: Json = None
    contexts: tuple[str, ...] = ()
    messages: Json = None
    """Earlier turns of the conversation."""

    @property
    def sides(self) -> dict[str, SideResult]:
        """Return every side of the case by role."""
        named = {CANDIDATE: self.candidate, BASELINE: self.baseline, **self.others}
        return {role: side for role, side in named.items() if side is not None}

    @property
    def facts(self) -> str:
        """Return the digest of the case's facts, which all sides of one measurement share."""
        return next((side.facts for side in self.sides.values()), "")

    @property
    def same_request(self) -> bool:
        """Whether both sides make the same request, so that one answer stands for both."""
        ours, theirs = self.candidate, self.baseline
        if ours is None or theirs is None or theirs.planned:
            return False
        return ours.request == theirs.request

    def against(self, baseline: SideResult | None) -> CaseResult:
        """Return the case with `baseline` as its other side, as the gate compares them.

        If both make the same request and the baseline has no trials of its own, the candidate's
        trials count for both.
        """
        paired = self
        if baseline is not self.baseline or self.others:
            paired = replace(self, baseline=baseline, others={})
        return replace(paired, baseline=self.candidate) if paired.same_request else paired
