"""What all renderers say in the same words: headlines, reasons, figures, intervals.

Numbers are written for people: shares as points or percents, money with the digits that matter,
thousands with a comma. Nothing here makes a text safe; that is each sink's own duty.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Decision, Estimate, Finding, Verdict
from llmops_cli.core.ports import Part
from llmops_cli.core.report import (
    Change,
    EvalsetReport,
    MetricSummary,
    PromptReport,
    Report,
    ShownCase,
    ShownScore,
    ShownTrial,
    SideSummary,
)
from llmops_cli.core.result import FailureKind
from llmops_cli.gate import wording
from llmops_cli.gate.wording import listed, points

CHANGES: Mapping[Change | None, str] = {
    "critical": "CRITICAL",
    "regressed": "REGRESSED",
    "improved": "IMPROVED",
    "failing": "STILL FAILING",
    "unmeasured": "UNMEASURED",
    "added": "ADDED",
    "removed": "REMOVED",
    "known_passing": "NOW PASSES",
}
"""The label of each reason why a case is shown, in capitals."""

MEANINGS: Mapping[Change | None, str] = {
    "critical": "critical, and fails",
    "regressed": "passed before, fails now",
    "improved": "failed before, passes now",
    "failing": "failed before, still fails",
    "unmeasured": "not measured",
    "added": "not in the baseline",
    "removed": "in the baseline, missing now",
    "known_passing": "marked known_failing, and passes",
}


def change_label(shown: ShownCase) -> str:
    """Return the label of a case; without a baseline it can't be STILL FAILING."""
    failing = shown.change == "failing" and shown.baseline is None
    return "FAILING" if failing else CHANGES[shown.change]


def change_meaning(shown: ShownCase) -> str:
    """Say in words why a case is shown."""
    failing = shown.change == "failing" and shown.baseline is None
    return "fails" if failing else MEANINGS[shown.change]


SEVERITY: Mapping[Decision, int] = {decision: place for place, decision in enumerate(Decision)}
"""Sorts the worst decision first."""

OUTCOMES: Mapping[Decision, tuple[str, str]] = {
    Decision.FAIL: ("prompt fails", "prompts fail"),
    Decision.INCOMPLETE: ("prompt incomplete", "prompts incomplete"),
    Decision.INCONCLUSIVE: ("prompt inconclusive", "prompts inconclusive"),
    Decision.PASS: ("prompt passes", "prompts pass"),
}
WITHOUT_BASELINE = ("prompt without a baseline", "prompts without a baseline")

PASS = "pass"  # noqa: S105 - a metric, not a password
PARTS: Sequence[Part | None] = (None, "retrieval", "generation")
NAMED = 3
"""Evalsets that share a note, by their names."""
STEPS = 12
"""Next steps that are shown."""


def worst_first(prompts: Iterable[PromptReport]) -> list[PromptReport]:
    """Sort prompts by their verdicts."""
    return sorted(prompts, key=lambda prompt: SEVERITY[prompt.verdict.decision])


def worst_findings_first(verdict: Verdict) -> list[Finding]:
    """Sort findings by what they decided."""
    return sorted(verdict.findings, key=lambda finding: SEVERITY[finding.decision])


def plural(count: int, noun: str) -> str:
    """Return `1 case`, `1,204 cases`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def by_stage(metrics: Sequence[MetricSummary]) -> list[tuple[str, list[MetricSummary]]]:
    """Group metrics by the half of the application that they are about: which one broke?

    The whole first, then retrieval, then generation. One nameless group where nothing is retrieved.
    """
    if all(metric.part != "retrieval" for metric in metrics):
        return [("", list(metrics))]
    groups = {part: [metric for metric in metrics if metric.part == part] for part in PARTS}
    return [(part or "", group) for part, group in groups.items() if group]


def percent(share: float | None) -> str:
    """Return a share as `83.1%`; a dash where nothing was measured."""
    return "–" if share is None else wording.percent(share)


def interval_ends(estimate: Estimate) -> tuple[str, str]:
    """Return the ends of an interval in points, rounded outwards as the gate's sentences are."""
    lower, upper = wording.interval_ends(estimate.lower, estimate.upper, estimate.margin)
    return lower, upper


def status(metric: MetricSummary) -> str:
    """Say what a metric is to the gate, where it is not part of `pass`."""
    if metric.gated:
        return ""
    return "side by side" if metric.paired else "advisory"


