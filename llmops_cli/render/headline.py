"""The first and last line of every prompt: its verdict, pass rates and confidence interval.

All renderers share these words, so that a terminal, a pull request and a page say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from llmops_cli.core.policy import Decision, Estimate, Finding
from llmops_cli.core.report import EvalsetReport, MetricSummary, PromptReport
from llmops_cli.gate.wording import points
from llmops_cli.render.formatting import interval_ends, percent, plural

PASS = "pass"  # noqa: S105 - a metric, not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One prompt on one evalset, in the pieces of a line; empty if there is nothing to say."""

    label: str
    """The decision, or `NO BASELINE`."""
    decision: Decision
    name: str
    """The prompt; with its evalset where it has several."""
    rates: str = ""
    """`62.0% → 68.0%`."""
    difference: str = ""
    """`+6.0 (90% CI +2.5 to +9.6)`."""
    counts: str = ""
    """`49 improved, 25 regressed of 400`."""
    remark: str = ""
    """Why there is no comparison."""

    @property
    def pieces(self) -> tuple[str, ...]:
        """Return what follows the name."""
        return tuple(filter(None, (self.rates, self.difference, self.counts, self.remark)))

    def short(self) -> Headline:
        """Return the line for below the details: rates and what regressed."""
        _, _, regressed = self.counts.partition(" of ")[0].rpartition(", ")
        return replace(self, difference="", counts=regressed, remark="")


def headlines(prompt: PromptReport) -> list[Headline]:
    """Return a line for each evalset of `prompt`; one for the prompt where it has none."""
    lines = [_headline(prompt, evalset) for evalset in prompt.evalsets]
    decision = prompt.verdict.decision
    return lines or [Headline(label=decision.value, decision=decision, name=prompt.prompt)]


def _headline(prompt: PromptReport, evalset: EvalsetReport) -> Headline:
    decision = prompt.verdict.decision
    several = len(prompt.evalsets) > 1
    name = f"{prompt.prompt} on {evalset.evalset}" if several else prompt.prompt
    line = Headline(label=decision.value, decision=decision, name=name)
    cause = incomplete_cause(prompt, evalset) if decision is Decision.INCOMPLETE else ""
    if cause:
        return replace(line, remark=cause)
    comparison = comparison_of(prompt, evalset)
    if comparison is not None:
        rates, difference, counts = _compared(comparison)
        return replace(line, rates=rates, difference=difference, counts=counts)
    rates, unchanged = pass_rates(evalset), unchanged_sentence(prompt, evalset)
    if unchanged:
        return replace(line, rates=rates.rpartition("→ ")[2], counts=unchanged)
    if prompt.baseline is not None:
        return replace(line, rates=rates, counts=change_counts(evalset))
    if decision is not Decision.INCONCLUSIVE:
        return replace(line, rates=rates)
    return replace(line, label="NO BASELINE", rates=rates, remark=_no_baseline(prompt))


def comparison_of(prompt: PromptReport, evalset: EvalsetReport) -> Estimate | None:
    """Return the estimate of the pass rate over all cases of `evalset`, if a rule compares it."""
    estimates = (finding.estimate for finding in _of_pass_rate(prompt, evalset))
    return next(filter(None, estimates), None)


def unchanged_sentence(prompt: PromptReport, evalset: EvalsetReport) -> str:
    """Return `unchanged: all 60 requests match the baseline`; empty if a request differs."""
    whys = (finding.why for finding in _of_pass_rate(prompt, evalset))
    return next((why for why in whys if why.startswith("unchanged")), "")


def _of_pass_rate(prompt: PromptReport, evalset: EvalsetReport) -> Iterator[Finding]:
    for finding in prompt.verdict.findings:
        here = finding.evalset in (None, evalset.evalset)
        if here and finding.metric == PASS and not finding.slice:
            yield finding


def _compared(estimate: Estimate) -> tuple[str, str, str]:
    rates = f"{percent(estimate.baseline_mean)} → {percent(estimate.candidate_mean)}"
    ends = " to ".join(interval_ends(estimate))
    counts = f"{estimate.improved:,} improved, {estimate.regressed:,} regressed of {estimate.n:,}"
    return rates, f"{points(estimate.difference)} (90% CI {ends})", counts


