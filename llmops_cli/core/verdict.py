"""Findings, one per rule and metric, and the verdict over all of them.

These are the values that are printed, exported, embedded in evidence and recomputed by
`llmops verify`. docs/verdict.md tells how they are reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import OnInconclusive


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
