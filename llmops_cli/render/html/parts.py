"""The parts of the page that need no script: verdicts, findings, figures, cost, where from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from llmops_cli.core.report import ArmSummary, EvalsetReport, MetricSummary, PromptReport, Report
from llmops_cli.core.verdict import Decision, Estimate, Finding
from llmops_cli.gate.wording import points
from llmops_cli.render import phrases
from llmops_cli.render.html.ink import Ink, joined
from llmops_cli.render.html.plot import Scale, plot
from llmops_cli.render.machine import as_json

SAID: Mapping[Decision, str] = {
    Decision.FAIL: "does not pass the gate",
    Decision.INCOMPLETE: "was not measured completely",
    Decision.INCONCLUSIVE: "cannot be decided yet",
    Decision.PASS: "passes the gate",
}
"""What the headline says of a prompt."""
_NO_BASELINE = "has nothing to be compared with yet"
_COMMAND = re.compile(
    r"^(?P<before>.*?: )?(?P<command>(?:git|llmops) [^:]+?)(?:   # (?P<after>.*))?$"
)
NAMED_CASES = 12
"""Cases that a finding links to."""


def badge(ink: Ink, decision: Decision) -> Markup:
    """The decision as a word on its colour."""
    word = decision.value
    return ink.fill('<span class="badge {kind}">{word}</span>', kind=word.lower(), word=word)


def headline(prompt: PromptReport) -> str:
    """`intent does not pass the gate`."""
    decision = prompt.verdict.decision
    if decision is Decision.INCONCLUSIVE and prompt.baseline is None:
        return f"{prompt.prompt} {_NO_BASELINE}"
    return f"{prompt.prompt} {SAID[decision]}"


def estimate_of(prompt: PromptReport) -> tuple[Estimate, Decision] | None:
    """The comparison that says most of a prompt: the worst that has an interval."""
    found = sorted(prompt.verdict.findings, key=lambda each: phrases.SEVERITY[each.decision])
    with_interval = [each for each in found if each.estimate is not None]
    if not with_interval:
        return None
    first = with_interval[0]
    assert first.estimate is not None
    return first.estimate, first.decision


def overview(ink: Ink, prompts: Sequence[PromptReport]) -> Markup:
    """Every prompt in a row, worst first."""
    estimates = {at: found for at, each in enumerate(prompts) if (found := estimate_of(each))}
    scale = Scale.of(estimate for estimate, _ in estimates.values())
    rows = []
    for at, prompt in enumerate(prompts):
        drawing, change = Markup(), ""
        if at in estimates:
            drawing = plot(ink, *estimates[at], scale)
            change = points(estimates[at][0].difference)
        counts = ", ".join(filter(None, map(phrases.counted, prompt.evalsets)))
        rows.append(
            ink.fill(
                '<tr><td>{badge}</td><th scope="row"><a href="#prompt-{at}">{name}</a></th>'
                '<td class="number">{change}</td><td class="drawing">{drawing}</td>'
                "<td>{counts}</td></tr>",
                badge=badge(ink, prompt.verdict.decision),
                at=at,
                name=prompt.prompt,
                change=change,
                drawing=drawing,
                counts=counts,
            )
        )
    return table(
        ink,
        "Prompts, worst first",
        ("Verdict", "Prompt", "Points", "Interval and margin", "Cases"),
        rows,
        kinds=("", "", "number", "", ""),
    )


def table(
    ink: Ink, caption: str, heads: Sequence[str], rows: Iterable[Markup], kinds: Sequence[str] = ()
) -> Markup:
    """A table with its caption; `kinds` are the classes of the heads."""
    classes = [*kinds, *[""] * (len(heads) - len(kinds))]
    cells = joined(
        (
            ink.fill('<th scope="col" class="{kind}">{head}</th>', kind=kind, head=head)
            for head, kind in zip(heads, classes, strict=True)
        ),
        "",
    )
    return ink.fill(
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        "<table><caption>{caption}</caption>"
        "<thead><tr>{cells}</tr></thead><tbody>\n{rows}\n</tbody></table></div>",
        caption=caption,
        cells=cells,
        rows=joined(rows),
    )


def arms(ink: Ink, prompt: PromptReport) -> Markup:
    """Who met whom."""
    if prompt.baseline is None:
        return ink.fill("<b>{ours}</b>, without a baseline", ours=prompt.candidate)
    return ink.fill("<b>{ours}</b> against {theirs}", ours=prompt.candidate, theirs=prompt.baseline)


def why(ink: Ink, prompt: PromptReport) -> Markup:
    """The findings that made the verdict, each with its picture and the cases at fault."""
    verdict = prompt.verdict
    deciding = [each for each in verdict.findings if each.decision is verdict.decision]
    if verdict.decision is Decision.PASS:
        deciding = [each for each in deciding if each.quality] or deciding
    several = len(prompt.evalsets) > 1
    items = [_reason(ink, prompt, each, several=several) for each in deciding]
    if not items:
        items = [ink.fill("<li><p>{why}</p></li>", why=verdict.why)]
    return ink.fill('<ul class="reasons">{items}</ul>', items=joined(items))


def _reason(ink: Ink, prompt: PromptReport, finding: Finding, *, several: bool) -> Markup:
    drawing, reading = Markup(), Markup()
    if finding.estimate is not None:
        drawing = plot(ink, finding.estimate, finding.decision)
        words = phrases.reading(finding, finding.estimate)
        reading = ink.fill('<p class="reading">{words}</p>', words=words) if words else Markup()
    return ink.fill(
        "<li><h4>{rule}</h4>{drawing}{reading}<p>{why}</p>{cases}</li>",
        rule=phrases.rule(finding, several=several),
        drawing=drawing,
        reading=reading,
        why=finding.why,
        cases=case_links(ink, prompt, finding),
    )


def case_links(ink: Ink, prompt: PromptReport, finding: Finding) -> Markup:
    """Links to the cases at fault."""
    if not finding.cases:
        return Markup()
    evalsets = [finding.evalset] if finding.evalset else [each.evalset for each in prompt.evalsets]
    evalset = evalsets[0] if len(evalsets) == 1 else None
    links = [
        ink.fill(
            '<a href="{address}">{case}</a>',
            address=address(ink, case, prompt.prompt, evalset),
            case=case,
        )
        for case in finding.cases[:NAMED_CASES]
    ]
    more = len(finding.cases) - len(links)
    rest = ink.fill(" and {more} more", more=f"{more:,}") if more else Markup()
    return ink.fill(
        '<p class="links">Look at {links}{rest}</p>', links=joined(links, ", "), rest=rest
    )


def address(ink: Ink, case: str, prompt: str, evalset: str | None) -> str:
    """The link within the page to a case."""
    parts = {"case": case, "prompt": prompt, "evalset": evalset}
    known = ((name, ink.line(value, 300)) for name, value in parts.items() if value)
    return "#" + "&".join(f"{name}={quote(value, safe='')}" for name, value in known)


def steps(ink: Ink, lines: Iterable[str]) -> Markup:
    """What to do next: commands as commands, sentences as sentences."""
    items = []
    for line in lines:
        found = _COMMAND.match(line)
        if found is None:
            items.append(ink.fill("<li>{line}</li>", line=line))
            continue
        items.append(
            ink.fill(
                "<li>{before}<code>{command}</code> <span>{after}</span></li>",
                before=found["before"] or "",
                command=found["command"],
                after=found["after"] or "",
            )
        )
    return ink.fill('<ol class="steps">{items}</ol>', items=joined(items)) if items else Markup()


def findings(ink: Ink, prompt: PromptReport) -> Markup:
    """Every rule's finding, worst first."""
    several = len(prompt.evalsets) > 1
    ordered = sorted(prompt.verdict.findings, key=lambda each: phrases.SEVERITY[each.decision])
    rows = [
        ink.fill(
            '<tr><td>{badge}</td><th scope="row">{rule}</th><td>{why}</td></tr>',
            badge=badge(ink, each.decision),
            rule=phrases.rule(each, several=several),
            why=each.why,
        )
        for each in ordered
    ]
    return table(ink, "Every rule", ("Decision", "Rule", "Figures"), rows)


