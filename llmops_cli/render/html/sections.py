"""The parts of the page that need no script: verdicts, why, what to do, the figures asked first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from markupsafe import Markup

from llmops_cli.core.report import MetricSummary, PromptReport, Report
from llmops_cli.core.verdict import Decision, Estimate, Finding
from llmops_cli.gate.wording import points
from llmops_cli.render import formatting as phrases
from llmops_cli.render.html.escape import Ink, joined
from llmops_cli.render.html.tables import Scale, plot, table

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
NAMED_CASES = 6
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


def sides(ink: Ink, prompt: PromptReport) -> Markup:
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
    if not items:
        return Markup()
    return ink.fill('<h3>What to do</h3><ol class="steps">{items}</ol>', items=joined(items))


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
    now = "not measured" if metric.candidate is None else phrases.percent(metric.candidate)
    if metric.baseline is None:
        return ink.fill("<div><dt>Passing</dt><dd>{now}</dd></div>", now=now)
    return ink.fill(
        '<div><dt>Passing</dt><dd>{before} <span aria-label="to">→</span> {now}</dd></div>',
        before=phrases.percent(metric.baseline),
        now=now,
    )


def items(ink: Ink, lines: Iterable[str], kind: str) -> Markup:
    """A list of sentences; nothing where there is none."""
    marked = [ink.fill("<li>{line}</li>", line=line) for line in lines]
    return (
        ink.fill('<ul class="{kind}">{all}</ul>', kind=kind, all=joined(marked))
        if marked
        else Markup()
    )


def worst(report: Report) -> Iterator[PromptReport]:
    """The prompts, worst first: FAIL before what could not be told, and by how much."""

    def severity(prompt: PromptReport) -> tuple[int, float]:
        found = estimate_of(prompt)
        return phrases.SEVERITY[prompt.verdict.decision], found[0].difference if found else 0.0

    yield from sorted(report.prompts, key=severity)
