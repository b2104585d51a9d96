"""The rules `no_worse` and `anchor`: is a regression of the margin ruled out, or any regression
significant?

A comparison is first measured, then judged: whether a loss is a regression depends on the p-values
of all comparisons made together (Holm), whether it passes does not (intersection–union). So
`measure` returns either a settled `Finding`, where nothing needs testing, or a `Measured` that
`judge` turns into one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmops_cli.core.policy import Anchor, Decision, Estimate, Finding, NoWorse, Policy, rule_name
from llmops_cli.gate.comparison import NO_BASELINE, GateInput
from llmops_cli.gate.pairs import FEWEST_GROUPS, Pairs, Reference, pairs
from llmops_cli.gate.power import cases_needed, fewest_cases
from llmops_cli.gate.score_test import Sample, corrected_z, lower_end, upper_end
from llmops_cli.gate.wording import (
    cases,
    counted,
    interval_ends,
    percent_up,
    points,
    points_up,
    probability,
)

FEWEST_CASES = 5
"""Fewer never FAIL: where every answer is a coin toss, all of 4 regress in 1 of 16 runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A tested comparison, not judged yet."""

    finding: Finding
    """INCONCLUSIVE and without a sentence so far."""
    estimate: Estimate
    """Its `p_adjusted` is not adjusted yet."""
    against: str
    """The name of what the candidate is compared with."""
    rates: Policy
    """Error rates of the look, margin and tolerance of the rule."""
    ruled_out: bool
    """A regression of the margin is ruled out: it passes, independent of the other comparisons."""
    can_fail: bool
    """Whether it may FAIL. False if the margin would be ruled out with the best values for
    unmeasured trials: then they, and not the candidate, prevent the pass. Also False with too few
    cases.
    """


def measure(rule: NoWorse | Anchor, gate_input: GateInput) -> Measured | Finding:
    """Test one comparison, or settle it where there is nothing to test.

    Raises `UnknownName` for a metric that no scorer gives.
    """
    comparison, against = gate_input.comparison, "the baseline"
    finding = Finding(
        rule=rule_name(type(rule)),
        decision=Decision.INCONCLUSIVE,
        why=NO_BASELINE,
        evalset=gate_input.evalset,
        metric=rule.metric,
        slice=rule.tag,
    )
    if isinstance(rule, Anchor):
        against = f"the anchor {rule.version}"
        if rule.version not in gate_input.anchors:
            why = f"not measured against {against}"
            return replace(finding, decision=Decision.INCOMPLETE, why=why)
        comparison = gate_input.anchors[rule.version]
    comparison.metric(rule.metric)
    if not comparison.has_baseline:
        return finding
    compared = pairs(comparison, rule.metric, rule.tag)
    if compared is None:
        which = f" with the tag {rule.tag}" if rule.tag else ""
        why = f"no case{which} has {rule.metric} on both sides for the same inputs"
        return replace(finding, why=why)
    settled = _without_test(compared, rule.metric, against)
    if settled is not None:
        decision, why = settled
        return replace(finding, decision=decision, why=why, quality=decision is Decision.PASS)
    rates = gate_input.rates
    rates = replace(
        rates,
        margin=rates.margin if rule.margin is None else rule.margin,
        tolerance=rates.tolerance if rule.tolerance is None else rule.tolerance,
    )
    ruled_out = _rules_out(compared.for_pass, rates)
    at_best = ruled_out
    if compared.unmeasured:
        at_best = _rules_out(replace(compared, pessimistic=compared.optimistic).for_pass, rates)
    regressed = comparison.named(comparison.regressed(rule.metric) & compared.mask)
    return Measured(
        finding=replace(finding, quality=True, cases=regressed),
        estimate=_estimate(compared, rates),
        against=against,
        rates=rates,
        ruled_out=ruled_out,
        can_fail=not (ruled_out or at_best) and compared.n >= FEWEST_CASES,
    )


def _without_test(compared: Pairs, metric: str, against: str) -> tuple[Decision, str] | None:
    """Return the decision and its reason where no test is needed or possible; None: test."""
    if compared.all_identical:
        match = "the request matches" if compared.n == 1 else f"all {compared.n:,} requests match"
        return Decision.PASS, f"unchanged: {match} {against}"
    observed = len(compared.observed)
    if not observed:
        return Decision.INCOMPLETE, f"0 of {cases(compared.n)} measured on both sides"
    if compared.nothing_to_lose:
        which = f"{cases(observed)}{' measured' if compared.unmeasured else ''}"
        why = f"{metric} is 0 on both sides in all {which}: nothing could get worse; "
        return Decision.INCONCLUSIVE, f"{why}check the scorers"
    if compared.groups is not None and compared.groups.too_few:
        few = counted(compared.groups.count, "group")
        why = f"{_changes(compared.improved, compared.regressed, compared.n)}, in only {few}: "
        return Decision.INCONCLUSIVE, f"{why}fewer than {FEWEST_GROUPS} groups decide nothing"
    return None


def judge(measured: Measured, *, together: float, alone: float, family: int) -> Finding:
    """Return the finding of one comparison.

    `together` is its p adjusted over all `family` comparisons that are decided together, `alone`
    the same over those of its own prompt only. They differ where several prompts are decided at
    once, and where that changes the decision the sentence says so.
    """
    rates, estimate = measured.rates, replace(measured.estimate, p_adjusted=together)
    why = _sentence(measured)
    decision = Decision.PASS if measured.ruled_out else Decision.INCONCLUSIVE
    if measured.can_fail and together <= rates.alpha:
        decision = Decision.FAIL
        p = probability(estimate.p_regression)
        if family > 1:
            p += f", over {family} comparisons {probability(together)}"
        why = f"statistically significant regression against {measured.against} ({p}): {why}"
    elif measured.can_fail and alone <= rates.alpha:
        why += (
            f"; a regression by itself ({probability(alone)}), but not over the {family} "
            f"comparisons of all prompts decided together ({probability(together)}, Holm)"
        )
    return replace(
        measured.finding,
        decision=decision,
        why=why,
        estimate=estimate,
        figures={"alpha": rates.alpha, "beta": rates.beta, "tolerance": rates.tolerance},
    )


def _rules_out(tested: tuple[Sample, Reference], rates: Policy) -> bool:
    """Return whether a true loss of the margin is ruled out."""
    values, compared_with = tested
    return corrected_z(values, -rates.margin) > compared_with.critical(rates.beta)


def _estimate(compared: Pairs, rates: Policy) -> Estimate:
    pessimistic, for_pass = compared.for_pass
    optimistic, for_regression = compared.for_regression
    lower = lower_end(pessimistic, for_pass.critical(rates.beta))
    p = for_regression.below(corrected_z(optimistic, -rates.tolerance))
    effect = for_regression.scale**2
    variance = float(compared.observed.var()) * effect
    groups = compared.groups
    return Estimate(
        n=compared.n,
        regressed=compared.regressed,
        improved=compared.improved,
        identical=compared.identical,
        baseline_mean=compared.baseline_mean,
        candidate_mean=compared.candidate_mean,
        difference=compared.candidate_mean - compared.baseline_mean,
        lower=lower,
        upper=upper_end(optimistic, for_regression.critical(rates.alpha)),
        margin=rates.margin,
        smallest_margin=max(0.0, -lower),
        cases_needed=max(
            fewest_cases(compared.n, groups, rates.margin, rates.beta),
            cases_needed(variance, rates.margin, rates.beta),
        ),
        p_regression=p,
        p_adjusted=p,
        groups=None if groups is None else groups.count,
        design_effect=None if groups is None else effect,
        unmeasured=compared.unmeasured,
    )


def _sentence(measured: Measured) -> str:
    """Return the figures, always in this order (docs/verdict.md)."""
    rates, estimate = measured.rates, measured.estimate
    level = 100 * (1 - rates.alpha - rates.beta)
    low, high = interval_ends(estimate.lower, estimate.upper, rates.margin)
    if estimate.lower >= 0:
        largest_loss = "no regression"
    else:
        largest_loss = f"could be up to {points_up(-estimate.lower, rates.margin)} points worse"
    parts = [
        _changes(estimate.improved, estimate.regressed, estimate.n),
        f"difference {points(estimate.difference)} points ({level:g}% CI {low} to {high})",
        f"{largest_loss} (margin {100 * rates.margin:.1f})",
        _smallest_margin(estimate.smallest_margin, passed=measured.ruled_out),
        f"~{cases(estimate.cases_needed)} needed for 80% power",
    ]
    if estimate.identical:
        parts.append(f"{counted(estimate.identical, 'request')} unchanged")
    if estimate.groups is not None and estimate.design_effect is not None:
        parts.append(f"{estimate.groups} groups, design effect {estimate.design_effect:.1f}")
    if estimate.unmeasured:
        unmeasured = counted(estimate.unmeasured, "unmeasured trial")
        parts.append(f"{unmeasured}, counted against PASS and against FAIL")
    return "; ".join(parts)


def _changes(improved: int, regressed: int, n: int) -> str:
    return f"{improved} improved, {regressed} regressed of {n:,}"


def _smallest_margin(margin: float, *, passed: bool) -> str:
    if margin >= 1.0:
        return "no margin would pass"
    if margin == 0.0:
        return "any margin would pass"
    return f"a margin of {percent_up(margin)} would {'still ' if passed else ''}pass"