def figures(ink: Ink, prompt: PromptReport) -> Markup:
    """The figures that everybody asks for first, one line per evalset."""
    lines = []
    for each in prompt.evalsets:
        first = next((one for one in each.metrics if one.label == "pass"), None)
        parts = [ink.fill("<div><dt>Evalset</dt><dd>{name}</dd></div>", name=each.evalset)]
        if first is not None:
            parts.append(_passing(ink, first))
        parts.append(
            ink.fill("<div><dt>Measured on</dt><dd>{it}</dd></div>", it=phrases.size(each))
        )
        counts = phrases.counted(each)
        if counts:
            parts.append(ink.fill("<div><dt>Changes</dt><dd>{it}</dd></div>", it=counts))
        lines.append(ink.fill('<dl class="figures">{parts}</dl>', parts=joined(parts)))
    return joined(lines)


def _passing(ink: Ink, metric: MetricSummary) -> Markup:
    now = phrases.percent(metric.candidate)
    if metric.baseline is None:
        return ink.fill("<div><dt>Passing</dt><dd>{now}</dd></div>", now=now)
    return ink.fill(
        '<div><dt>Passing</dt><dd>{before} <span aria-label="to">→</span> {now}</dd></div>',
        before=phrases.percent(metric.baseline),
        now=now,
    )


