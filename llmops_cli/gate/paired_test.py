"""The rules `no_worse` and `anchor`: is a regression of the margin ruled out, or any significant?

A sample has one paired difference per compared case, its trials averaged first. An unmeasured trial
is filled, never left out: with the worst value for the candidate where PASS is tested
(`pessimistic`), with the best where REGRESSION is (`optimistic`). Where both sides sent the very
same request the difference is 0 and their trials are trials of one thing.

A comparison is first measured, then judged: whether a loss is a regression depends on the p-values
of all comparisons made together (Holm), whether it passes does not (intersection–union). So
`measure` returns either a settled `Finding`, where nothing needs testing, or a `Measured` that
`judge` turns into one.

What an evalset can show is known before any call: with no case regressed and none improved, PASS
rules out a margin m where the largest chance to see that although m is lost is under β: (1 − m)^n
for n cases, so that PASS needs log β / log(1 − m) of them. With groups it is the chance that no
group fell (`score_test.log_chance_unseen`). Another look at the same cases is worth its calls where
its projected bound can decide. Trials shrink the noise within cases, not the one between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import (
    TRIALS_BY_LOOK,
    Anchor,
    Decision,
    Estimate,
    Finding,
    NoWorse,
    Policy,
    at_look,
    rule_name,
)
from llmops_cli.core.prompt import Case
from llmops_cli.gate.comparison import NO_BASELINE, Comparison, Flags, GateInput, pooled_means
from llmops_cli.gate.score_test import (
    FEWEST_GROUPS,
    NORMAL,
    Floats,
    Groups,
    Reference,
    Sample,
    corrected_z,
    group_reference,
    group_sample,
    log_chance_unseen,
    lower_end,
    reference,
    sample,
    upper_end,
)
from llmops_cli.gate.wording import (
    cases,
    counted,
    interval_ends,
    percent_up,
    points,
    points_up,
    probability,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Compared cases of one metric; differences are candidate − baseline on [−1, 1]."""

    mask: Flags
    """The compared cases among all: `n` of them, at least 1."""
    n: int
    pessimistic: Floats
    optimistic: Floats
    observed: Floats
    """Differences of the cases that are measured in both sides; may be fewer than `n`."""
    baseline_mean: float
    candidate_mean: float
    """Over the observed cases; 0 where there is none."""
    regressed: int
    improved: int
    identical: int
    unmeasured: int
    """Trials that were filled."""
    groups: Groups | None
    groups_of_observed: Groups | None
    nothing_to_lose: bool
    """Whether every measured trial of both sides is at 0: then a regression can't be detected."""

    @property
    def all_identical(self) -> bool:
        return self.identical == self.n

    @property
    def for_pass(self) -> tuple[Sample, Reference]:
        """The sample in which PASS is tested, of cases or of groups, and what to compare with."""
        if self.groups is None:
            return sample(self.pessimistic), NORMAL
        values = group_sample(self.pessimistic, self.groups)
        return values, group_reference(self.groups.count)

    @property
    def for_regression(self) -> tuple[Sample, Reference]:
        """The same for REGRESSION."""
        return sample(self.optimistic), reference(self.optimistic, self.groups)

    def p_of_regression(self, tolerance: float) -> float:
        """Return the one-sided p of a regression beyond `tolerance`; 1 with too few groups."""
        if self.groups is not None and self.groups.too_few:
            return 1.0
        values, compared_with = self.for_regression
        return compared_with.below(corrected_z(values, -tolerance))


