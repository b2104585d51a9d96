"""Decide verdicts from findings: every rule returns a finding, and the worst one decides.

FAIL if any rule fails; else INCOMPLETE if anything that was planned is not measured; else
INCONCLUSIVE if any rule is; else PASS, which needs at least one finding about quality.

Whether or not the policy lists them, trials that were never made and error shares above the default
are INCOMPLETE: omitting a rule from a policy never turns unmeasured cases into a pass. Regressions
are adjusted (Holm) over every `no_worse` and `anchor` comparison decided together: those of one
prompt over all its evalsets, and in `decide_all` those of all prompts. Each evalset that the change
adds is a family of its own: it can block, and makes no regression on another one less significant.
So are cases that it adds to an evalset: quality is decided with them, and again without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import NamedTuple

from llmops_cli.core.policy import (
    Anchor,
    Coverage,
    Decision,
    Errors,
    Finding,
    Floor,
    NoWorse,
    OnInconclusive,
    Regressed,
    Verdict,
)
from llmops_cli.core.report import SliceSummary
from llmops_cli.gate import rules
from llmops_cli.gate.comparison import PASS_METRIC, Comparison, GateInput
from llmops_cli.gate.paired_test import Measured, judge, pairs

DILUTED = (NoWorse, Anchor, Floor, Regressed)
"""Rules that a change would meet by adding enough cases that pass."""
STRICTEST_FIRST: Sequence[OnInconclusive] = ("fail", "rerun", "warn")


def decide(gate_inputs: Sequence[GateInput]) -> Verdict:
    """Return the verdict on one prompt over all its evalsets.

    Raises `UnknownName` if a rule names a metric that no scorer gives.
    """
    return decide_all({"": gate_inputs})[""]


def decide_all(prompts: Mapping[str, Sequence[GateInput]]) -> Mapping[str, Verdict]:
    """Return the verdicts on several prompts, regressions adjusted over all of them together."""
    measured = {
        prompt: [measured for item in gate_inputs for measured in _measured(item)]
        for prompt, gate_inputs in prompts.items()
    }
    together = _adjusted(chain.from_iterable(measured.values()))
    verdicts = {}
    for prompt, findings in measured.items():
        alone = _adjusted(findings)
        decided = tuple(
            _of_base(
                item,
                judge(
                    finding,
                    together=together[id(finding)].p,
                    alone=alone[id(finding)].p,
                    family=together[id(finding)].family,
                )
                if isinstance(finding, Measured)
                else finding,
            )
            for item, finding in findings
        )
        verdicts[prompt] = _verdict(decided, prompts[prompt])
    return verdicts


def slices(comparison: Comparison) -> tuple[SliceSummary, ...]:
    """Return one summary of `pass` per tag that has measured cases, in the order of their names.

    They show where a regression is and decide nothing: a slice only gates if a rule declares it
    (`no_worse: {tag: …}`). Marks are adjusted over the tags (Benjamini–Hochberg).
    """
    compared = {tag: pairs(comparison, PASS_METRIC, tag) for tag in comparison.tags}
    shown = {tag: tagged for tag, tagged in compared.items() if tagged and len(tagged.observed)}
    adjusted = benjamini_hochberg([tagged.p_of_regression(0.0) for tagged in shown.values()])
    return tuple(
        SliceSummary(
            tag=tag,
            cases=tagged.n,
            regressed=tagged.regressed,
            improved=tagged.improved,
            candidate=tagged.candidate_mean,
            baseline=tagged.baseline_mean,
            p_adjusted=p,
        )
        for (tag, tagged), p in zip(shown.items(), adjusted, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values that bound the chance of any false rejection (Holm 1979)."""
    n = len(p_values)
    order = sorted(range(n), key=p_values.__getitem__)
    raised = accumulate(((n - rank) * p_values[at] for rank, at in enumerate(order)), max)
    return [min(1.0, p) for _, p in sorted(zip(order, raised, strict=True))]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values that bound the share of false rejections (1995)."""
    n = len(p_values)
    order = sorted(range(n), key=p_values.__getitem__, reverse=True)
    lowered = accumulate((n / (n - rank) * p_values[at] for rank, at in enumerate(order)), min)
    return [min(1.0, p) for _, p in sorted(zip(order, lowered, strict=True))]


class _Adjusted(NamedTuple):
    """A Holm-adjusted p, and the number of comparisons that it is adjusted over."""

    p: float
    family: int


def _adjusted(findings: Iterable[tuple[GateInput, Finding | Measured]]) -> dict[int, _Adjusted]:
    """Return the adjusted p of each tested comparison, by its identity."""
    families: dict[int | None, list[Measured]] = {}
    for gate_input, finding in findings:
        if isinstance(finding, Measured):
            family = id(gate_input) if gate_input.new else None
            families.setdefault(family, []).append(finding)
    return {
        id(measured): _Adjusted(p, len(tested))
        for tested in families.values()
        for measured, p in zip(
            tested, holm([item.estimate.p_regression for item in tested]), strict=True
        )
    }


def _measured(gate_input: GateInput) -> Iterator[tuple[GateInput, Finding | Measured]]:
    """Yield every finding with the gate input that it is of."""
    if not gate_input.added:
        yield from ((gate_input, finding) for finding in _findings(gate_input))
        return
    whole, of_base = replace(gate_input, new=True, added=()), gate_input.of_base
    yield from ((whole, finding) for finding in _findings(whole))
    for rule in gate_input.policy.rules:
        if isinstance(rule, DILUTED):
            yield of_base, rules.DECISIONS[type(rule)](rule, of_base)


def _of_base(item: GateInput, finding: Finding) -> Finding:
    """Return `finding`, and say so where it is about the cases of the base only."""
    if not item.added:
        return finding
    return replace(finding, why=f"without the cases that this change adds, {finding.why}")


def _findings(gate_input: GateInput) -> list[Finding | Measured]:
    """Return one per rule, in the policy's order, then what is incomplete without a rule for it."""
    policy = gate_input.policy
    findings = [rules.DECISIONS[type(rule)](rule, gate_input) for rule in policy.rules]
    listed = {type(rule) for rule in policy.rules}
    errors = rules.errors(Errors(), gate_input)
    if Errors not in listed and errors.decision is Decision.INCOMPLETE:
        findings.append(errors)
    missing = rules.missing_trials(gate_input)
    if Coverage not in listed and missing is not None:
        incomplete = Decision.INCOMPLETE
        findings.append(
            Finding(rule="coverage", decision=incomplete, why=missing, evalset=gate_input.evalset)
        )
    return findings