def metrics(ink: Ink, evalset: EvalsetReport) -> Markup:
    """Every metric before and after; fields that are new here get a column of their own."""
    shown = {"label", "gated", "candidate", "baseline", "candidate_n", "baseline_n"}
    more = _further(evalset.metrics, shown)
    rows = []
    for each in evalset.metrics:
        cells = [
            phrases.percent(each.baseline),
            phrases.percent(each.candidate),
            _difference(each),
            f"{each.candidate_n:,}",
        ]
        numbers = [ink.fill('<td class="number">{it}</td>', it=cell) for cell in cells]
        others = [ink.fill("<td>{it}</td>", it=_shown(getattr(each, name))) for name in more]
        rows.append(
            ink.fill(
                '<tr><th scope="row">{label}</th>{cells}<td>{role}</td></tr>',
                label=each.label,
                cells=joined([*numbers, *others], ""),
                role="gates" if each.gated else "shown",
            )
        )
    heads = ("Metric", "Before", "After", "Points", "Cases", *map(_named, more), "Role")
    return table(ink, f"Metrics on {evalset.evalset}", heads, rows, kinds=("", *["number"] * 4))


def _difference(metric: MetricSummary) -> str:
    if metric.candidate is None or metric.baseline is None:
        return "–"
    return points(metric.candidate - metric.baseline)


def slices(ink: Ink, evalset: EvalsetReport) -> Markup:
    """The tags, those that lost most first."""
    rows = [
        ink.fill(
            '<tr><th scope="row">#{tag}</th><td class="number">{before}</td>'
            '<td class="number">{after}</td><td class="number">{lost}</td>'
            '<td class="number">{gained}</td><td class="number">{cases}</td></tr>',
            tag=each.tag,
            before=phrases.percent(each.baseline),
            after=phrases.percent(each.candidate),
            lost=each.lost,
            gained=each.gained,
            cases=each.cases,
        )
        for each in evalset.slices
    ]
    heads = ("Tag", "Before", "After", "Lost", "Gained", "Cases")
    kinds = ("", *["number"] * 5)
    return table(ink, f"By tag on {evalset.evalset}", heads, rows, kinds) if rows else Markup()


