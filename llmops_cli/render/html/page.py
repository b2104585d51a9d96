"""Puts the report together as one HTML file: what is shown, its style, its script and its data.

The file asks nobody for anything: its policy (CSP) lets run the one script and the one style sheet
whose digests it names, and nothing be fetched. Verdict, findings and figures are plain HTML and
need no script; the script shows the cases, as text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files

from markupsafe import Markup

from llmops_cli.core.digest import NotCanonical, digest
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, PromptReport, Report
from llmops_cli.core.verdict import Decision
from llmops_cli.render import formatting as phrases
from llmops_cli.render.html import sections as parts
from llmops_cli.render.html import tables
from llmops_cli.render.html.cases import CaseBook, Room
from llmops_cli.render.html.escape import Ink, joined
from llmops_cli.render.json import SCHEMA, as_json

STATIC_CASES = 20
"""Cases in the table for browsers without script."""
_EXCERPT = 300
FEW = 5
"""Passing prompts that are listed one by one."""


def html_report(
    report: Report, records: CaseStream, *, redact: Redactor, room: Room | None = None
) -> Iterator[str]:
    """The page in pieces, the cases among them as they are taken from `records`."""
    ink = Ink(redact)
    style, script = _asset("page.css"), _asset("page.js")
    prompts = list(parts.worst(report))
    book = CaseBook(ink, room)
    yield _head(ink, _title(report, prompts), style, script)
    yield _body(ink, report, prompts)
    yield from book.blocks(records)
    yield _scripted(script)
    yield _end(ink, report)


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """A CSP source expression: the digest of an inline style or script."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _head(ink: Ink, title: str, style: str, script: str) -> Markup:
    policy = (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
    return ink.fill(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        "<title>{title}</title>\n<style>{style}</style>\n</head>\n",
        policy=policy,
        title=title,
        style=Markup(style),  # noqa: S704 - a file of this package
    )


def _scripted(script: str) -> Markup:
    return Markup("<script>{}</script>\n").format(
        Markup(script)  # noqa: S704 - a file of this package
    )


def _title(report: Report, prompts: list[PromptReport]) -> str:
    if not prompts:
        return phrases.nothing(report)
    word = prompts[0].verdict.decision.value
    return f"{word} · {prompts[0].prompt if len(prompts) == 1 else _count(prompts)}"


def _count(prompts: list[PromptReport]) -> str:
    """`2 of 60 prompts do not pass the gate`: of the worst decision there is."""
    worst = prompts[0].verdict.decision
    count = sum(each.verdict.decision is worst for each in prompts)
    said = {
        Decision.FAIL: ("does not pass the gate", "do not pass the gate"),
        Decision.INCOMPLETE: ("was not measured completely", "were not measured completely"),
        Decision.INCONCLUSIVE: ("cannot be decided yet", "cannot be decided yet"),
        Decision.PASS: ("passes the gate", "pass the gate"),
    }[worst]
    if count == len(prompts):
        return f"All {count} prompts {said[1]}"
    return f"{count} of {len(prompts)} prompts {said[count > 1]}"


def _body(ink: Ink, report: Report, prompts: list[PromptReport]) -> Markup:
    return ink.fill(
        '<body>\n<a class="skip" href="#cases">Skip to the cases</a>\n'
        "<header>{top}{warnings}</header>\n<main>\n{sections}\n{cases}\n",
        top=_top(ink, report, prompts),
        warnings=parts.items(ink, phrases.warnings(report), "warnings"),
        sections=_prompts(ink, prompts),
        cases=_cases(ink, report),
    )


def _prompts(ink: Ink, prompts: list[PromptReport]) -> Markup:
    """Every prompt's reasons, worst first; many that pass are folded away together."""
    single = len(prompts) == 1
    sections = [
        _prompt(ink, each, at, single=single, opened=at == 0) for at, each in enumerate(prompts)
    ]
    passing = sum(each.verdict.decision is Decision.PASS for each in prompts)
    if passing <= FEW or passing == len(prompts):
        return joined(sections)
    folded = ink.fill(
        '<details class="passing"><summary><h2>{badge} {count} prompts pass the gate</h2>'
        "</summary>{each}</details>",
        badge=parts.badge(ink, Decision.PASS),
        count=passing,
        each=joined(sections[-passing:]),
    )
    return joined([*sections[:-passing], folded])


def _name_of(report: Report) -> str:
    """What names the run, here as in CI: its report's digest. Half a character has none."""
    try:
        return f" · run {digest(SCHEMA, as_json(report))}"
    except NotCanonical:
        return ""


def _top(ink: Ink, report: Report, prompts: list[PromptReport]) -> Markup:
    if not prompts:
        return ink.fill("<h1>{it}</h1>", it=phrases.nothing(report))
    if len(prompts) == 1:
        (prompt,) = prompts
        return ink.fill(
            '<h1>{badge} {said}</h1>\n<p class="versions">{sides}</p>\n{lenient}',
            badge=parts.badge(ink, prompt.verdict.decision),
            said=parts.headline(prompt),
            sides=parts.sides(ink, prompt),
            lenient=_lenient(ink, prompt),
        )
    counts = Counter(each.verdict.decision for each in prompts)
    words = ", ".join(f"{counts[each]} {each.value}" for each in Decision if counts[each])
    return ink.fill(
        '<h1>{badge} {said}</h1>\n<p class="versions">{words}</p>\n{table}',
        badge=parts.badge(ink, prompts[0].verdict.decision),
        said=_count(prompts),
        words=words,
        table=parts.overview(ink, prompts),
    )


def _lenient(ink: Ink, prompt: PromptReport) -> Markup:
    told = phrases.leniency(prompt.verdict)
    return ink.fill('<p class="quiet">{told}</p>', told=told) if told else Markup()


def _prompt(ink: Ink, prompt: PromptReport, at: int, *, single: bool, opened: bool) -> Markup:
    details = [
        parts.findings(ink, prompt),
        *(
            part(ink, each)
            for each in prompt.evalsets
            for part in (tables.metrics, tables.slices, tables.judges, tables.effort)
        ),
    ]
    inner = ink.fill(
        '{figures}<div class="reasoning"><section><h3>Why</h3>{why}</section>'
        "<section>{steps}{notes}</section></div>"
        '<details class="more"><summary>Every rule, metric and arm</summary>{details}</details>',
        figures=parts.figures(ink, prompt),
        why=parts.why(ink, prompt),
        steps=parts.steps(ink, prompt.next_steps),
        notes=_notes(ink, prompt),
        details=joined(details),
    )
    if single:
        return ink.fill(
            '<section id="prompt-0" aria-label="Verdict">{inner}</section>', inner=inner
        )
    return ink.fill(
        '<details class="prompt" id="prompt-{at}"{opened}>'
        "<summary><h2>{badge} {said}</h2></summary>"
        '<p class="versions">{sides}</p>{lenient}{inner}</details>',
        at=at,
        opened=Markup(" open") if opened else Markup(),
        badge=parts.badge(ink, prompt.verdict.decision),
        said=parts.headline(prompt),
        sides=parts.sides(ink, prompt),
        lenient=_lenient(ink, prompt),
        inner=inner,
    )


def _notes(ink: Ink, prompt: PromptReport) -> Markup:
    """What a reader must know before deciding; of which of several evalsets."""
    several = len(prompt.evalsets) > 1
    lines = [
        f"{each.evalset}: {note}" if several else note
        for each in prompt.evalsets
        for note in each.notes
    ]
    marked = parts.items(ink, lines, "notes")
    return ink.fill("<h3>Worth knowing</h3>{marked}", marked=marked) if lines else Markup()


def _cases(ink: Ink, report: Report) -> Markup:
    return ink.fill(
        '<section id="cases" aria-labelledby="cases-title" tabindex="-1">'
        '<h2 id="cases-title">Cases</h2>\n'
        '<div id="explorer" hidden></div>\n<noscript>{table}</noscript></section>',
        table=_static_cases(ink, report),
    )


def _static_cases(ink: Ink, report: Report) -> Markup:
    """The worst cases as a table, where no script runs."""
    shown = [each for prompt in report.prompts for one in prompt.evalsets for each in one.shown]
    rows = [
        ink.fill(
            '<tr><th scope="row">{case}</th><td>{change}</td><td>{expected}</td>'
            "<td>{before}</td><td>{after}</td></tr>",
            case=each.case,
            change=phrases.CHANGES[each.change].lower(),
            expected=_excerpt(ink, phrases.plain(each.expected) if each.expected else ""),
            before=_excerpt(ink, phrases.answer(each.baseline.first if each.baseline else None)),
            after=_excerpt(ink, phrases.answer(each.candidate.first if each.candidate else None)),
        )
        for each in shown[:STATIC_CASES]
    ]
    heads = ("Case", "Change", "Expected", "Before", "After")
    return ink.fill(
        "<p>Every case can be searched and compared here where scripts may run; "
        "these are the worst {count}.</p>{table}",
        count=len(rows),
        table=tables.table(ink, "The worst cases", heads, rows),
    )


def _excerpt(ink: Ink, text: str) -> str:
    return ink.line(text, _EXCERPT)


def _end(ink: Ink, report: Report) -> Markup:
    """What it cost, what to know, where it came from: after the cases, so that nothing moves."""
    return ink.fill(
        '<section id="about-run" aria-labelledby="about"><h2 id="about">About this run</h2>'
        "<p>{spending}</p>{roles}{notes}</section>\n</main>\n"
        "<footer>llmops {version}{name}</footer>\n</body>\n</html>\n",
        spending=" · ".join(phrases.closing(report, report.prompts)),
        roles=tables.roles(ink, report),
        notes=parts.items(ink, report.notes, "notes"),
        version=report.llmops,
        name=_name_of(report),
    )
