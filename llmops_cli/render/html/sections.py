"""The data of the page's sections: what the template shows and cannot tell from the report itself.

A field of a summary that no table here knows gets a column or a row of its own, so that nothing
that was measured is left out of the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote

from llmops_cli.core.policy import Decision, Estimate, Finding
from llmops_cli.core.report import (
    EvalsetReport,
    MetricSummary,
    PromptReport,
    Report,
    ShownCase,
    SideSummary,
)
from llmops_cli.gate import wording
from llmops_cli.gate.wording import points
from llmops_cli.render import formatting
from llmops_cli.render.headline import pass_rates
from llmops_cli.render.html.escape import PageText
from llmops_cli.render.json import as_json

FORMATTING = (
    *("warning_note", "size", "counted", "rule", "reading"),
    *("worst_findings_first", "change_label"),
)
"""Functions of `formatting` that the template calls."""
FUNCTIONS = (
    *("plot", "passing", "deciding", "steps", "notes"),
    *("tables", "headline", "rates", "changes", "excerpts"),
)
"""Functions of this module that the template calls."""

VERDICTS = {
    Decision.FAIL: ("does not pass the gate", "do not pass the gate"),
    Decision.INCOMPLETE: ("was not measured completely", "were not measured completely"),
    Decision.INCONCLUSIVE: ("cannot be decided yet", "cannot be decided yet"),
    Decision.PASS: ("passes the gate", "pass the gate"),
}
"""Headlines for one prompt and for several."""
_COMMAND = re.compile(
    r"^(?P<before>.*?: )?(?P<command>(?:git|llmops) [^:]+?)(?:   # (?P<after>.*))?$"
)
NAMED_CASES = 6
"""Cases that a finding links to."""
STATIC_CASES = 20
"""Cases in the table for browsers without script."""
_EXCERPT = 300


def headline(prompt: PromptReport) -> str:
    """Return `intent does not pass the gate`."""
    decision = prompt.verdict.decision
    if decision is Decision.INCONCLUSIVE and prompt.baseline is None:
        return f"{prompt.prompt} has no baseline to compare with yet"
    return f"{prompt.prompt} {VERDICTS[decision][0]}"


def estimate_of(prompt: PromptReport) -> tuple[Estimate, Decision] | None:
    """Return the most relevant comparison of a prompt: the worst one with an interval."""
    for finding in formatting.worst_findings_first(prompt.verdict):
        if finding.estimate is not None:
            return finding.estimate, finding.decision
    return None


def worst_first(report: Report) -> list[PromptReport]:
    """Sort prompts by their verdicts, and those that fail by how much."""

    def severity(prompt: PromptReport) -> tuple[int, float]:
        compared = estimate_of(prompt)
        difference = compared[0].difference if compared else 0.0
        return formatting.SEVERITY[prompt.verdict.decision], difference

    return sorted(report.prompts, key=severity)


# Intervals.

_ROOM = 22.0
"""Percent of the width on either side of a large drawing: room for its figures."""
_EDGE = 4.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Which differences a drawing spans."""

    left: float
    right: float

    @classmethod
    def of(cls, estimates: Iterable[Estimate]) -> Scale:
        """Return a scale with room for all `estimates`, their margins and 0."""
        ends = [(min(estimate.lower, -estimate.margin), estimate.upper) for estimate in estimates]
        left = min([0.0, *(lower for lower, _ in ends)])
        right = max([0.0, *(upper for _, upper in ends)])
        return cls(left, right if right > left else left + 1.0)

    def place(self, value: float, room: float) -> str:
        """Return the percents from the left."""
        share = (value - self.left) / (self.right - self.left)
        return f"{room + (100 - 2 * room) * min(max(share, 0.0), 1.0):.2f}"


def plot(estimate: Estimate, decision: Decision, scale: Scale | None = None) -> dict[str, str]:
    """Return places and figures of an interval; a small one on a `scale` shared with others."""
    within, room = (Scale.of([estimate]), _ROOM) if scale is None else (scale, _EDGE)
    least, most = wording.interval_ends(estimate.lower, estimate.upper, estimate.margin)
    difference, limit = points(estimate.difference), points(-estimate.margin)
    return {
        "kind": decision.value.lower(),
        "text": f"{difference} points, interval {least} to {most}, margin {limit}",
        "least": least,
        "most": most,
        "difference": difference,
        "limit": limit,
        "zero": within.place(0.0, room),
        "margin": within.place(-estimate.margin, room),
        "lower": within.place(estimate.lower, room),
        "upper": within.place(estimate.upper, room),
        "point": within.place(estimate.difference, room),
    }


