"""One case's measurements, as the gate reads them and as evidence stores them.

A run and a piece of evidence are both a `Metrics` table (which scorers, with which thresholds)
and a stream of rows, one per case. Rows are values of one case only: a comparison streams them
into arrays, so that a hundred thousand of them never stand in memory together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from llmops_cli.core.result import Failure

Unit: TypeAlias = Literal["pass", "fraction", "seconds", "usd", "tokens", "characters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How the raw values under one scorer label are read."""

    label: str
    scorer: str
    """Digest of the scorer that gave the raw values."""
    unit: Unit = "pass"
    minimum: float | None = None
    maximum: float | None = None
    negate: bool = False
    advisory: bool = False
    judged: bool = False
    """Its values come from a model, and so do its mistakes."""
    paired: bool = False
    """Its values say how the candidate's answer does against the baseline's: 1 better, ½ alike,
    0 worse. Never part of `pass`."""

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
        """The raw value on [0, 1], higher is better: what `no_worse` and `floor` compare."""
        if self.unit != "fraction":
            return 1.0 if self.passes(value) else 0.0
        return 1.0 - value if self.negate else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One draw of one case: what was answered, scored and spent, or why it was not."""

    output: str | None = None
    """Output digest; None where the trial failed."""
    failure: Failure | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Raw value by label for every due scorer; None: unscored."""
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Why, for each None above."""
    finish_reason: str | None = None
    cost: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency: float | None = None
    """Seconds, of a call made in this very run; None on anything reused."""
    first_token: float | None = None
    """Seconds until its first token, where it was streamed."""
    served_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one target did on one case. `planned` draws were wanted; the rest is missing."""

    request: str
    """Digest of the rendered request."""
    facts: str
    planned: int
    trials: tuple[Trial, ...] = ()
    confirm: tuple[Trial, ...] = ()
    """Extra draws of a critical judged case, used by the `critical` rule alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case over both sides. A side is None where the case is not part of it."""

    case: str
    candidate: Side | None
    baseline: Side | None
    tags: tuple[str, ...] = ()
    critical: bool = False
    group: str | None = None
    known_failing: str | None = None
