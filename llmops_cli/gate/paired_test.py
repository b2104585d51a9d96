"""`no_worse` and `anchor`: is a loss beyond the margin ruled out, proven, or neither?

A comparison is first measured, then judged: whether a loss is a regression depends on the p-values
of all comparisons made together (Holm), whether it passes does not (intersection–union). So
`measure` gives either a settled `Finding`, where nothing needs testing, or a `Measured` that
`judge` turns into one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from llmops_cli.core.policy import Anchor, NoWorse
from llmops_cli.core.verdict import Decision, Estimate, Finding
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
"""With fewer, all of them regress by chance in more than 1 of 20 runs where every answer is a coin
toss: they never FAIL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one comparison has to show, all defaults resolved."""

    rule: Literal["no_worse", "anchor"]
    evalset: str
    metric: str
    tag: str | None
    against: str
    """What the candidate is compared with, in words."""
    margin: float
    tolerance: float
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A tested comparison; its estimate's `p_adjusted` is not adjusted yet."""

    question: Question
    estimate: Estimate
    ruled_out: bool
    """A loss of the margin is ruled out: it passes, whatever the others do."""
    can_fail: bool
    """Not where the margin is ruled out if the unmeasured trials are taken at best: then they, and
    not the candidate, stand between it and a pass. Not with too few cases either."""
    cases: tuple[str, ...]
    """Regressed cases."""


def ask(rule: NoWorse | Anchor, exam: GateInput) -> Question:
    """Return the question of one rule under the error rates of this look."""
    policy = exam.spent
    return Question(
        rule="no_worse" if isinstance(rule, NoWorse) else "anchor",
        evalset=exam.evalset,
        metric=rule.metric,
        tag=rule.tag if isinstance(rule, NoWorse) else None,
        against="the baseline" if isinstance(rule, NoWorse) else f"the anchor {rule.version}",
        margin=policy.margin if rule.margin is None else rule.margin,
        tolerance=policy.tolerance if rule.tolerance is None else rule.tolerance,
        alpha=policy.alpha,
        beta=policy.beta,
    )


def measure(rule: NoWorse | Anchor, exam: GateInput) -> Measured | Finding:
    """Test one comparison, or settle it where there is nothing to test.

    Raises `UnknownName` for a metric that no scorer gives.
    """
    question = ask(rule, exam)
    comparison = exam.comparison
    if isinstance(rule, Anchor):
        if rule.version not in exam.anchors:
            why = f"not measured against {question.against}"
            return _settled(question, Decision.INCOMPLETE, why)
        comparison = exam.anchors[rule.version]
    comparison.metric(question.metric)
    if not comparison.has_baseline:
        return _settled(question, Decision.INCONCLUSIVE, NO_BASELINE)
    compared = pairs(comparison, question.metric, question.tag)
    if compared is None:
        which = f" with the tag {question.tag}" if question.tag else ""
        why = f"no case{which} has {question.metric} on both sides for the same inputs"
        return _settled(question, Decision.INCONCLUSIVE, why)
    if compared.all_identical:
        requests = (
            "the request matches" if compared.n == 1 else f"all {compared.n:,} requests match"
        )
        why = f"unchanged: {requests} {question.against}"
        return replace(_settled(question, Decision.PASS, why), quality=True)
    if not len(compared.observed):
        why = f"0 of {cases(compared.n)} measured on both sides"
        return _settled(question, Decision.INCOMPLETE, why)
    if compared.nothing_to_lose:
        measured = " measured" if compared.unmeasured else ""
        why = (
            f"{question.metric} is 0 on both sides in all {cases(len(compared.observed))}{measured}"
            ": nothing could get worse; check the scorers"
        )
        return _settled(question, Decision.INCONCLUSIVE, why)
    if compared.groups is not None and compared.groups.too_few:
        why = (
            f"{_counts(compared)}, in only {counted(compared.groups.count, 'group')}: fewer than "
            f"{FEWEST_GROUPS} groups decide nothing"
        )
        return _settled(question, Decision.INCONCLUSIVE, why)
    regressed = comparison.named(comparison.regressed(question.metric) & compared.mask)
    return _tested(question, compared, regressed)


def judge(measured: Measured, *, together: float, alone: float, family: int) -> Finding:
    """Return the finding of one comparison.

    `together` is its p adjusted over all `family` comparisons that are decided together, `alone`
    the same over those of its own prompt only. They differ where several prompts are decided at
    once, and where that changes the decision the sentence says so.
    """
    question = measured.question
    estimate = replace(measured.estimate, p_adjusted=together)
    why = _sentence(question, estimate, passed=measured.ruled_out)
    decision = Decision.PASS if measured.ruled_out else Decision.INCONCLUSIVE
    if measured.can_fail and together <= question.alpha:
        decision = Decision.FAIL
        why = (
            f"statistically significant regression against {question.against} "
            f"({_p(estimate, family)}): {why}"
        )
    elif measured.can_fail and alone <= question.alpha:
        why += (
            f"; a regression by itself ({probability(alone)}), but not over the {family} "
            f"comparisons of all prompts decided together ({probability(together)}, Holm)"
        )
    return replace(
        _settled(question, decision, why),
        quality=True,
        estimate=estimate,
        cases=measured.cases,
        figures={"alpha": question.alpha, "beta": question.beta, "tolerance": question.tolerance},
    )


