"""The HTML page: a template, filled with a report, its style, its script and its data, in one file.

The file loads nothing: its Content Security Policy only allows its own script and style sheet, by
their digests. Verdict, findings and figures are plain HTML and need no script; the script shows the
cases, as text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from llmops_cli.core.digest import NotCanonical, digest
from llmops_cli.core.policy import Decision, Estimate, Finding
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import (
    CaseStream,
    EvalsetReport,
    PromptReport,
    Report,
    ShownCase,
    SideSummary,
)
from llmops_cli.gate.wording import listed, points
from llmops_cli.render import formatting
from llmops_cli.render.html.cases import CaseBlocks, PageLimits, PageText
from llmops_cli.render.json import SCHEMA, as_json

FEW = 5
"""Passing prompts that are listed one by one; more are folded away together."""
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


def html_report(
    report: Report,
    cases: CaseStream,
    *,
    redact: Redactor,
    room: PageLimits | None = None,
    about: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the page in pieces, the cases among them as they are taken from `cases`.

    `about` says when and how the run was made: command, date, commit, versions.
    """
    text = PageText(redact)
    style, script = _asset("page.css"), _asset("page.js")
    prompts = sorted(report.prompts, key=_severity)
    decisions = Counter(prompt.verdict.decision for prompt in prompts)
    passing = [prompt for prompt in prompts if prompt.verdict.decision is Decision.PASS]
    folded = passing if FEW < len(passing) < len(prompts) else []
    yield from _template(text).generate(
        report=report,
        prompts=prompts,
        unfolded=prompts[: len(prompts) - len(folded)],
        passing_prompts=folded,
        title=_title(report, prompts),
        decisions=", ".join(f"{count} {decision.value}" for decision, count in decisions.items()),
        overview=_overview(prompts),
        warnings=formatting.warnings(report),
        worst_cases=[
            case for evalset in formatting.evalsets_of(report.prompts) for case in evalset.shown
        ][:STATIC_CASES],
        closing=" · ".join([*formatting.closing(report, prompts), formatting.tokens(report)]),
        about=about,
        run=_run(report),
        blocks=CaseBlocks(text, room or PageLimits()).written(cases),
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        case_links=lambda prompt, finding: _case_links(text, prompt, finding),
    )


def _template(text: PageText) -> Any:  # noqa: ANN401 - jinja's Template
    """Return the template, which escapes every value."""

    def finalize(value: object) -> object:
        if isinstance(value, Markup):
            return value
        return text.line(f"{value:,}" if type(value) is int else str(value))

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=finalize, trim_blocks=True
    )
    environment.globals = {
        **vars(formatting),
        **{function.__name__.strip("_"): function for function in TEMPLATE_FUNCTIONS},
        "range": range,
    }
    environment.filters |= {"counted": formatting.counted, "pass_rates": formatting.pass_rates}
    return environment.from_string(_asset("page.html"))


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


def _source(text: str) -> str:
    """Return a CSP source expression: the digest of an inline style or script."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _title(report: Report, prompts: Sequence[PromptReport]) -> str:
    if not prompts:
        return formatting.nothing(report)
    word = prompts[0].verdict.decision.value
    return f"{word} · {prompts[0].prompt if len(prompts) == 1 else _count(prompts)}"


def _count(prompts: Sequence[PromptReport]) -> str:
    """Return `2 of 60 prompts do not pass the gate`: of the worst decision there is."""
    worst = prompts[0].verdict.decision
    count = sum(prompt.verdict.decision is worst for prompt in prompts)
    singular, plural = VERDICTS[worst]
    if count == len(prompts):
        return f"All {count} prompts {plural}"
    return f"{count} of {len(prompts)} prompts {plural if count > 1 else singular}"


def _run(report: Report) -> str:
    """Return what names the run, here as in CI: its report's digest. Half a character has none."""
    try:
        return f" · run {digest(SCHEMA, as_json(report))}"
    except NotCanonical:
        return ""


def headline(prompt: PromptReport) -> str:
    """Return `intent does not pass the gate`."""
    decision = prompt.verdict.decision
    if decision is Decision.INCONCLUSIVE and prompt.baseline is None:
        return f"{prompt.prompt} has no baseline to compare with yet"
    return f"{prompt.prompt} {VERDICTS[decision][0]}"


def _estimate_of(prompt: PromptReport) -> tuple[Estimate, Decision] | None:
    """Return the most relevant comparison of a prompt: the worst one with an interval."""
    for finding in formatting.worst_findings_first(prompt.verdict):
        if finding.estimate is not None:
            return finding.estimate, finding.decision
    return None


