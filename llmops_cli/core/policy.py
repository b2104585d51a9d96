"""Policies, the rules that a candidate must pass in an environment, and the verdicts they lead to.

A policy is assembled from three layers of plain data, project < evalset < environment; each rule
gives one finding, and the worst finding is the verdict (docs/verdict.md explains every number).

A rule is declared here once: its options with their names in files, limits and help, from which
`project` makes the shape of the file, and its name, which is that of the class. `gate.rules` says
how it decides. Findings and verdicts are printed, exported, embedded in evidence, and recomputed by
`llmops verify`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Enum
from functools import partial
from types import NoneType
from typing import Any, ClassVar, Literal, TypeAlias, get_args, get_type_hints

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import ExitCode

OnInconclusive: TypeAlias = Literal["warn", "fail", "rerun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOption:
    """One option of a rule, as it is written in a file."""

    key: str
    field: str
    """The field of the rule that it sets."""
    type: Any
    """The type without None, which means that the option was omitted."""
    required: bool
    bare: bool
    """Whether `rule: value` sets it."""
    help: str
    limits: Mapping[str, Any]
    """By their names in pydantic: `gt`, `ge`, `lt`, `le`, `min_length`."""


def option(
    help: str,  # noqa: A002 - the name that every library of options uses
    *,
    default: object = MISSING,
    key: str = "",
    bare: bool = False,
    **limits: float,
) -> Any:  # noqa: ANN401 - a field of any type
    """Declare a field of a rule as an option of it; `key` where its name in files differs."""
    metadata = {"help": help, "key": key, "bare": bare, "limits": limits}
    return field(default=default, metadata=metadata)


_METRIC = partial(option, "`pass` or the name of a scorer", default="pass", min_length=1)
_TAG = partial(option, "Only cases with this tag", default=None, min_length=1)
_MARGIN = partial(option, "The regression to rule out", default=None, gt=0, lt=1)
_TOLERANCE = partial(option, "The loss that isn't called a regression", default=None, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Critical:
    """No case marked critical may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoWorse:
    """A regression as large as the margin is ruled out on one metric."""

    metric: str = _METRIC(bare=True)
    margin: float | None = _MARGIN()
    tolerance: float | None = _TOLERANCE()
    tag: str | None = _TAG()


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Like `no_worse`, but against a pinned version: catches many small regressions in a row."""

    version: str = option("The version to compare with", bare=True, min_length=1)
    metric: str = _METRIC()
    margin: float | None = _MARGIN()
    tolerance: float | None = _TOLERANCE()
    tag: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The metric's mean over the evalset is at least `min`."""

    minimum: float = option("The least mean", key="min", bare=True, gt=0, le=1)
    metric: str = _METRIC()
    by: Literal["mean", "bound"] = option(
        "`bound`: fail only if the shortfall is significant", default="mean"
    )
    tag: str | None = _TAG()


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressed:
    """At most `max` (a share) of the cases that passed now fail."""

    maximum: float = option("The largest share", key="max", bare=True, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Mean cost per case grows by at most `margin` (a share), one-sided t."""

    margin: float = option("The largest growth, as a share", bare=True, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Mean tokens per case grow by at most `margin` (a share), one-sided t."""

    margin: float = option("The largest growth, as a share", bare=True, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The 95th percentile of this run's own calls is at most `p95` seconds."""

    p95: float = option("Seconds", bare=True, gt=0)
    of: Literal["whole", "first_token"] = option(
        "The whole answer, or the time to its first token", default="whole"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """At most `max` (a share) of a side's calls failed or went unscored."""

    maximum: float = option("The largest share", key="max", default=0.02, bare=True, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """No case of the baseline is removed without being retired; every planned call was made."""


Rule: TypeAlias = (
    Critical | NoWorse | Anchor | Floor | Regressed | Cost | Tokens | Latency | Errors | Coverage
)


def rule_name(kind: type[Rule]) -> str:
    """Return how a rule is called in files: the class's name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def rule_options(kind: type[Rule]) -> tuple[RuleOption, ...]:
    """Return the options of a rule, in the order of their declaration."""
    hints = get_type_hints(kind)
    return tuple(
        RuleOption(
            field=declared.name,
            type=_without_none(hints[declared.name]),
            required=declared.default is MISSING,
            **{**declared.metadata, "key": declared.metadata["key"] or declared.name},
        )
        for declared in fields(kind)
    )


def _without_none(hint: object) -> object:
    return next((kind for kind in get_args(hint) if NoneType in get_args(hint)), hint)


RULES: Mapping[str, type[Rule]] = {rule_name(kind): kind for kind in get_args(Rule)}

SAFETY_RULES: tuple[Rule, ...] = (Critical(), Errors(), Coverage())
"""Rules that hold unless a policy switches them off by name."""
DEFAULT_RULES: tuple[Rule, ...] = (Critical(), NoWorse(), Errors(), Coverage())


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules and error rates. Shares, not percents; `alpha` and `beta` one-sided."""

    margin: float = 0.05
    """The loss that must be ruled out for a PASS."""
    tolerance: float = 0.0
    """The loss that is not called a regression."""
    alpha: float = 0.05
    """Chance of calling REGRESSION at a true loss of `tolerance`."""
    beta: float = 0.05
    """Chance of calling PASS at a true loss of `margin`."""
    on_inconclusive: OnInconclusive = "warn"
    rules: Sequence[Rule] = field(default=DEFAULT_RULES)
    baseline_repeats: int | None = None
    """Baseline trials per case; None: 3, or 1 if the provider is deterministic."""
    baseline_max_age: int = 30
    """Days after which the baseline is run again."""
    judges: Literal["any", "calibrated"] = "any"
    scale_margin: bool = False

    def for_rule(self, rule: NoWorse | Anchor) -> Policy:
        """Return the policy with the margin and the tolerance of `rule`, where it has its own."""
        margin = self.margin if rule.margin is None else rule.margin
        tolerance = self.tolerance if rule.tolerance is None else rule.tolerance
        return replace(self, margin=margin, tolerance=tolerance)


TRIALS_BY_LOOK: Mapping[int, int] = {1: 1, 2: 3, 3: 5}
"""Trials per case and side at each look under `on_inconclusive: rerun`."""
SHARES: Mapping[int, float] = {1: 0.5, 2: 0.25, 3: 0.25}
"""The part of α and β that each look may spend: at the full rates each, PASS at a true loss of the
margin would rise to 7.5–8.9%."""


def at_look(policy: Policy, look: int) -> Policy:
    """Return the policy with the error rates that one look may spend; as it is without `rerun`."""
    if policy.on_inconclusive != "rerun":
        return policy
    share = SHARES[look]
    return replace(policy, alpha=policy.alpha * share, beta=policy.beta * share)


def gated_metrics(policy: Policy) -> set[str]:
    """Return the metrics that some rule of the policy decides on."""
    return {rule.metric for rule in policy.rules if isinstance(rule, (NoWorse, Anchor, Floor))}


def policy_changes(before: Policy, after: Policy) -> list[str]:
    """Return what differs between two policies: `margin 0.05 → 0.2`, `rules`."""
    changed = [
        f"{item.name} {getattr(before, item.name)} → {getattr(after, item.name)}"
        for item in fields(Policy)
        if item.name != "rules" and getattr(before, item.name) != getattr(after, item.name)
    ]
    return changed + ([] if tuple(before.rules) == tuple(after.rules) else ["rules"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A named place with a policy, in promotion order."""

    name: str
    after: str | None = None
    """A version must run there before it may come here."""
    accept: Literal["inconclusive", "pass"] = "inconclusive"
    """`pass`: a version with an inconclusive verdict can't be promoted, whatever the flags."""
    gate: Mapping[str, object] = field(default_factory=dict)
    """The part of the policy that this environment overrides."""


class Decision(Enum):
    """Worst first: the order in which findings make a verdict."""

    FAIL = "FAIL"
    INCOMPLETE = "INCOMPLETE"
    INCONCLUSIVE = "INCONCLUSIVE"
    PASS = "PASS"  # noqa: S105 - a word of the domain, not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A paired difference with its interval. Shares in [−1, 1]; higher is better."""

    n: int
    """Cases compared."""
    regressed: int
    """Cases that passed on the baseline (mean ≥ ½) and fail now."""
    improved: int
    identical: int
    """Cases whose request is the same in both sides, compared as d = 0."""
    baseline_mean: float
    candidate_mean: float
    difference: float
    lower: float
    """Lower end of the interval, at level 1 − β."""
    upper: float
    """Upper end, at level 1 − α."""
    margin: float
    smallest_margin: float
    """The smallest margin that would have passed."""
    cases_needed: int
    """Cases for 80% power at this variance, never fewer than the zero-loss minimum."""
    p_regression: float
    """One-sided p of a regression beyond the tolerance."""
    p_adjusted: float
    """The same, Holm-adjusted over the family of gated comparisons."""
    groups: int | None = None
    design_effect: float | None = None
    unmeasured: int = 0
    """Trials filled with the worst value for PASS and the best for REGRESSION."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule's measurement and decision."""

    rule: str
    decision: Decision
    why: str
    """One sentence with the figures that decided."""
    evalset: str | None = None
    """The evalset that it is about."""
    metric: str | None = None
    slice: str | None = None
    """The tag of the cases that it is about; None: all cases."""
    quality: bool = False
    """Whether it is about quality: PASS needs at least one such finding."""
    estimate: Estimate | None = None
    cases: tuple[str, ...] = ()
    """Ids of the cases that caused it, in evalset order."""
    figures: Mapping[str, Json] = field(default_factory=dict)
    """The numbers behind `why`, for machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's answer for one prompt on one or more evalsets."""

    decision: Decision
    why: str
    findings: tuple[Finding, ...]
    on_inconclusive: OnInconclusive = "warn"

    @property
    def exit_code(self) -> ExitCode:
        """Return what `eval` exits with for this verdict alone."""
        match self.decision:
            case Decision.FAIL:
                return ExitCode.FAILED
            case Decision.INCOMPLETE:
                return ExitCode.INCOMPLETE
            case Decision.INCONCLUSIVE if self.on_inconclusive != "warn":
                return ExitCode.INCONCLUSIVE
            case _:
                return ExitCode.DONE