def money(dollars: float | None) -> str:
    """Return `$0.0123`, `$12.30`; `unpriced` where a price or a usage is not known."""
    if dollars is None:
        return "unpriced"
    return f"${dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def plain(value: Json) -> str:
    """Return a value as people read it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def answer(trial: ShownTrial | None) -> str:
    """Return the answer of one side as text; never empty."""
    if trial is None:
        return "(no answer)"
    if trial.failure is not None:
        return f"({'failed' if trial.attempted else 'not attempted'}: {trial.failure})"
    parts = []
    if trial.text is not None:
        parts.append(trial.text)
    if trial.tool_calls:
        parts.append("tools: " + plain(trial.tool_calls))
    if not any(parts):
        parts = ["(text not stored)" if trial.text is None else "(empty answer)"]
    if trial.finish_reason not in (None, "stop", "tool_calls"):
        parts.append(f"(ended by: {trial.finish_reason})")
    return "\n".join(parts)


def score(shown: ShownScore) -> str:
    """Return `exact 0: expected card_arrival`, `tone unscored: the judge's answer is no JSON`."""
    value = "unscored" if shown.value is None else score_value(shown)
    advisory = " (advisory)" if shown.advisory else ""
    reason = f": {shown.reason}" if shown.reason else ""
    return f"{shown.label} {value}{advisory}{reason}"


def score_value(shown: ShownScore) -> str:
    """Return the value; `11,199 > 400` where it is beyond a threshold."""
    value, limit = shown.value or 0.0, shown.limit
    number = f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"
    return number if limit is None else f"{number} {'>' if value > limit else '<'} {limit:,g}"


def rule(finding: Finding, *, several: bool = False) -> str:
    """Return `no_worse pass`, `floor pass #billing`; with its evalset where there are several."""
    parts = [finding.rule, finding.metric, f"#{finding.slice}" if finding.slice else None]
    if several and finding.evalset:
        parts.append(f"on {finding.evalset}")
    return " ".join(filter(None, parts))


def reading(finding: Finding, estimate: Estimate) -> str:
    """Say in words what the picture of an interval shows."""
    margin = points(-estimate.margin)
    match finding.decision:
        case Decision.PASS if estimate.lower > -estimate.margin:
            return f"The whole interval is above {margin}: not worse than allowed."
        case Decision.FAIL if estimate.upper < 0:
            return "The whole interval is below 0: statistically significant regression."
        case Decision.INCONCLUSIVE if estimate.upper < 0:
            return "The whole interval is below 0, but can be by chance in so many comparisons."
        case Decision.INCONCLUSIVE if estimate.lower <= -estimate.margin:
            needed = _cases_needed(estimate)
            more = f"; {needed}" if needed else ""
            return f"The interval reaches below {margin}, but not all of it is below 0{more}."
        case _:
            return ""


def measured(side: SideSummary) -> str:
    """Say what a side failed to measure; empty if all is there."""
    parts = []
    if side.measured < side.planned:
        parts.append(f"{side.planned - side.measured:,} of {plural(side.planned, 'trial')} missing")
    parts += [
        f"{count:,} × {kind.replace('_', ' ')}" for kind, count in sorted(side.failures.items())
    ]
    if side.unscored:
        parts.append(f"{side.unscored:,} unscored")
    return ", ".join(parts)


def evalsets_of(prompts: Iterable[PromptReport]) -> list[EvalsetReport]:
    """Return the evalsets of all prompts."""
    return [evalset for prompt in prompts for evalset in prompt.evalsets]


def closing(
    report: Report, prompts: Sequence[PromptReport], *, seconds: float | None = None
) -> list[str]:
    """Return the pieces of the last line: verdicts, calls, money, and time where it is known."""
    parts = [outcome(prompts)] if prompts else []
    parts += [calls(report.calls, report.reused), money(report.cost)]
    return parts if seconds is None else [*parts, duration(seconds)]


def outcome(prompts: Sequence[PromptReport]) -> str:
    """Count the verdicts: `1 prompt fails, 3 prompts pass`."""
    counts: Counter[tuple[str, str]] = Counter()
    for prompt in worst_first(prompts):
        decision = prompt.verdict.decision
        alone = decision is Decision.INCONCLUSIVE and prompt.baseline is None
        counts[WITHOUT_BASELINE if alone else OUTCOMES[decision]] += 1
    return ", ".join(f"{count:,} {words[count > 1]}" for words, count in counts.items())


def calls(made: int, reused: int) -> str:
    """Return `700 calls + 700 cached`."""
    return plural(made, "call") + (f" + {reused:,} cached" if reused else "")


def duration(seconds: float) -> str:
    """Return `6.4 s`, `12 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest:02d} s"


def tokens(report: Report) -> str:
    """Return `824,208 tokens in, 2,408 out` over all answers; empty if they are not known."""
    sides = (
        side
        for evalset in evalsets_of(report.prompts)
        for side in (evalset.candidate, evalset.baseline)
        if side is not None and side.input_tokens is not None and side.output_tokens is not None
    )
    sent = made = 0
    for side in sides:
        sent, made = sent + (side.input_tokens or 0), made + (side.output_tokens or 0)
    return f"{sent:,} tokens in, {made:,} out" if sent or made else ""


def nothing(report: Report) -> str:
    """Say of a report without prompts that nothing had to be evaluated, or that it failed."""
    if report.exit_code is ExitCode.DONE:
        return "✅ Nothing to evaluate."
    return "⛔ Nothing was evaluated."


def warnings(report: Report) -> list[str]:
    """Return the caveats of the whole report."""
    lines = []
    if report.interrupted:
        lines.append("Interrupted: this is what was measured until then.")
    if report.partial:
        lines.append(f"Partial run ({report.partial}): shown, never evidence.")
    return lines


def warning_note(verdict: Verdict) -> str:
    """Say why an inconclusive verdict blocks nothing; empty if it does."""
    if verdict.decision is Decision.INCONCLUSIVE and verdict.on_inconclusive == "warn":
        return "Not blocked (policy: warn on inconclusive)."
    return ""


def size(evalset: EvalsetReport) -> str:
    """Return `308 cases`, `40 cases × 3 trials`."""
    trials = f" × {evalset.repeats} trials" if evalset.repeats != 1 else ""
    return plural(evalset.cases, "case") + trials


def counted(evalset: EvalsetReport) -> str:
    """Return `2 regressed, 1 improved` over all cases of note, in the order of `CHANGES`."""
    totals = evalset.changes
    labels = dict(CHANGES)
    if evalset.baseline is None:
        labels["failing"] = "FAILING"
    return ", ".join(
        f"{totals[change]:,} {word.lower()}"
        for change, word in labels.items()
        if change is not None and totals.get(change)
    )


def effort(side: SideSummary) -> str:
    """Return what one side took: trials, tokens, money, seconds."""
    parts = [f"{side.measured:,} of {plural(side.planned, 'trial')} measured, {side.called:,} now"]
    if side.input_tokens is not None and side.output_tokens is not None:
        parts.append(f"{side.input_tokens:,} tokens in, {side.output_tokens:,} out")
    parts.append(money(side.cost))
    if side.latency_p50 is not None and side.latency_p95 is not None:
        parts.append(f"{side.latency_p50:.2f} s median, {side.latency_p95:.2f} s at the 95th")
    if side.first_token_p50 is not None and side.first_token_p95 is not None:
        first = f"{side.first_token_p50:.2f} s median, {side.first_token_p95:.2f} s at the 95th"
        parts.append(f"first token {first}")
    if side.served_models:
        parts.append("answered by " + listed(side.served_models))
    return " · ".join(parts)


def notes(report: Report) -> list[str]:
    """Return every note once: those of the run, then those of its evalsets with their names."""
    names_of: dict[str, dict[str, None]] = {}
    for evalset in evalsets_of(report.prompts):
        for note in evalset.notes:
            names_of.setdefault(note, {})[evalset.evalset] = None
    named = (f"{listed(tuple(names), at_most=NAMED)}: {note}" for note, names in names_of.items())
    return list(dict.fromkeys([*report.notes, *named]))


def next_steps(prompts: Sequence[PromptReport]) -> list[str]:
    """Return every next step once, in the order of the prompts; of very many, the first."""
    every = list(dict.fromkeys(step for prompt in prompts for step in prompt.next_steps))
    rest = [f"# and {len(every) - STEPS} more like these"] if len(every) > STEPS else []
    return [*every[:STEPS], *rest]


# Verdict lines and reasons.


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
    decision = prompt.verdict.decision
    line = Headline(label=decision.value, decision=decision, name=prompt.prompt)
    return [_headline(line, prompt, evalset) for evalset in prompt.evalsets] or [line]


def _headline(line: Headline, prompt: PromptReport, evalset: EvalsetReport) -> Headline:
    """Return `line` with what is known of `prompt` on `evalset`."""
    if len(prompt.evalsets) > 1:
        line = replace(line, name=f"{prompt.prompt} on {evalset.evalset}")
    findings = [
        finding for finding in prompt.verdict.findings if finding.evalset in (None, evalset.evalset)
    ]
    if line.decision is Decision.INCOMPLETE and (cause := _incomplete_cause(evalset, findings)):
        return replace(line, remark=cause)
    of_pass_rate = [f for f in findings if f.metric == PASS and not f.slice]
    estimate = next((f.estimate for f in of_pass_rate if f.estimate is not None), None)
    if estimate is not None:
        n, ends = estimate.n, " to ".join(interval_ends(estimate))
        return replace(
            line,
            rates=f"{percent(estimate.baseline_mean)} → {percent(estimate.candidate_mean)}",
            difference=f"{points(estimate.difference)} (90% CI {ends})",
            counts=f"{estimate.improved:,} improved, {estimate.regressed:,} regressed of {n:,}",
        )
    rates = pass_rates(evalset)
    unchanged = next((f.why for f in of_pass_rate if f.why.startswith("unchanged")), "")
    if unchanged:  # as in `unchanged: all 60 requests match the baseline`
        return replace(line, rates=rates.rpartition("→ ")[2], counts=unchanged)
    if prompt.baseline is not None:
        return replace(line, rates=rates, counts=_change_counts(evalset))
    if line.decision is not Decision.INCONCLUSIVE:
        return replace(line, rates=rates)
    where = f" in {prompt.environment}" if prompt.environment else ""
    remark = f"nothing{where} to compare with"
    return replace(line, label="NO BASELINE", rates=rates, remark=remark)


def pass_rates(evalset: EvalsetReport) -> str:
    """Return `62.0% → 68.0%`, or `13.0% (7 of 54)` where there is no baseline."""
    metric = next((metric for metric in evalset.metrics if metric.label == PASS), None)
    if metric is None:
        return ""
    share, cases = metric.candidate, metric.candidate_n
    if metric.baseline is not None:
        return f"{percent(metric.baseline)} → {percent(share)}"
    if share is None:
        return ""
    # A case with several trials passes in part: then there is no whole number to tell.
    passed = (
        f"{round(share * cases):,} of {cases:,}" if evalset.repeats == 1 else plural(cases, "case")
    )
    return f"{percent(share)} ({passed})"


def _change_counts(evalset: EvalsetReport) -> str:
    """Return `49 improved, 25 regressed of 400`; empty if nothing changed."""
    improved = evalset.changes.get("improved", 0)
    regressed = evalset.changes.get("regressed", 0) + evalset.changes.get("critical", 0)
    if not improved and not regressed:
        return ""
    return f"{improved:,} improved, {regressed:,} regressed of {evalset.cases:,}"


def _incomplete_cause(evalset: EvalsetReport, findings: Iterable[Finding]) -> str:
    """Say what went wrong and how much of the run it cost; else what the findings say of it.

    `the API key was rejected (401) by api.example.com: 12 calls made, 468 not attempted`.
    """
    sides = [side for side in (evalset.candidate, evalset.baseline) if side is not None]
    cause = next((side.cause for side in sides if side.cause and side.failures), "")
    if not cause:
        unscored = (side.cause for side in sides if side.cause and side.unscored)
        why = (f.why for f in findings if f.decision is Decision.INCOMPLETE)
        return next(chain(unscored, why), "")
    kinds = [(FailureKind(kind), n) for side in sides for kind, n in side.failures.items()]
    skipped = sum(n for kind, n in kinds if not kind.attempted)
    failed = sum(n for kind, n in kinds if kind.attempted)
    made = sum(side.called for side in sides) + failed
    return f"{cause}: {plural(made, 'call')} made, {skipped:,} not attempted"


def reasons(prompt: PromptReport) -> list[str]:
    """Return why a prompt does not pass: a sentence for each finding that decided it.

    Of an incomplete prompt and of one without a baseline the headline says it.
    """
    decision = prompt.verdict.decision
    alone = decision is Decision.INCONCLUSIVE and prompt.baseline is None
    if alone or decision in {Decision.PASS, Decision.INCOMPLETE}:
        return []
    deciding = (finding for finding in prompt.verdict.findings if finding.decision is decision)
    return [_reason(prompt, finding) for finding in deciding]


def _reason(prompt: PromptReport, finding: Finding) -> str:
    estimate = finding.estimate
    if estimate is None:
        return finding.why
    where = f" on {finding.evalset}" if len(prompt.evalsets) > 1 else ""
    metric = finding.metric or PASS
    measured = f"{metric} on #{finding.slice}" if finding.slice else metric
    what = "" if measured == PASS else f" of {measured}"
    against = _baseline_name(prompt)
    allowed = f"allowed: {100 * estimate.margin:.1f} points"
    if finding.decision is Decision.FAIL:
        return f"Statistically significant regression{what}{where} against {against}; {allowed}."
    worst = max(0.0, -100 * estimate.lower)
    needed = _cases_needed(estimate)
    more = f" {needed}." if needed else ""
    return f"Could be up to {worst:.1f} points worse{what}{where} than {against}; {allowed}.{more}"


def _baseline_name(prompt: PromptReport) -> str:
    """Return `production (v1)`, or the name of what the prompt was compared with."""
    if prompt.baseline is None:
        return "nothing"
    name = prompt.baseline.partition(" (")[0]
    version = name.partition("@")[2] or name
    return f"{prompt.environment} ({version})" if prompt.environment else name


def _cases_needed(estimate: Estimate) -> str:
    """Return `~301 cases needed for 80% power`; empty if there are as many."""
    if estimate.cases_needed <= estimate.n:
        return ""
    return f"~{plural(estimate.cases_needed, 'case')} needed for 80% power"


# Intervals drawn as text.

NARROWEST_INTERVAL = 40
"""Columns that an interval takes at least."""
_NARROWEST_BAR = 8
_ZERO = " 0 (no change)"


def interval(estimate: Estimate, *, width: int) -> tuple[str, str]:
    """Draw an interval and its margin in two lines of at most `width` columns (40 at least).

        −9.1 ├───────┼─────●─────────────┼──────────┤ +4.1
        margin −5.0 ─┘                   └─ 0 (no change)

    The upper line is the interval with the measured difference; the lower one names the two places
    that decide: right of the margin is a pass, left of 0 is a loss.
    """
    margin_label = f"margin {points(-estimate.margin)} "
    lower, upper = interval_ends(estimate)
    left = min(estimate.lower, -estimate.margin, 0.0)
    span = max(estimate.upper, 0.0) - left or 1.0
    margin_at, zero_at = (-estimate.margin - left) / span, -left / span
    room, before = _fit(
        max(width, NARROWEST_INTERVAL),
        ends=(len(lower) + 1, len(upper) + 1),
        margin=(margin_at, len(margin_label) + 1),
        zero=(zero_at, len(_ZERO) + 2),
    )

    def column(value: float) -> int:
        return before + round((value - left) / span * (room - 1))

    start, end = column(estimate.lower), column(estimate.upper)
    margin, zero = column(-estimate.margin), column(0.0)
    zero += zero == margin
    bar = [" "] * (max(end, zero) + 1)
    bar[start : end + 1] = "─" * (end - start + 1)
    bar[start], bar[end] = "├", "┤"
    for place in (margin, zero):
        bar[place] = "┼" if start <= place <= end else "│"
    bar[column(estimate.difference)] = "●"
    above = _labeled("".join(bar), start, lower, end, upper)
    below = " " * (margin - len(margin_label) - 1) + margin_label + "─┘"
    below += " " * (zero - len(below)) + "└─" + _ZERO
    return above, below


def _fit(
    width: int, *, ends: tuple[int, int], margin: tuple[float, int], zero: tuple[float, int]
) -> tuple[int, int]:
    """Return the widest drawing that leaves room for its labels, and the columns before it.

    `ends` are the widths of the figures beside it; `margin` and `zero` the places of the two
    marks on [0, 1], with the width of the label to the left of the one and right of the other.
    """
    for room in range(width, _NARROWEST_BAR, -1):
        before = max(ends[0], math.ceil(margin[1] - margin[0] * (room - 1)))
        after = max(ends[1], math.ceil(zero[1] - (1 - zero[0]) * (room - 1)))
        if before + room + after <= width:
            return room, before
    return _NARROWEST_BAR, max(ends[0], margin[1])


def _labeled(bar: str, start: int, lower: str, end: int, upper: str) -> str:
    """Return `bar` with the figures beside its ends; one that has no room is left out."""
    at = start - len(lower) - 1
    if not bar[max(at - 1, 0) : start].strip():
        bar = f"{bar[:at]}{lower} {bar[start:]}"
    tail = bar[end + 1 :]
    room = len(upper) + 2
    if not tail.strip():
        return f"{bar[: end + 1]} {upper}"
    if not tail[:room].strip():
        return f"{bar[: end + 2]}{upper}{tail[room - 1 :]}"
    return bar