def overview(
    prompts: Sequence[PromptReport],
) -> list[tuple[PromptReport, dict[str, str] | None]]:
    """Return every prompt with its interval, all on one scale."""
    compared = [estimate_of(prompt) for prompt in prompts]
    scale = Scale.of(estimate[0] for estimate in compared if estimate)
    plots = [plot(*estimate, scale) if estimate else None for estimate in compared]
    return list(zip(prompts, plots, strict=True))


# One prompt.


def passing(evalset: EvalsetReport) -> list[str]:
    """Return the pass rates before and after; one where there is no baseline."""
    metric = next((metric for metric in evalset.metrics if metric.label == "pass"), None)
    if metric is None:
        return []
    now = "not measured" if metric.candidate is None else formatting.percent(metric.candidate)
    return [now] if metric.baseline is None else [formatting.percent(metric.baseline), now]


def rates(prompt: PromptReport) -> str:
    """Return the pass rates of every evalset in a line."""
    return "; ".join(filter(None, map(pass_rates, prompt.evalsets)))


def changes(prompt: PromptReport) -> str:
    """Count the cases of note of every evalset in a line."""
    return ", ".join(filter(None, map(formatting.counted, prompt.evalsets)))


def deciding(prompt: PromptReport) -> list[Finding]:
    """Return the findings that made the verdict."""
    verdict = prompt.verdict
    findings = [finding for finding in verdict.findings if finding.decision is verdict.decision]
    if verdict.decision is Decision.PASS:
        return [finding for finding in findings if finding.quality] or findings
    return findings


def case_links(text: PageText, prompt: PromptReport, finding: Finding) -> list[tuple[str, str]]:
    """Return the anchors and ids of the cases that caused a finding."""
    names = [finding.evalset] if finding.evalset else [report.evalset for report in prompt.evalsets]
    evalset = names[0] if len(names) == 1 else None
    links = []
    for case in finding.cases[:NAMED_CASES]:
        parts = {"case": case, "prompt": prompt.prompt, "evalset": evalset}
        # The page shows ids redacted and cut: its addresses name them as they are shown.
        shown = ((name, text.line(value, 300)) for name, value in parts.items() if value)
        address = "&".join(f"{name}={quote(value, safe='')}" for name, value in shown)
        links.append((f"#{address}", case))
    return links


