"""What an environment demands of a candidate: a list of rules and their error rates.

A policy is assembled from three layers of plain data, project < evalset < environment
(`Policy.merged`); each rule gives one or more findings (gate/rules.py). docs/verdict.md explains
every number here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

OnInconclusive: TypeAlias = Literal["warn", "fail", "rerun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Critical:
    """No case marked critical may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoWorse:
    """Non-inferior to the baseline on one metric: a loss of the margin is excluded."""

    metric: str = "pass"
    margin: float | None = None
    """None: the policy's own, as with `tolerance`."""
    tolerance: float | None = None
    tag: str | None = None
    """A declared slice: only cases with this tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """As `no_worse`, against a pinned version: catches many small losses in a row."""

    version: str
    metric: str = "pass"
    margin: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The metric's mean over the evalset is at least `min`."""

    minimum: float
    metric: str = "pass"
    by: Literal["mean", "bound"] = "mean"
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressed:
    """At most `max` (a share) of the cases that passed now fail."""

    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Mean cost per case grows by at most `margin` (a share), one-sided t."""

    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Mean tokens per case grow by at most `margin` (a share), one-sided t."""

    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The 95th percentile of this run's own calls is at most `p95` seconds."""

    p95: float
    of: Literal["whole", "first_token"] = "whole"
    """The whole answer, or the time until its first token, which is measured by streaming."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """At most `max` (a share) of a side's draws failed or went unscored."""

    maximum: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """No case of the baseline is gone unretired; every planned trial was measured."""


Rule: TypeAlias = (
    Critical | NoWorse | Anchor | Floor | Regressed | Cost | Tokens | Latency | Errors | Coverage
)

RULES: Mapping[str, type[Rule]] = {
    "critical": Critical,
    "no_worse": NoWorse,
    "anchor": Anchor,
    "floor": Floor,
    "regressed": Regressed,
    "cost": Cost,
    "tokens": Tokens,
    "latency": Latency,
    "errors": Errors,
    "coverage": Coverage,
}

DEFAULT_RULES: tuple[Rule, ...] = (Critical(), NoWorse(), Errors(), Coverage())


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules and error rates. Shares, not per cents; `alpha` and `beta` one-sided."""

    margin: float = 0.05
    """The loss that must be excluded before PASS is said."""
    tolerance: float = 0.0
    """The loss that is not called a regression."""
    alpha: float = 0.05
    """Chance of calling REGRESSION at a true loss of `tolerance`."""
    beta: float = 0.05
    """Chance of calling PASS at a true loss of `margin`."""
    on_inconclusive: OnInconclusive = "warn"
    rules: Sequence[Rule] = field(default=DEFAULT_RULES)
    baseline_repeats: int | None = None
    """Baseline draws per case; None: 3, or 1 where the provider is deterministic."""
    baseline_max_age: int = 30
    """Days after which the baseline is drawn anew."""
    judges: Literal["any", "calibrated"] = "any"
    scale_margin: bool = False


def gated_metrics(policy: Policy) -> set[str]:
    """Return the metrics that some rule of the policy decides on."""
    return {rule.metric for rule in policy.rules if isinstance(rule, (NoWorse, Anchor, Floor))}


def policy_changes(then: Policy, now: Policy) -> list[str]:
    """What differs between two policies: `margin 0.05 → 0.2`, `rules`."""
    changed = [
        f"{one.name} {getattr(then, one.name)} → {getattr(now, one.name)}"
        for one in fields(Policy)
        if one.name != "rules" and getattr(then, one.name) != getattr(now, one.name)
    ]
    return changed + ([] if tuple(then.rules) == tuple(now.rules) else ["rules"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A named place with a policy, in promotion order."""

    name: str
    after: str | None = None
    """A version must run there before it may come here."""
    accept: Literal["inconclusive", "pass"] = "inconclusive"
    """`pass`: an inconclusive verdict never enters, whatever flags are given."""
    gate: Mapping[str, object] = field(default_factory=dict)
    """The part of the policy that this environment overrides."""
