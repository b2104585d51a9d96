"""`no_worse` and `anchor`: is a loss beyond the margin excluded, proven, or neither?

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
from llmops_cli.gate.comparison import GateInput
from llmops_cli.gate.pairs import FEWEST_GROUPS, Pairs, pairs, reference
from llmops_cli.gate.power import cases_needed
from llmops_cli.gate.score_test import lower_end, sample, upper_end, z
from llmops_cli.gate.wording import (
    cases,
    counted,
    interval,
    percent_up,
    points,
    points_up,
    probability,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of one comparison, all defaults resolved."""

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
    excluded: bool
    """A loss of the margin is excluded: it passes, whatever the others do."""
    could_pass: bool
    """It is excluded if the unmeasured trials are taken at best: then they, and not the candidate,
    stand between it and a pass, and that is no regression."""
    cases: tuple[str, ...]
    """Lost cases."""


def ask(rule: NoWorse | Anchor, exam: GateInput) -> Question:
    """The question of one rule under the error rates of the exam's look."""
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
    """One comparison, tested, or settled where there is nothing to test.

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
        why = "no baseline: there is nothing to compare with"
        return _settled(question, Decision.INCONCLUSIVE, why)
    compared = pairs(comparison, question.metric, question.tag)
    if compared is None:
        which = f" with the tag {question.tag}" if question.tag else ""
        why = f"no case{which} owes {question.metric} in both arms on the same facts"
        return _settled(question, Decision.INCONCLUSIVE, why)
    if compared.all_identical:
        why = f"by identity: {_requests(compared.n)} the same as on {question.against}"
        return replace(_settled(question, Decision.PASS, why), quality=True)
    if not len(compared.observed):
        why = f"none of {cases(compared.n)} was measured in both arms"
        return _settled(question, Decision.INCOMPLETE, why)
    if compared.nothing_to_lose:
        why = (
            f"{question.metric} is 0 in both arms, on every one of "
            f"{cases(len(compared.observed))}{' measured' if compared.unmeasured else ''}: there "
            "is nothing that could get worse, which tells nothing; look at the scorers"
        )
        return _settled(question, Decision.INCONCLUSIVE, why)
    groups = compared.clusters
    if groups is not None and groups.count < FEWEST_GROUPS:
        why = (
            f"{compared.lost} lost, {compared.gained} gained of {compared.n}, in only "
            f"{counted(groups.count, 'group')}: fewer than {FEWEST_GROUPS} tell nothing reliable"
        )
        return _settled(question, Decision.INCONCLUSIVE, why)
    lost = comparison.named(comparison.lost(question.metric) & compared.mask)
    return _tested(question, compared, lost)


def judge(measured: Measured, *, together: float, alone: float, family: int) -> Finding:
    """The finding of one comparison.

    `together` is its p adjusted over all `family` comparisons that are decided together, `alone`
    the same over those of its own prompt only. They differ where several prompts are decided at
    once, and where that changes the decision the sentence says so.
    """
    question = measured.question
    estimate = replace(measured.estimate, p_adjusted=together)
    why = _sentence(question, estimate, passed=measured.excluded)
    decision = Decision.PASS if measured.excluded else Decision.INCONCLUSIVE
    if not measured.could_pass and together <= question.alpha:
        decision = Decision.FAIL
        why += f"; worse than {question.against} beyond chance ({_p(estimate, family)})"
    elif not measured.could_pass and alone <= question.alpha:
        why += (
            f"; by itself a regression ({probability(alone)}), but not over the {family} "
            f"comparisons of all prompts decided together ({probability(together)}, Holm)"
        )
    return replace(
        _settled(question, decision, why),
        quality=True,
        estimate=estimate,
        cases=measured.cases,
        figures={"alpha": question.alpha, "beta": question.beta, "tolerance": question.tolerance},
    )


def _tested(question: Question, compared: Pairs, lost: tuple[str, ...]) -> Measured:
    worst = sample(compared.pessimistic)
    best = worst if compared.unmeasured == 0 else sample(compared.optimistic)
    for_pass = reference(compared.pessimistic, compared.clusters)
    for_regression = (
        for_pass if compared.unmeasured == 0 else reference(compared.optimistic, compared.clusters)
    )
    needed_z = for_pass.critical(question.beta)
    lower = lower_end(worst, needed_z)
    effect = for_pass.scale**2
    p = for_regression.below(z(best, -question.tolerance))
    estimate = Estimate(
        n=compared.n,
        lost=compared.lost,
        gained=compared.gained,
        identical=compared.identical,
        baseline_mean=compared.baseline_mean,
        candidate_mean=compared.candidate_mean,
        difference=compared.candidate_mean - compared.baseline_mean,
        lower=lower,
        upper=upper_end(best, for_regression.critical(question.alpha)),
        margin=question.margin,
        smallest_margin=max(0.0, -lower),
        cases_needed=cases_needed(
            float(compared.observed.var()) * effect, question.margin, question.beta
        ),
        p_regression=p,
        p_adjusted=p,
        groups=None if compared.clusters is None else compared.clusters.count,
        design_effect=None if compared.clusters is None else effect,
        unmeasured=compared.unmeasured,
    )
    excluded = z(worst, -question.margin) > needed_z
    at_best = z(best, -question.margin) > for_regression.critical(question.beta)
    return Measured(
        question=question,
        estimate=estimate,
        excluded=excluded,
        could_pass=excluded or at_best,
        cases=lost,
    )


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
    """The figures, always in this order (docs/verdict.md)."""
    level = 100 * (1 - question.alpha - question.beta)
    ends = interval(estimate.lower, estimate.upper)
    parts = [
        f"{estimate.lost} lost, {estimate.gained} gained of {estimate.n}",
        f"mean {points(estimate.difference)} points, {level:g} % interval {ends}",
        _not_excluded(question, estimate),
        _smallest(estimate, passed=passed),
        f"80 % power takes {cases(estimate.cases_needed)}",
    ]
    if estimate.identical:
        parts.append(f"{_requests(estimate.identical)} the same in both arms")
    if estimate.groups is not None and estimate.design_effect is not None:
        parts.append(f"{estimate.groups} groups, design effect {estimate.design_effect:.1f}")
    if estimate.unmeasured:
        parts.append(
            f"{counted(estimate.unmeasured, 'unmeasured trial')} taken at worst for a pass "
            "and at best for a regression"
        )
    return "; ".join(parts)


def _not_excluded(question: Question, estimate: Estimate) -> str:
    margin = f"(margin {100 * question.margin:.1f})"
    if estimate.lower >= 0:
        return f"every loss is excluded {margin}"
    return f"a loss up to {points_up(-estimate.lower)} points is not excluded {margin}"


def _smallest(estimate: Estimate, *, passed: bool) -> str:
    if estimate.smallest_margin >= 1.0:
        return "no margin would pass"
    if estimate.smallest_margin == 0.0:
        return "any margin would pass"
    margin = percent_up(estimate.smallest_margin)
    return f"a margin of {margin} would {'still ' if passed else ''}pass"


def _requests(n: int) -> str:
    return "1 request is" if n == 1 else f"{n:,} requests are"


def _p(estimate: Estimate, family: int) -> str:
    alone = probability(estimate.p_regression)
    if family == 1:
        return alone
    return f"{alone}, over {family} comparisons {probability(estimate.p_adjusted)}"