def _severity(prompt: PromptReport) -> tuple[int, float]:
    """Sort prompts by their verdicts, and those that fail by how much."""
    compared = _estimate_of(prompt)
    difference = compared[0].difference if compared else 0.0
    return formatting.SEVERITY[prompt.verdict.decision], difference


# Intervals.

_ROOM = 22.0
"""Percent of the width on either side of a large drawing: room for its figures."""
_EDGE = 4.0


Scale = tuple[float, float]
"""The least and the greatest difference of a drawing."""


def scale_of(estimates: Iterable[Estimate]) -> Scale:
    """Return a scale with room for all `estimates`, their margins and 0."""
    ends = [end for one in estimates for end in (one.lower, -one.margin, one.upper)]
    left, right = min([0.0, *ends]), max([0.0, *ends])
    return left, right if right > left else left + 1.0


def plot(estimate: Estimate, decision: Decision, scale: Scale | None = None) -> dict[str, str]:
    """Return places and figures of an interval; a small one on a `scale` shared with others."""
    (left, right), room = (scale_of([estimate]), _ROOM) if scale is None else (scale, _EDGE)
    least, most = formatting.interval_ends(estimate)
    difference, limit = points(estimate.difference), points(-estimate.margin)
    places = {
        "zero": 0.0,
        "margin": -estimate.margin,
        "lower": estimate.lower,
        "upper": estimate.upper,
        "point": estimate.difference,
    }
    shares = {
        name: min(max((value - left) / (right - left), 0.0), 1.0) for name, value in places.items()
    }
    return {
        "kind": decision.value.lower(),
        "text": f"{difference} points, interval {least} to {most}, margin {limit}",
        "least": least,
        "most": most,
        "difference": difference,
        "limit": limit,
        **{name: f"{room + (100 - 2 * room) * share:.2f}" for name, share in shares.items()},
    }


def _overview(
    prompts: Sequence[PromptReport],
) -> list[tuple[PromptReport, dict[str, str] | None]]:
    """Return every prompt with its interval, all on one scale."""
    compared = [_estimate_of(prompt) for prompt in prompts]
    scale = scale_of(estimate[0] for estimate in compared if estimate)
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


def deciding(prompt: PromptReport) -> list[Finding]:
    """Return the findings that made the verdict."""
    verdict = prompt.verdict
    findings = [finding for finding in verdict.findings if finding.decision is verdict.decision]
    if verdict.decision is Decision.PASS:
        return [finding for finding in findings if finding.quality] or findings
    return findings


def _case_links(text: PageText, prompt: PromptReport, finding: Finding) -> list[tuple[str, str]]:
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


def excerpts(case: ShownCase) -> list[str]:
    """Return what was expected and answered before and after, cut to a glance."""
    sides = (case.baseline, case.candidate)
    answers = [formatting.answer(side.first if side else None) for side in sides]
    expected = formatting.plain(case.expected) if case.expected else ""
    return [
        text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]} …" for text in (expected, *answers)
    ]


def _cost_per_trial(side: SideSummary) -> str:
    """Return a cost that compares: the sides may have made different numbers of trials."""
    if side.cost is None or not side.measured:
        return ""
    return formatting.money(side.cost / side.measured)


SIDE_ROWS: Sequence[tuple[str, Callable[[SideSummary], str]]] = (
    ("Model", lambda side: side.model),
    ("Answered by", lambda side: listed(side.served_models)),
    ("Target", lambda side: side.target),
    ("Trials measured", lambda side: f"{side.measured:,} of {side.planned:,}"),
    ("Called in this run", lambda side: f"{side.called:,}"),
    ("Not measured", formatting.measured),
    ("Cause", lambda side: side.cause),
    ("Tokens in", lambda side: _count_of(side.input_tokens)),
    ("Tokens out", lambda side: _count_of(side.output_tokens)),
    ("Cost of all trials", lambda side: formatting.money(side.cost)),
    ("Cost per trial", _cost_per_trial),
    ("Latency, median", lambda side: _seconds(side.latency_p50)),
    ("Latency, 95th percentile", lambda side: _seconds(side.latency_p95)),
    ("First token, median", lambda side: _seconds(side.first_token_p50)),
    ("First token, 95th percentile", lambda side: _seconds(side.first_token_p95)),
)


def side_rows(sides: Sequence[SideSummary]) -> list[list[str]]:
    """Return target, calls and cost of each side, as far as they are known."""
    rows = ([label, *map(show, sides)] for label, show in SIDE_ROWS)
    return [row for row in rows if any(row[1:])]


def _count_of(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


TEMPLATE_FUNCTIONS: Sequence[Callable[..., object]] = (
    *(points, plot, passing, deciding, steps, headline, excerpts, side_rows),
    _count,
)
"""What the template calls, apart from the functions of `formatting`."""
