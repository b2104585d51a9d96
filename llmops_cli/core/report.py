"""What commands hand to renderers: the report of a run, its plan, a difference, probed models.

Pure data, in the order in which people need it: the verdict and why, what changed, the figures,
what it cost, what to do next. A report holds the cases worth a reader's time; `CaseStream` yields
all of them one after the other, so that no reader holds more than one. Texts are model output,
hostile until a renderer has made them safe for its own form.

The counts of a plan are exact; its cost is an estimate from the length of the requests and the
output that the prompt allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import ExitCode, Location
from llmops_cli.core.policy import Estimate, Verdict
from llmops_cli.core.ports import Part
from llmops_cli.core.result import Completion, Usage

Change: TypeAlias = Literal[
    "critical",
    "regressed",
    "improved",
    "failing",
    "unmeasured",
    "added",
    "removed",
    "known_passing",
]
"""Why a case is shown. `failing`: fails in both sides, or fails with no baseline to compare with;
`known_passing`: marked known_failing, and passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownScore:
    """One score of a shown trial."""

    label: str
    value: float | None
    """Raw; None: unscored."""
    passed: bool | None
    reason: str = ""
    """The scorer's explanation, or why it is unscored."""
    advisory: bool = False
    limit: float | None = None
    """The threshold that a measured quantity (characters, seconds, dollars) is beyond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTrial:
    """One trial of one side: what was answered, scored and spent, or why it was not."""

    text: str | None = None
    """None: the trial failed, or its text is not stored here."""
    failure: str | None = None
    """What went wrong, in one sentence."""
    attempted: bool = True
    """Whether its call was made; False: the run ended before, or its budget did."""
    finish_reason: str | None = None
    tool_calls: Json = None
    contexts: tuple[str, ...] | None = None
    """Passages that an application retrieved for this answer; None: it does not report them."""
    scores: tuple[ShownScore, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    latency: float | None = None
    """Seconds; None on anything that was not called in this run."""
    served_model: str | None = None
    confirming: bool = False
    """Whether it was made to confirm a judge's failing score of a critical case."""

    @property
    def passes(self) -> bool:
        """Whether it was answered and every score that counts passed."""
        return self.failure is None and all(
            score.passed is True for score in self.scores if not score.advisory
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSide:
    """The trials of one side on a case."""

    passed: float | None
    """Share of its measured trials that passed; None: none was measured."""
    trials: tuple[ShownTrial, ...] = ()

    @property
    def first(self) -> ShownTrial | None:
        """Return its first trial; None: there is none."""
        return self.trials[0] if self.trials else None

    def telling(self, *, passing: bool) -> int:
        """Return the position of the first trial that passes, or does not; 0 if none is so."""
        alike = (at for at, trial in enumerate(self.trials) if trial.passes == passing)
        return next(alike, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCase:
    """A case as shown in a report: inputs, expected answer, and the answers of both sides."""

    prompt: str
    evalset: str
    case: str
    change: Change | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)
    expected: Json = None
    contexts: tuple[str, ...] = ()
    messages: Json = None
    """Earlier turns of the conversation."""
    tags: tuple[str, ...] = ()
    critical: bool = False
    group: str | None = None
    known_failing: str | None = None
    candidate: ShownSide | None = None
    baseline: ShownSide | None = None
    identical: bool = False
    """Both sides make the same request: one answer stands for both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSummary:
    """One side's target, and the calls and cost of measuring it."""

    name: str
    """`support@working`, `support@v3`."""
    target: str
    """Digest."""
    model: str
    """`provider/model`, resolved."""
    planned: int
    """Trials."""
    measured: int
    called: int
    """Trials made in this run; the other measured ones were reused."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failed trials by kind."""
    cause: str = ""
    """What made most of them fail: `the API key was rejected (401) by api.example.com`."""
    unscored: int = 0
    """Trials with a completion that some due gating scorer could not score."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """US dollars over all its trials; None if a price or a usage is not known."""
    latency_p50: float | None = None
    """Seconds, over this run's own calls."""
    latency_p95: float | None = None
    first_token_p50: float | None = None
    """Seconds until the first token, where answers were streamed to measure it."""
    first_token_p95: float | None = None
    served_models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One metric over the evalset: means on [0, 1], higher is better, over measured trials."""

    label: str
    gated: bool
    paired: bool = False
    """Its values set the candidate's answers against the baseline's: ½ is alike."""
    candidate: float | None
    baseline: float | None
    candidate_n: int
    """Cases measured."""
    baseline_n: int
    part: Part | None = None
    """The half of a retrieving application that it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSummary:
    """The `pass` metric over the cases with one tag."""

    tag: str
    cases: int
    regressed: int
    improved: int
    candidate: float
    baseline: float
    p_adjusted: float
    """One-sided p of a loss, Benjamini–Hochberg over the tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSummary:
    """The calibration status of a judge that gates (docs/judges.md)."""

    label: str
    status: str
    """`GATE`, `TOO_FEW_LABELS` or `uncalibrated`: others do not gate."""
    labeled: int = 0
    """The number of labeled answers that it was calibrated on."""
    j: float | None = None
    """TPR + TNR − 1; a true difference of pass rates shows as J times as much."""
    j_lower: float | None = None
    j_upper: float | None = None
    """Its 90% interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetReport:
    """One prompt on one evalset."""

    evalset: str
    cases: int
    repeats: int
    candidate: SideSummary
    baseline: SideSummary | None
    metrics: tuple[MetricSummary, ...]
    slices: tuple[SliceSummary, ...] = ()
    shown: tuple[ShownCase, ...] = ()
    """With the most telling trial of each side, worst first (`WORST_FIRST`)."""
    hidden: int = 0
    """The number of such cases that aren't shown."""
    changes: Mapping[Change, int] = field(default_factory=dict)
    """The number of cases of each change, shown or not."""
    judges: tuple[JudgeSummary, ...] = ()
    """Those that gate."""
    notes: tuple[str, ...] = ()
    """Caveats: partial run, edited cases, uncalibrated judge, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptReport:
    """One prompt's verdict over its evalsets."""

    prompt: str
    candidate: str
    """`support@working`."""
    baseline: str | None
    """`support@v3`, with the environment that runs it: `support@v3 (production)`."""
    verdict: Verdict
    evalsets: tuple[EvalsetReport, ...]
    next_steps: tuple[str, ...] = ()
    """Commands and sentences, most useful first."""
    environment: str | None = None
    """What it is compared with runs there; None: a baseline that was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The calls of one role: those made in this run, and those that were cached."""

    calls: int = 0
    reused: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    """US dollars of the calls of this run; None if a price or a usage is not known."""

    @classmethod
    def of(cls, answer: Completion) -> Spending:
        """Return what one answer took; a cached one took nothing."""
        if answer.latency is None:
            return cls(reused=1)
        usage = answer.usage or Usage(input=0, output=0)
        return cls(calls=1, input_tokens=usage.input, output_tokens=usage.output, cost=answer.cost)

    def __add__(self, other: Spending) -> Spending:
        known = self.cost is not None and other.cost is not None
        return Spending(
            calls=self.calls + other.calls,
            reused=self.reused + other.reused,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=(self.cost or 0.0) + (other.cost or 0.0) if known else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A finished (or cut short) `eval`, `measure`, `compare` or `promote`."""

    prompts: tuple[PromptReport, ...]
    exit_code: ExitCode
    calls: int
    """Model calls made in this run."""
    reused: int
    """Trials answered by evidence or the store."""
    cost: float | None
    """US dollars spent in this run; None: some of it is unpriced."""
    spent: Mapping[str, Spending] = field(default_factory=dict)
    """The part of `cost` that scorers caused, by role: `judge`, `embedding`. The rest is the
    targets'.
    """
    partial: str | None = None
    """Why this run is partial (filter, sample): shown, never evidence."""
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    llmops: str = ""
    """Version of llmops."""


WORST_FIRST: tuple[Change | None, ...] = (
    "critical",
    "regressed",
    "unmeasured",
    "removed",
    "known_passing",
    "improved",
    "failing",
    "added",
    None,
)
"""Why a case is listed, in display order; None: it passes, as before."""


@dataclass(frozen=True, slots=True)
class CaseStream:
    """The cases of a run, created lazily, with their total number."""

    total: int
    worst_first: Iterator[ShownCase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One thing that differs."""

    what: str
    """`message 2 (user)`, `parameter temperature`, `input question`, `model`."""
    before: str | None
    """None: it was not there."""
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two targets, side by side."""

    before: str
    after: str
    changes: tuple[Changed, ...]
    breaking: tuple[str, ...]
    """Why callers of `before` must change their inputs for `after`."""
    scores: Mapping[str, str]
    """Newest verdict of each version that has evidence, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTarget:
    """One model or version on one evalset."""

    name: str
    """As the user named it: `fast`, `support@v3`."""
    model: str
    """`provider/model`, resolved."""
    planned: int
    """Trials."""
    measured: int
    quality: float | None
    """Share of `pass`; None: nothing was measured."""
    lower: float | None
    """Ends of its interval; None: nothing was measured, or there are too few groups."""
    upper: float | None
    difference: Estimate | None
    """Against the first target; None: it is the first, or something was not measured."""
    regressed: int
    """Cases that the first target passes and this one does not."""
    improved: int
    cost_per_call: float | None
    """US dollars; None if a price or a usage is not known."""
    latency_p95: float | None
    """Seconds, over this run's own calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedEvalset:
    """All targets on one evalset, the one that the others are compared with first."""

    prompt: str
    evalset: str
    cases: int
    level: float
    """Confidence level of the intervals: 0.9."""
    targets: tuple[ComparedTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Several models or versions, compared without a gate."""

    evalsets: tuple[ComparedEvalset, ...]
    exit_code: ExitCode
    """INCOMPLETE where something was not measured."""
    calls: int
    reused: int
    cost: float | None
    """US dollars spent in this run; None: some of it is unpriced."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLocations:
    """The files of prompts and evalsets, and the lines of cases."""

    prompts: Mapping[str, Location] = field(default_factory=dict)
    evalsets: Mapping[str, Location] = field(default_factory=dict)
    cases: Mapping[tuple[str, str], Location] = field(default_factory=dict)
    """By evalset and case id."""
    project: Location | None = None
    """llmops.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidePlan:
    """The trials of one target on one evalset."""

    name: str
    """`support@working`, `support@v3`."""
    model: str
    """`provider/model`."""
    role: str
    """`candidate`, `baseline` or `anchor`."""
    planned: int
    """Trials that the verdict needs."""
    cached: int
    """Those that evidence or the store answers already."""
    calls: int
    """Requests to make: equal missing ones are made once."""
    cost: float | None
    """Estimated US dollars of those calls; None if the price is not known."""
    unanswerable: int = 0
    """Trials without an answer in a file of recorded answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingPlan:
    """The calls of one scorer to one model."""

    label: str
    role: str
    """`judge` or `embedding`."""
    model: str
    """`provider/model`."""
    calls: int
    """At most: equal answers are judged once, and some scores may be stored."""
    cost: float | None
    """Estimated US dollars of those calls; None if the price is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetPlan:
    """One prompt on one evalset."""

    evalset: str
    cases: int
    repeats: int
    sides: tuple[SidePlan, ...]
    scores: int
    """Scores to give on stored answers."""
    judging: tuple[JudgingPlan, ...] = ()
    shows: str
    """What an evalset of this size can and cannot show, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlan:
    """One prompt over its evalsets."""

    prompt: str
    candidate: str
    baseline: str | None
    evalsets: tuple[EvalsetPlan, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an `eval` or `measure` would call."""

    prompts: tuple[PromptPlan, ...]
    notes: tuple[str, ...] = ()

    @property
    def calls(self) -> int:
        """Return the number of requests; an upper bound if judges are called."""
        return sum(item.calls for item in self._asked())

    @property
    def cost(self) -> float | None:
        """Return the estimated US dollars in all; None if any price is not known."""
        costs = [item.cost for item in self._asked() if item.calls]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def _asked(self) -> list[SidePlan | JudgingPlan]:
        evalsets = [evalset for prompt in self.prompts for evalset in prompt.evalsets]
        plans: list[SidePlan | JudgingPlan] = []
        for evalset in evalsets:
            plans += [*evalset.sides, *evalset.judging]
        return plans


Aspect: TypeAlias = Literal[
    "reachable", "chat", "structured", "tools", "usage", "streaming", "embeddings", "price"
]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One aspect of one model."""

    aspect: Aspect
    works: bool | None
    """None: it doesn't apply, or wasn't tested."""
    why: str = ""
    """The result, or why it wasn't tested, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedModel:
    """One model and everything that was found about it."""

    name: str
    """The alias in llmops.yaml, or `provider/model`."""
    provider: str
    model: str
    probes: tuple[Probe, ...]
    first_token: float | None = None
    """Seconds until the first token, where it streamed."""
    latency: float | None = None
    """Seconds until the end of that short answer."""
    refused: bool = False
    """Whether its configuration can never work."""

    def of(self, aspect: Aspect) -> Probe:
        """Return what is known about `aspect`."""
        known = (probe for probe in self.probes if probe.aspect == aspect)
        return next(known, Probe(aspect=aspect, works=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """All models that were probed, with the number and cost of the calls."""

    models: Sequence[ProbedModel]
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    """US dollars; None if some of it is unpriced."""

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code; configuration before the network, because it can be fixed here."""
        if any(model.refused for model in self.models):
            return ExitCode.REFUSED
        unreached = any(model.of("reachable").works is False for model in self.models)
        return ExitCode.INCOMPLETE if unreached else ExitCode.DONE