def effort(ink: Ink, evalset: EvalsetReport) -> Markup:
    """What each arm was and what it took; fields that are new here get a row of their own."""
    both = [each for each in (evalset.baseline, evalset.candidate) if each is not None]
    known: list[tuple[str, Callable[[ArmSummary], str]]] = [
        ("Model", lambda arm: arm.model),
        ("Answered by", lambda arm: ", ".join(arm.served_models)),
        ("Target", lambda arm: arm.target),
        ("Draws measured", lambda arm: f"{arm.measured:,} of {arm.planned:,}"),
        ("Called in this run", lambda arm: f"{arm.called:,}"),
        ("Not measured", phrases.measured),
        ("Tokens in", lambda arm: _count(arm.input_tokens)),
        ("Tokens out", lambda arm: _count(arm.output_tokens)),
        ("Cost of all draws", lambda arm: phrases.money(arm.cost)),
        ("Latency, median", lambda arm: _seconds(arm.latency_p50)),
        ("Latency, 95th", lambda arm: _seconds(arm.latency_p95)),
    ]
    shown = {
        *("name", "target", "model", "planned", "measured", "called", "failures", "unscored"),
        *("input_tokens", "output_tokens", "cost", "latency_p50", "latency_p95", "served_models"),
    }
    rows = [(label, [tell(arm) for arm in both]) for label, tell in known]
    rows += [
        (_named(name), [_shown(getattr(arm, name)) for arm in both])
        for name in _further(both, shown)
    ]
    marked = [
        ink.fill(
            '<tr><th scope="row">{label}</th>{cells}</tr>',
            label=label,
            cells=joined((ink.fill("<td>{it}</td>", it=each) for each in cells), ""),
        )
        for label, cells in rows
        if any(cells)
    ]
    heads = ("", *(arm.name for arm in both))
    return table(ink, f"Arms on {evalset.evalset}", heads, marked)


def roles(ink: Ink, report: Report) -> Markup:
    """What scorers asked of models, by role."""
    rows = [
        ink.fill(
            '<tr><th scope="row">{role}</th><td class="number">{calls}</td>'
            '<td class="number">{reused}</td><td class="number">{given}</td>'
            '<td class="number">{made}</td><td class="number">{cost}</td></tr>',
            role=role,
            calls=f"{each.calls:,}",
            reused=f"{each.reused:,}",
            given=f"{each.input_tokens:,}",
            made=f"{each.output_tokens:,}",
            cost=phrases.money(each.cost),
        )
        for role, each in report.spent.items()
    ]
    heads = ("Asked as", "Calls", "Reused", "Tokens in", "Tokens out", "Cost")
    kinds = ("", *["number"] * 5)
    return table(ink, "What scorers asked", heads, rows, kinds) if rows else Markup()


def items(ink: Ink, lines: Iterable[str], kind: str) -> Markup:
    """A list of sentences; nothing where there is none."""
    marked = [ink.fill("<li>{line}</li>", line=line) for line in lines]
    return (
        ink.fill('<ul class="{kind}">{all}</ul>', kind=kind, all=joined(marked))
        if marked
        else Markup()
    )


def _further(values: Sequence[Any], shown: set[str]) -> list[str]:
    """Fields that this module does not know and that some of `values` fill."""
    if not values:
        return []
    names = (each.name for each in fields(values[0]) if each.name not in shown)
    return [name for name in names if any(_shown(getattr(value, name)) for value in values)]


def _shown(value: Any) -> str:  # noqa: ANN401 - any field of a report
    """A value that this module knows nothing of, as people read it."""
    if value is None or value in ((), {}, [], ""):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if type(value) is int else phrases.plain(as_json(value))


def _named(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def worst(report: Report) -> Iterator[PromptReport]:
    """The prompts, worst first: FAIL before what could not be told, and by how much."""

    def severity(prompt: PromptReport) -> tuple[int, float]:
        found = estimate_of(prompt)
        return phrases.SEVERITY[prompt.verdict.decision], found[0].difference if found else 0.0

    yield from sorted(report.prompts, key=severity)