def _tested(question: Question, compared: Pairs, regressed: tuple[str, ...]) -> Measured:
    pessimistic, for_pass = compared.for_pass
    optimistic, for_regression = compared.for_regression
    lower = lower_end(pessimistic, for_pass.critical(question.beta))
    effect = for_regression.scale**2
    p = for_regression.below(corrected_z(optimistic, -question.tolerance))
    variance = float(compared.observed.var()) * effect
    estimate = Estimate(
        n=compared.n,
        lost=compared.regressed,
        gained=compared.improved,
        identical=compared.identical,
        baseline_mean=compared.baseline_mean,
        candidate_mean=compared.candidate_mean,
        difference=compared.candidate_mean - compared.baseline_mean,
        lower=lower,
        upper=upper_end(optimistic, for_regression.critical(question.alpha)),
        margin=question.margin,
        smallest_margin=max(0.0, -lower),
        cases_needed=max(
            fewest_cases(compared.n, compared.groups, question.margin, question.beta),
            cases_needed(variance, question.margin, question.beta),
        ),
        p_regression=p,
        p_adjusted=p,
        groups=None if compared.groups is None else compared.groups.count,
        design_effect=None if compared.groups is None else effect,
        unmeasured=compared.unmeasured,
    )
    ruled_out = _rules_out(compared.for_pass, question)
    if compared.unmeasured:
        best = replace(compared, pessimistic=compared.optimistic)
        at_best = _rules_out(best.for_pass, question)
    else:
        at_best = ruled_out
    return Measured(
        question=question,
        estimate=estimate,
        ruled_out=ruled_out,
        can_fail=not (ruled_out or at_best) and compared.n >= FEWEST_CASES,
        cases=regressed,
    )


def _rules_out(tested: tuple[Sample, Reference], question: Question) -> bool:
    """Return whether a true loss of the margin is ruled out."""
    values, compared_with = tested
    return corrected_z(values, -question.margin) > compared_with.critical(question.beta)


def _settled(question: Question, decision: Decision, why: str) -> Finding:
    return Finding(
        rule=question.rule,
        decision=decision,
        why=why,
        evalset=question.evalset,
        metric=question.metric,
        slice=question.tag,
    )


def _sentence(question: Question, estimate: Estimate, *, passed: bool) -> str:
    """Return the figures, always in this order (docs/verdict.md)."""
    level = 100 * (1 - question.alpha - question.beta)
    low, high = interval_ends(estimate.lower, estimate.upper, question.margin)
    parts = [
        f"{estimate.gained} improved, {estimate.lost} regressed of {estimate.n:,}",
        f"difference {points(estimate.difference)} points ({level:g}% CI {low} to {high})",
        _largest_loss(question, estimate),
        _smallest_margin(estimate, passed=passed),
        f"~{cases(estimate.cases_needed)} needed for 80% power",
    ]
    if estimate.identical:
        parts.append(f"{counted(estimate.identical, 'request')} unchanged")
    if estimate.groups is not None and estimate.design_effect is not None:
        parts.append(f"{estimate.groups} groups, design effect {estimate.design_effect:.1f}")
    if estimate.unmeasured:
        parts.append(
            f"{counted(estimate.unmeasured, 'unmeasured trial')}, counted against PASS and "
            "against FAIL"
        )
    return "; ".join(parts)


def _counts(compared: Pairs) -> str:
    return f"{compared.improved} improved, {compared.regressed} regressed of {compared.n:,}"


def _largest_loss(question: Question, estimate: Estimate) -> str:
    margin = f"(margin {100 * question.margin:.1f})"
    if estimate.lower >= 0:
        return f"no regression {margin}"
    return f"could be up to {points_up(-estimate.lower, question.margin)} points worse {margin}"


def _smallest_margin(estimate: Estimate, *, passed: bool) -> str:
    if estimate.smallest_margin >= 1.0:
        return "no margin would pass"
    if estimate.smallest_margin == 0.0:
        return "any margin would pass"
    margin = percent_up(estimate.smallest_margin)
    return f"a margin of {margin} would {'still ' if passed else ''}pass"


def _p(estimate: Estimate, family: int) -> str:
    alone = probability(estimate.p_regression)
    if family == 1:
        return alone
    return f"{alone}, over {family} comparisons {probability(estimate.p_adjusted)}"