def pass_rates(evalset: EvalsetReport) -> str:
    """Return `62.0% → 68.0%`, or `13.0% (7 of 54)` where there is no baseline."""
    metric = next((metric for metric in evalset.metrics if metric.label == PASS), None)
    if metric is None:
        return ""
    if metric.baseline is not None:
        return f"{percent(metric.baseline)} → {percent(metric.candidate)}"
    return _rate(metric, evalset)


def _rate(metric: MetricSummary, evalset: EvalsetReport) -> str:
    share, cases = metric.candidate, metric.candidate_n
    if share is None:
        return ""
    # A case with several trials passes in part: then there is no whole number to tell.
    passed = (
        f"{round(share * cases):,} of {cases:,}" if evalset.repeats == 1 else plural(cases, "case")
    )
    return f"{percent(share)} ({passed})"


def change_counts(evalset: EvalsetReport) -> str:
    """Return `49 improved, 25 regressed of 400`; empty if nothing changed."""
    improved = evalset.changes.get("improved", 0)
    regressed = evalset.changes.get("regressed", 0) + evalset.changes.get("critical", 0)
    if not improved and not regressed:
        return ""
    return f"{improved:,} improved, {regressed:,} regressed of {evalset.cases:,}"


def _no_baseline(prompt: PromptReport) -> str:
    """Say where nothing is: `nothing in production to compare with`."""
    environment = prompt.environment
    return f"nothing in {environment} to compare with" if environment else "nothing to compare with"


def incomplete_cause(prompt: PromptReport, evalset: EvalsetReport) -> str:
    """Say what went wrong and how much of the run it cost; empty if the findings tell it best.

    `the API key was rejected (401) by api.example.com: 12 calls made, 468 not attempted`.
    """
    sides = [side for side in (evalset.candidate, evalset.baseline) if side is not None]
    cause = next((side.cause for side in sides if side.cause and side.failures), "")
    if not cause:
        return next(_incomplete(prompt, evalset), "")
    skipped = sum(side.failures.get("not_attempted", 0) for side in sides)
    failed = sum(sum(side.failures.values()) for side in sides) - skipped
    made = sum(side.called for side in sides) + failed
    return f"{cause}: {plural(made, 'call')} made, {skipped:,} not attempted"


def _incomplete(prompt: PromptReport, evalset: EvalsetReport) -> Iterator[str]:
    for finding in prompt.verdict.findings:
        here = finding.evalset in (None, evalset.evalset)
        if here and finding.decision is Decision.INCOMPLETE:
            yield finding.why


def reasons(prompt: PromptReport) -> list[tuple[Finding, str]]:
    """Return why a prompt does not pass: a sentence for each finding that decided it.

    Of an incomplete prompt and of one without a baseline the headline says it.
    """
    decision = prompt.verdict.decision
    if decision in {Decision.PASS, Decision.INCOMPLETE}:
        return []
    if decision is Decision.INCONCLUSIVE and prompt.baseline is None:
        return []
    deciding = [finding for finding in prompt.verdict.findings if finding.decision is decision]
    return [(finding, _reason(prompt, finding)) for finding in deciding]


def _reason(prompt: PromptReport, finding: Finding) -> str:
    estimate = finding.estimate
    if estimate is None:
        return finding.why
    where = f" on {finding.evalset}" if len(prompt.evalsets) > 1 else ""
    what = "" if finding.metric == PASS and not finding.slice else f" of {measure(finding)}"
    against = baseline_name(prompt)
    allowed = f"allowed: {100 * estimate.margin:.1f} points"
    if finding.decision is Decision.FAIL:
        return f"Statistically significant regression{what}{where} against {against}; {allowed}."
    worst = max(0.0, -100 * estimate.lower)
    more = (
        f" ~{plural(estimate.cases_needed, 'case')} needed for 80% power."
        if estimate.cases_needed > estimate.n
        else ""
    )
    return f"Could be up to {worst:.1f} points worse{what}{where} than {against}; {allowed}.{more}"


def measure(finding: Finding) -> str:
    """Name what was measured: `pass`, `tone`, `pass on #billing`."""
    metric = finding.metric or PASS
    return f"{metric} on #{finding.slice}" if finding.slice else metric


def baseline_name(prompt: PromptReport) -> str:
    """Return `production (v1)`, or the name of what the prompt was compared with."""
    if prompt.baseline is None:
        return "nothing"
    name = prompt.baseline.partition(" (")[0]
    if not prompt.environment:
        return name
    version = name.partition("@")[2] or name
    return f"{prompt.environment} ({version})"