def _verdict(findings: tuple[Finding, ...], gate_inputs: Sequence[GateInput]) -> Verdict:
    decision = min(
        (finding.decision for finding in findings), key=list(Decision).index, default=None
    )
    deciding = [finding for finding in findings if finding.decision is decision]
    if decision is Decision.PASS:  # comparisons are named first
        quality = [finding for finding in deciding if finding.quality]
        deciding = sorted(quality, key=lambda finding: finding.estimate is None)
    if decision is None or not deciding:
        decision, why = Decision.INCONCLUSIVE, "no rule of the policy checks quality"
    else:
        why = _why(deciding, several=len(gate_inputs) > 1)
    partial = sorted({gate_input.partial for gate_input in gate_inputs if gate_input.partial})
    if partial:
        why += f" (partial: {', '.join(partial)})"
    chosen = {gate_input.policy.on_inconclusive for gate_input in gate_inputs}
    return Verdict(
        decision=decision,
        why=why,
        findings=findings,
        on_inconclusive=next((choice for choice in STRICTEST_FIRST if choice in chosen), "warn"),
    )


def _why(deciding: Sequence[Finding], *, several: bool) -> str:
    """Return the sentence of the first deciding rule, and the names of the others."""
    first, *others = (_name(finding, several=several) for finding in deciding)
    also = f"; also {', '.join(others)}" if others else ""
    return f"{first}: {deciding[0].why}{also}"


def _name(finding: Finding, *, several: bool) -> str:
    parts = [finding.rule]
    if finding.metric not in (None, "pass"):
        parts.append(str(finding.metric))
    if finding.slice:
        parts.append(f"[{finding.slice}]")
    if several:
        parts.append(f"on {finding.evalset}")
    return " ".join(parts)