def steps(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Split each next step into the words before its command, the command and the rest."""
    for line in lines:
        step = _COMMAND.match(line)
        if step is None:
            yield line, "", ""
        else:
            yield step["before"] or "", step["command"], step["after"] or ""


def notes(prompt: PromptReport) -> list[str]:
    """Return what a reader must know; of which of several evalsets."""
    several = len(prompt.evalsets) > 1
    return [
        f"{evalset.evalset}: {note}" if several else note
        for evalset in prompt.evalsets
        for note in evalset.notes
    ]


def worst_cases(report: Report) -> list[ShownCase]:
    """Return the cases of the table for browsers without script."""
    evalsets = [evalset for prompt in report.prompts for evalset in prompt.evalsets]
    return [case for evalset in evalsets for case in evalset.shown][:STATIC_CASES]


def excerpts(case: ShownCase) -> list[str]:
    """Return what was expected and answered before and after, cut to a glance."""
    sides = (case.baseline, case.candidate)
    answers = [formatting.answer(side.first if side else None) for side in sides]
    expected = formatting.plain(case.expected) if case.expected else ""
    return [
        text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]} …" for text in (expected, *answers)
    ]


# Tables.


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts; the first cell of a row is its name."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    """Columns of figures."""


def tables(evalset: EvalsetReport) -> list[Table]:
    """Return metrics, tags, judges and sides of one evalset."""
    return [_metrics(evalset), _tags(evalset), _judges(evalset), _sides(evalset)]


def _metrics(evalset: EvalsetReport) -> Table:
    shown = {"label", "gated", "paired", "candidate", "baseline", "candidate_n", "baseline_n"}
    more = _further(evalset.metrics, shown)
    rows = [
        [
            metric.label,
            formatting.percent(metric.baseline),
            formatting.percent(metric.candidate),
            _difference(metric),
            f"{metric.candidate_n:,}",
            *(_shown(getattr(metric, name)) for name in more),
            formatting.status(metric) or "gates",
        ]
        for _, metrics in formatting.by_stage(evalset.metrics)
        for metric in metrics
    ]
    heads = ("Metric", "Before", "After", "Points", "Cases", *map(_named, more), "Role")
    caption = f"Metrics on {evalset.evalset}"
    return Table(caption=caption, heads=heads, rows=rows, numbers=range(1, 5))


def _difference(metric: MetricSummary) -> str:
    if metric.candidate is None or metric.baseline is None:
        return "–"
    return points(metric.candidate - metric.baseline)


def _tags(evalset: EvalsetReport) -> Table:
    return Table(
        caption=f"By tag on {evalset.evalset}",
        heads=("Tag", "Before", "After", "Regressed", "Improved", "Cases"),
        rows=[
            [
                f"#{tag.tag}",
                formatting.percent(tag.baseline),
                formatting.percent(tag.candidate),
                *(f"{count:,}" for count in (tag.regressed, tag.improved, tag.cases)),
            ]
            for tag in evalset.slices
        ],
        numbers=range(1, 6),
    )


def _judges(evalset: EvalsetReport) -> Table:
    rows = []
    for judge in evalset.judges:
        j = "–" if judge.j is None else f"{judge.j:.2f}"
        known = judge.j_lower is not None and judge.j_upper is not None
        interval = f"{judge.j_lower:.2f} to {judge.j_upper:.2f}" if known else "–"
        rows.append([judge.label, judge.status, j, interval, f"{judge.labeled:,}"])
    return Table(
        caption=f"Judges on {evalset.evalset}",
        heads=("Judge", "Status", "J", "90% CI", "Labels"),
        rows=rows,
        numbers=range(2, 5),
    )


def _cost_per_trial(side: SideSummary) -> str:
    """Return a cost that compares: the sides may have made different numbers of trials."""
    if side.cost is None or not side.measured:
        return ""
    return formatting.money(side.cost / side.measured)


SIDE_ROWS: Sequence[tuple[str, Callable[[SideSummary], str]]] = (
    ("Model", lambda side: side.model),
    ("Answered by", lambda side: ", ".join(side.served_models)),
    ("Target", lambda side: side.target),
    ("Trials measured", lambda side: f"{side.measured:,} of {side.planned:,}"),
    ("Called in this run", lambda side: f"{side.called:,}"),
    ("Not measured", formatting.measured),
    ("Cause", lambda side: side.cause),
    ("Tokens in", lambda side: _count(side.input_tokens)),
    ("Tokens out", lambda side: _count(side.output_tokens)),
    ("Cost of all trials", lambda side: formatting.money(side.cost)),
    ("Cost per trial", _cost_per_trial),
    ("Latency, median", lambda side: _seconds(side.latency_p50)),
    ("Latency, 95th percentile", lambda side: _seconds(side.latency_p95)),
    ("First token, median", lambda side: _seconds(side.first_token_p50)),
    ("First token, 95th percentile", lambda side: _seconds(side.first_token_p95)),
)
_IN_SIDE_ROWS = {
    *("name", "target", "model", "planned", "measured", "called", "failures", "unscored", "cause"),
    *("input_tokens", "output_tokens", "cost", "latency_p50", "latency_p95", "served_models"),
    *("first_token_p50", "first_token_p95"),
}


def _sides(evalset: EvalsetReport) -> Table:
    """Return the target, calls and cost of each side."""
    sides = [side for side in (evalset.baseline, evalset.candidate) if side is not None]
    rows = [[label, *map(show, sides)] for label, show in SIDE_ROWS]
    rows += [
        [_named(name), *(_shown(getattr(side, name)) for side in sides)]
        for name in _further(sides, _IN_SIDE_ROWS)
    ]
    return Table(
        caption=f"Sides on {evalset.evalset}",
        heads=("", *(side.name for side in sides)),
        rows=[row for row in rows if any(row[1:])],
    )


def scorer_calls(report: Report) -> Table:
    """Return the model calls of scorers, by role."""
    return Table(
        caption="Calls of scorers",
        heads=("Role", "Calls", "Cached", "Tokens in", "Tokens out", "Cost"),
        rows=[
            [
                role,
                f"{spent.calls:,}",
                f"{spent.reused:,}",
                f"{spent.input_tokens:,}",
                f"{spent.output_tokens:,}",
                formatting.money(spent.cost),
            ]
            for role, spent in report.spent.items()
        ],
        numbers=range(1, 6),
    )


def _further(values: Sequence[Any], shown: set[str]) -> list[str]:
    """Return the fields that this module does not know and that some of `values` fill."""
    names = (field.name for field in fields(values[0])) if values else ()
    unknown = (name for name in names if name not in shown)
    return [name for name in unknown if any(_shown(getattr(value, name)) for value in values)]


def _shown(value: Any) -> str:  # noqa: ANN401 - any field of a report
    """Return the text of a value of an unknown field."""
    if value is None or value in ((), {}, [], ""):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if type(value) is int else formatting.plain(as_json(value))


def _named(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"
