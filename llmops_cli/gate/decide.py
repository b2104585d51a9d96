"""Several tests at once: p-values adjusted so that many of them do not cry wolf together.

Holm (1979) bounds the chance of a single false rejection in the family; Benjamini & Hochberg
(1995) the expected share of false ones. Both return values that are compared with the level.

The `pass` metric by tag: where a loss sits, shown and marked, gating nothing.

A slice gates only where a rule declares it (`no_worse: {tag: …}`). Here every tag is tested, and
Benjamini–Hochberg over the tags keeps the marks from crying wolf.

From comparisons to verdicts: every rule gives a finding, the worst finding decides.

FAIL if any rule fails; else INCOMPLETE if anything that was planned is not measured; else
INCONCLUSIVE if any rule is; else PASS, which needs at least one finding about quality.

Whether or not the policy lists them, trials that were never made and error shares above the
default are INCOMPLETE: leaving a rule out of a policy never turns the unmeasured into a pass.
Regressions are adjusted (Holm) over every `no_worse` and `anchor` comparison decided together:
those of one prompt over all its evalsets, and in `decide_all` those of all prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from llmops_cli.core.policy import Coverage, Errors, OnInconclusive
from llmops_cli.core.report import SliceSummary
from llmops_cli.core.verdict import Decision, Finding, Verdict
from llmops_cli.gate import rules
from llmops_cli.gate.comparison import PASS_METRIC, Comparison, GateInput
from llmops_cli.gate.paired_test import Measured, judge
from llmops_cli.gate.pairs import Pairs, pairs
from llmops_cli.gate.rules import DECISIONS
from llmops_cli.gate.score_test import corrected_z


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given."""
    n = len(p_values)
    order = sorted(range(n), key=p_values.__getitem__)
    raised = accumulate(((n - rank) * p_values[at] for rank, at in enumerate(order)), max)
    return _back(order, raised)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (q-values), in the order given."""
    n = len(p_values)
    order = sorted(range(n), key=p_values.__getitem__, reverse=True)
    lowered = accumulate((n / (n - rank) * p_values[at] for rank, at in enumerate(order)), min)
    return _back(order, lowered)


def _back(order: Sequence[int], adjusted: accumulate[float]) -> list[float]:
    placed = [0.0] * len(order)
    for at, value in zip(order, adjusted, strict=True):
        placed[at] = min(1.0, value)
    return placed


def slices(comparison: Comparison) -> tuple[SliceSummary, ...]:
    """One summary per tag that has compared and measured cases, in the order of their names."""
    compared = {tag: pairs(comparison, PASS_METRIC, tag) for tag in comparison.tags}
    shown = {tag: each for tag, each in compared.items() if each and len(each.observed)}
    adjusted = benjamini_hochberg([_p_of_loss(each) for each in shown.values()])
    return tuple(
        SliceSummary(
            tag=tag,
            cases=each.n,
            lost=each.regressed,
            gained=each.improved,
            candidate=each.candidate_mean,
            baseline=each.baseline_mean,
            p_adjusted=p,
        )
        for (tag, each), p in zip(shown.items(), adjusted, strict=True)
    )


def _p_of_loss(compared: Pairs) -> float:
    """Return the one-sided p of a loss; 1 where there are too few groups to tell."""
    if compared.too_few_groups:
        return 1.0
    values, compared_with = compared.for_regression
    return compared_with.below(corrected_z(values, 0.0))


__all__ = ["GateInput", "decide", "decide_all"]

STRICTEST_FIRST: Sequence[OnInconclusive] = ("fail", "rerun", "warn")


def decide(exams: Sequence[GateInput]) -> Verdict:
    """The verdict on one prompt over all its evalsets.

    Raises `UnknownName` where a rule names a metric that no scorer gives.
    """
    return decide_all({"": exams})[""]


def decide_all(prompts: Mapping[str, Sequence[GateInput]]) -> Mapping[str, Verdict]:
    """The verdicts on several prompts, regressions adjusted over all of them together."""
    measured = {
        prompt: [finding for exam in exams for finding in _findings(exam)]
        for prompt, exams in prompts.items()
    }
    together = _adjusted([each for found in measured.values() for each in found])
    family = len(together)
    verdicts = {}
    for prompt, found in measured.items():
        alone = _adjusted(found)
        findings = tuple(
            judge(each, together=together[id(each)], alone=alone[id(each)], family=family)
            if isinstance(each, Measured)
            else each
            for each in found
        )
        verdicts[prompt] = _verdict(findings, prompts[prompt])
    return verdicts


def _adjusted(found: Sequence[Finding | Measured]) -> dict[int, float]:
    """Holm-adjusted p of each tested comparison, by its identity."""
    tested = [each for each in found if isinstance(each, Measured)]
    adjusted = holm([each.estimate.p_regression for each in tested])
    return {id(each): p for each, p in zip(tested, adjusted, strict=True)}


def _findings(gate_input: GateInput) -> list[Finding | Measured]:
    """Return one per rule, in the policy's order, then what is incomplete without a rule for it."""
    findings = [DECISIONS[type(rule)](rule, gate_input) for rule in gate_input.policy.rules]
    listed = {type(rule) for rule in gate_input.policy.rules}
    unlisted: list[Finding | None] = []
    if Errors not in listed:
        unlisted.append(rules.errors(Errors(), gate_input))
    if Coverage not in listed:
        unlisted.append(rules.everything_made(gate_input))
    findings += [
        finding for finding in unlisted if finding and finding.decision is Decision.INCOMPLETE
    ]
    return findings


def _verdict(findings: tuple[Finding, ...], exams: Sequence[GateInput]) -> Verdict:
    decision = next(
        (each for each in Decision if any(found.decision is each for found in findings)),
        Decision.INCONCLUSIVE,
    )
    deciding = [found for found in findings if found.decision is decision]
    if decision is Decision.PASS:
        compared = (found for found in deciding if found.quality and found.estimate)
        absolute = (found for found in deciding if found.quality and not found.estimate)
        deciding = [*compared, *absolute]
    if deciding:
        why = _why(deciding, several=len(exams) > 1)
    else:
        decision, why = Decision.INCONCLUSIVE, "no rule of the policy checks quality"
    partial = sorted({exam.partial for exam in exams if exam.partial})
    if partial:
        why += f" (partial: {', '.join(partial)})"
    return Verdict(
        decision=decision,
        why=why,
        findings=findings,
        on_inconclusive=_strictest([exam.policy.on_inconclusive for exam in exams]),
    )


def _strictest(asked: Sequence[OnInconclusive]) -> OnInconclusive:
    return next((each for each in STRICTEST_FIRST if each in asked), "warn")


def _why(deciding: Sequence[Finding], *, several: bool) -> str:
    """The sentence of the first deciding rule, and the names of the others."""
    first, *others = (_named(found, several=several) for found in deciding)
    also = f"; also {', '.join(others)}" if others else ""
    return f"{first}: {deciding[0].why}{also}"


def _named(found: Finding, *, several: bool) -> str:
    parts = [found.rule]
    if found.metric not in (None, "pass"):
        parts.append(str(found.metric))
    if found.slice:
        parts.append(f"[{found.slice}]")
    if several:
        parts.append(f"on {found.evalset}")
    return " ".join(parts)
