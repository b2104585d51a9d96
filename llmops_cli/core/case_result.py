"""The result of one case: what each side answered, how it was scored and what it cost.

The same value flows from the store to the gate, the report, the run file and the evidence. Results
are streamed one case at a time and turned into arrays where they are compared, so that a hundred
thousand of them are never in memory at once. Texts are only read when they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from llmops_cli.core.digest import Json
from llmops_cli.core.result import Failure

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
