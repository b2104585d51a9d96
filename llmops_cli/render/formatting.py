"""The wording and number formats that all renderers share.

Numbers are written for people: shares as points or percents, money with the digits that matter,
thousands with a comma. Nothing here makes a text safe; that is each sink's own duty.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

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
from llmops_cli.gate import wording
from llmops_cli.gate.wording import points

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


NAMED = 3
"""Evalsets that share a note, by their names."""
STEPS = 12

SEVERITY: Mapping[Decision, int] = {decision: place for place, decision in enumerate(Decision)}
"""Sorts the worst decision first."""


OUTCOMES: Mapping[Decision, tuple[str, str]] = {
    Decision.FAIL: ("prompt fails", "prompts fail"),
    Decision.INCOMPLETE: ("prompt incomplete", "prompts incomplete"),
    Decision.INCONCLUSIVE: ("prompt inconclusive", "prompts inconclusive"),
    Decision.PASS: ("prompt passes", "prompts pass"),
}

WITHOUT_BASELINE = ("prompt without a baseline", "prompts without a baseline")

HALVES: Sequence[Part | None] = (None, "retrieval", "generation")


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
    groups = {part: [metric for metric in metrics if metric.part == part] for part in HALVES}
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
        return f"(failed: {trial.failure})"
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
    value = "unscored" if shown.value is None else f"{shown.value:.4g}"
    advisory = " (advisory)" if shown.advisory else ""
    reason = f": {shown.reason}" if shown.reason else ""
    return f"{shown.label} {value}{advisory}{reason}"


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
            needed = f"; ~{plural(estimate.cases_needed, 'case')} needed for 80% power"
            more = needed if estimate.cases_needed > estimate.n else ""
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


def sides(report: Report) -> list[SideSummary]:
    """Return both sides of every evalset."""
    evalsets = [evalset for prompt in report.prompts for evalset in prompt.evalsets]
    both = [side for evalset in evalsets for side in (evalset.candidate, evalset.baseline)]
    return [side for side in both if side is not None]


def closing(
    report: Report, prompts: Sequence[PromptReport], *, seconds: float | None = None
) -> list[str]:
    """Return the pieces of the last line: verdicts, calls, money, and time where it is known."""
    parts = [outcome(prompts)] if prompts else []
    parts += [calls(report), money(report.cost)]
    return parts if seconds is None else [*parts, duration(seconds)]


def outcome(prompts: Sequence[PromptReport]) -> str:
    """Count the verdicts: `1 prompt fails, 3 prompts pass`."""
    counts: Counter[tuple[str, str]] = Counter()
    for prompt in worst_first(prompts):
        decision = prompt.verdict.decision
        alone = decision is Decision.INCONCLUSIVE and prompt.baseline is None
        counts[WITHOUT_BASELINE if alone else OUTCOMES[decision]] += 1
    words = (
        (count, singular if count == 1 else plural_form)
        for (singular, plural_form), count in counts.items()
    )
    return ", ".join(f"{count:,} {text}" for count, text in words)


def calls(report: Report) -> str:
    """Return `700 calls + 700 cached`."""
    cached = f" + {report.reused:,} cached" if report.reused else ""
    return f"{plural(report.calls, 'call')}{cached}"


def duration(seconds: float) -> str:
    """Return `6.4 s`, `12 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest:02d} s"


def tokens(report: Report) -> str:
    """Return `824,208 tokens in, 2,408 out` over all answers; empty if they are not known."""
    counted = [
        (side.input_tokens, side.output_tokens)
        for side in sides(report)
        if side.input_tokens is not None and side.output_tokens is not None
    ]
    sent, made = (sum(column) for column in zip((0, 0), *counted, strict=True))
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
        parts.append("answered by " + ", ".join(side.served_models))
    return " · ".join(parts)


def notes(report: Report) -> list[str]:
    """Return every note once: those of the run, then those of its evalsets with their names."""
    evalsets: dict[str, list[str]] = {}
    for prompt in report.prompts:
        for evalset in prompt.evalsets:
            for note in evalset.notes:
                evalsets.setdefault(note, []).append(evalset.evalset)
    named = (f"{_several(dict.fromkeys(names))}: {note}" for note, names in evalsets.items())
    return list(dict.fromkeys([*report.notes, *named]))


def _several(names: Iterable[str]) -> str:
    """Return `a, b`; `a, b, c and 57 more`."""
    every = list(names)
    rest = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + rest


def next_steps(prompts: Sequence[PromptReport]) -> list[str]:
    """Return every next step once, in the order of the prompts; of very many, the first."""
    every = list(dict.fromkeys(step for prompt in prompts for step in prompt.next_steps))
    rest = [f"# and {len(every) - STEPS} more like these"] if len(every) > STEPS else []
    return [*every[:STEPS], *rest]