def pairs(comparison: Comparison, label: str, tag: str | None = None) -> Pairs | None:
    """Return the compared cases of one metric, of those with `tag`; None if there are none."""
    scores = comparison.metric(label)
    mask = comparison.paired & scores.due & comparison.tagged(tag)
    n = int(mask.sum())
    if n == 0:
        return None
    same = comparison.identical[mask]
    candidate, planned_trials = scores.candidate[mask], comparison.candidate.planned_trials[mask]
    baseline, planned_before = scores.baseline[mask], comparison.baseline.planned_trials[mask]
    if scores.paired:
        # What one side is given, the other lacks: the difference of a trial worth v is 2 v − 1, and
        # an unmeasured one is worth −1 or 1.
        total = candidate.measured - candidate.total
        baseline, planned_before = replace(candidate, total=total), planned_trials
    now, before = pooled_means(candidate, baseline, same)
    seen = ~(np.isnan(now) | np.isnan(before))
    observed = (now - before)[seen]
    gaps = np.maximum(planned_trials - candidate.measured, 0)
    if not scores.paired:
        gaps = gaps + np.maximum(planned_before - baseline.measured, 0)
    gaps[same] = 0
    gaps[~seen & ~same & (gaps == 0)] = 1  # nothing was wanted, and nothing is known
    if gaps.any():
        pessimistic = candidate.filled(planned_trials, 0.0) - baseline.filled(planned_before, 1.0)
        optimistic = candidate.filled(planned_trials, 1.0) - baseline.filled(planned_before, 0.0)
        pessimistic[same] = optimistic[same] = 0.0
    else:
        pessimistic = optimistic = np.where(same, 0.0, now - before)
    groups = comparison.groups(mask)
    return Pairs(
        mask=mask,
        n=n,
        pessimistic=pessimistic,
        optimistic=optimistic,
        observed=observed,
        baseline_mean=_mean(before[seen]),
        candidate_mean=_mean(now[seen]),
        regressed=int((comparison.regressed(label) & mask).sum()),
        improved=int((comparison.improved(label) & mask).sum()),
        identical=int(same.sum()),
        unmeasured=int(gaps.sum()),
        groups=groups,
        groups_of_observed=groups and Groups.of(groups.numbers[seen]),
        nothing_to_lose=not (candidate.total.any() or baseline.total.any()),
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


POWER = 0.80
STEPS = 3
MARGIN_STEP = 1e-9
"""Precision of the smallest margin."""


def zero_loss_minimum(margin: float, beta: float) -> int:
    """Return the cases below which nothing can PASS at `margin`, even with no case regressed.

    Raises `Refused` unless 0 < margin < 1: no number of cases can show a margin of 0.
    """
    if not 0.0 < margin < 1.0:
        raise Refused(f"a margin lies between 0 and 1, exclusive; {margin:g} does not")
    return math.floor(math.log(beta) / math.log1p(-margin)) + 1


def smallest_margin_shown(n: int, beta: float) -> float:
    """Return the regression that `n` cases rule out if no case regresses."""
    return -math.expm1(math.log(beta) / n)


def fewest_cases(n: int, groups: Groups | None, margin: float, beta: float) -> int:
    """Return the zero-loss minimum for cases that are grouped as these `n` are."""
    if groups is None:
        return zero_loss_minimum(margin, beta)
    chance = log_chance_unseen(_relative(groups), margin)
    count = groups.count
    for _ in range(STEPS):  # the level that t needs changes little with the count
        count = math.ceil(groups.count * _log_level(count, beta) / chance)
    return math.ceil(n * max(count, FEWEST_GROUPS) / groups.count)


def cases_needed(variance: float, margin: float, beta: float) -> int:
    """Return the cases for 80% power to PASS at no true loss, at this variance of differences."""
    normal = NormalDist()
    total = normal.inv_cdf(1.0 - beta) + normal.inv_cdf(POWER)
    return max(
        zero_loss_minimum(margin, beta), math.ceil(total * total * variance / (margin * margin))
    )


def groups_of(labels: Sequence[str | None]) -> Groups | None:
    """Return the groups of cases with these labels, one each; None if no case names one."""
    if not any(labels):
        return None
    numbers: dict[str | int, int] = {}
    keys = (at if label is None else label for at, label in enumerate(labels))
    column = [numbers.setdefault(key, len(numbers)) for key in keys]
    return Groups.of(np.array(column, dtype=np.int32))


def too_few_groups(evalset: Sequence[Case], policy: Policy) -> str | None:
    """Say which comparison of the policy can never decide, for want of groups; None: each can."""
    for rule in policy.rules:
        if isinstance(rule, (NoWorse, Anchor)):
            compared = [case for case in evalset if rule.tag is None or rule.tag in case.tags]
            groups = groups_of([case.group for case in compared])
            if groups is not None and groups.too_few:
                among = f"{cases(len(compared))} in {counted(groups.count, 'group')}"
                slice_ = f" tagged '{rule.tag}'" if rule.tag else ""
                return f"{among}{slice_} can decide nothing: at least {FEWEST_GROUPS} groups needed"
    return None


def what_it_can_show(labels: Sequence[str | None], policy: Policy) -> str:
    """Return one sentence on what the compared cases can show under the margin of `policy`.

    `labels` are the groups that the cases name, one each. The strictest margin of the `no_worse`
    rules counts, at the error rates of a first look.
    """
    n = len(labels)
    margins = [policy.for_rule(rule).margin for rule in policy.rules if isinstance(rule, NoWorse)]
    if not margins:
        return f"the policy has no no_worse rule: {cases(n)} are judged by its other rules alone"
    smallest = min(margins)
    beta, margin = at_look(policy, 1).beta, percent_up(smallest)
    groups, among = groups_of(labels), cases(n)
    if groups is not None:
        among += f" in {counted(groups.count, 'group')}"
        if groups.too_few:
            return f"{among} cannot show anything: at least {FEWEST_GROUPS} groups are needed"
    needed = fewest_cases(n, groups, smallest, beta)
    if n < 1:
        return f"no case to compare; a margin of {margin} needs at least {cases(needed)}"
    if groups is None:
        best, takes = smallest_margin_shown(n, beta), f"{needed:,}"
    else:
        best = _smallest_margin_of(groups, beta)
        takes = f"about {math.ceil(groups.count * needed / n):,} such groups"
    if n < needed:
        return (
            f"{among} cannot show a margin of {margin} even if none regresses: "
            f"{takes} are needed; the smallest margin for them is {percent_up(best)}"
        )
    return (
        f"{among} can show a margin of {margin} (at least {takes} needed); if none "
        f"regresses, they rule out a regression above {percent_up(best)}"
    )


def _relative(groups: Groups) -> Floats:
    """Return group sizes over their mean, largest first."""
    relative: Floats = np.sort(groups.sizes)[::-1] / groups.sizes.mean()
    return relative


def _log_level(count: int, beta: float) -> float:
    """Return the log of the chance that is small enough for PASS with `count` groups."""
    return math.log(NormalDist().cdf(-group_reference(count).critical(beta)))


def _smallest_margin_of(groups: Groups, beta: float) -> float:
    """Return the loss that groups rule out when no case regresses (bisection)."""
    sizes, level = _relative(groups), _log_level(groups.count, beta)
    low, high = 0.0, 1.0
    while high - low > MARGIN_STEP:
        middle = (low + high) / 2
        if log_chance_unseen(sizes, middle) < level:
            high = middle
        else:
            low = middle
    return high


def next_look(comparison: Comparison, policy: Policy, look: int) -> tuple[int | None, str]:
    """Return the look that can decide what `look` (1, 2 or 3) left undecided, and why.

    None: no further look can, only more cases.
    """
    rules = [rule for rule in policy.rules if isinstance(rule, NoWorse)]
    for following in range(look + 1, len(TRIALS_BY_LOOK) + 1):
        at_following = at_look(policy, following)
        if rules and all(_can_decide(comparison, rule, at_following, following) for rule in rules):
            return following, f"{TRIALS_BY_LOOK[following]} trials per case can decide"
    why = "more trials of the same cases cannot decide at this difference"
    if look >= len(TRIALS_BY_LOOK):
        why = f"all {len(TRIALS_BY_LOOK)} looks are used"
    return None, f"{why}: add cases, not repeats"


def _can_decide(comparison: Comparison, rule: NoWorse, policy: Policy, look: int) -> bool:
    """Return whether the observed mean, with the variance of that look, would decide.

    A normal bound: it is a forecast of whether calls are well spent, not a test.
    """
    compared = pairs(comparison, rule.metric, rule.tag)
    if compared is None or not len(compared.observed):
        return False
    if compared.all_identical:
        return True
    groups = compared.groups_of_observed
    if groups is not None and groups.too_few:
        return False
    mean, n = float(compared.observed.mean()), len(compared.observed)
    left = _variance_left(comparison, compared.mask, TRIALS_BY_LOOK[look])
    error = math.sqrt(float(compared.observed.var()) * left / n)
    compared_with = reference(compared.observed, groups)
    rates = policy.for_rule(rule)
    enough = compared.n >= fewest_cases(compared.n, compared.groups, rates.margin, rates.beta)
    passes = enough and mean - compared_with.critical(rates.beta) * error > -rates.margin
    return passes or mean + compared_with.critical(rates.alpha) * error < -rates.tolerance


def _variance_left(comparison: Comparison, mask: Flags, trials: int) -> float:
    """Return (1/K′₁ + 1/K′₀) / (1/K₁ + 1/K₀); a side with enough trials is left alone."""
    sides = (comparison.candidate, comparison.baseline)
    now = [max(1.0, float(side.planned_trials[mask].mean())) for side in sides]
    return sum(1 / max(k, trials) for k in now) / sum(1 / k for k in now)


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
    rates = gate_input.rates.for_rule(rule)
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
        changes = f"{compared.improved} improved, {compared.regressed} regressed of {compared.n:,}"
        why = f"{changes}, in only {few}: fewer than {FEWEST_GROUPS} groups decide nothing"
        return Decision.INCONCLUSIVE, why
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
    p = compared.p_of_regression(rates.tolerance)
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
        f"{estimate.improved} improved, {estimate.regressed} regressed of {estimate.n:,}",
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


def _smallest_margin(margin: float, *, passed: bool) -> str:
    if margin >= 1.0:
        return "no margin would pass"
    if margin == 0.0:
        return "any margin would pass"
    return f"a margin of {percent_up(margin)} would {'still ' if passed else ''}pass"
