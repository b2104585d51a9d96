"""Shows a report on a terminal or in a CI log: the verdict and why, the evidence, what to do next.

Every line answers the reader's next question: may it go out, compared with what, how sure is
that, which cases changed and how, what did it cost, what now. It reads without colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llmops_cli.core.report import (
    EvalsetReport,
    MetricSummary,
    PromptReport,
    Report,
    ShownCase,
    SliceSummary,
)
from llmops_cli.core.verdict import Decision, Estimate, Finding, Verdict
from llmops_cli.render import formatting as phrases
from llmops_cli.render.console_cases import NARROWEST, Strokes, case_block, interval
from llmops_cli.render.renderable import COLOURS, Pen, Sheet
from llmops_cli.render.safe_text import clip

_PICTURE = 60
_CASES = 10
_CASES_VERBOSE = 100
_FAILING = 3
_SLICES = 5
_HEADS = 5
"""Prompts that pass with their whole sentence; of more, one line each."""
_SENTENCE = 2_000
_ALARMING = 0.05


class Picture:
    """The interval of an estimate, as wide as there is room."""

    def __init__(self, estimate: Estimate, *, style: str, strokes: Strokes) -> None:
        self._estimate = estimate
        self._style = style
        self._strokes = strokes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Two lines that never wrap; none where there is no room for them."""
        if options.max_width < NARROWEST:
            return
        width = min(options.max_width, _PICTURE)
        for line in interval(self._estimate, width=width, strokes=self._strokes):
            yield Text(line, style=self._style, no_wrap=True)


def console_report(
    report: Report, *, verbose: bool = False, width: int | None = None
) -> RenderableType:
    """The whole report; at most `width` columns, by default as wide as the console.

    `verbose` shows more cases, longer answers, every score, and passing prompts in full.
    """
    return Sheet(partial(_report, report, verbose), width=width)


def _report(report: Report, verbose: bool, pen: Pen) -> Iterator[RenderableType]:  # noqa: FBT001 - bound by name in `console_report`
    prompts = sorted(report.prompts, key=lambda each: phrases.SEVERITY[each.verdict.decision])
    for warning in phrases.warnings(report):
        yield pen.line(warning, "bold yellow")
    yield (
        _headlines(pen, prompts, brief=not verbose and len(prompts) > _HEADS)
        if prompts
        else pen.line(phrases.nothing(report)[2:], "bold")
    )
    detailed = [
        each
        for each in prompts
        if verbose or len(prompts) == 1 or each.verdict.decision is not Decision.PASS
    ]
    for prompt in detailed:
        yield from _prompt(pen, prompt, verbose=verbose, titled=len(prompts) > 1)
    if len(detailed) < len(prompts):
        yield Text()
        rest = phrases.plural(len(prompts) - len(detailed), "passing prompt")
        yield pen.line(f"{rest} in detail: --verbose", "dim")
    yield Text()
    yield _footer(pen, report, prompts)


def _headlines(pen: Pen, prompts: list[PromptReport], *, brief: bool) -> RenderableType:
    """A verdict for each prompt; `brief`: of many, one line for each that passes."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=32, overflow="fold")
    grid.add_column(overflow="fold")
    undecided = [each for each in prompts if each.verdict.decision is Decision.INCONCLUSIVE]
    alike = len(undecided) > 1 and all(phrases.leniency(each.verdict) for each in undecided)
    for each in prompts:
        verdict = each.verdict
        grid.add_row(
            pen.line(verdict.decision.value, COLOURS[verdict.decision]),
            pen.line(each.prompt, "bold"),
            pen.line(_brief(each) if brief else _sentence(verdict.why)),
        )
        told = phrases.leniency(verdict)
        if alike and each is undecided[-1]:
            told = told.replace("Not blocked", "None of these is blocked")
        if told and (not alike or each is undecided[-1]):
            grid.add_row("", "", pen.line(told, "yellow"))
    return grid


def _brief(prompt: PromptReport) -> str:
    """What changed, where that decides nothing; else the whole sentence."""
    if prompt.verdict.decision is not Decision.PASS:
        return _sentence(prompt.verdict.why)
    return "; ".join(filter(None, map(phrases.counted, prompt.evalsets))) or "nothing changed"


def _prompt(
    pen: Pen, prompt: PromptReport, *, verbose: bool, titled: bool
) -> Iterator[RenderableType]:
    yield Text()
    if titled:
        yield _rule(pen, prompt.prompt, prompt.verdict.decision)
    baseline = prompt.baseline or "nothing: there is no baseline"
    yield pen.joined((prompt.candidate, "bold"), ("  against  ", "dim"), (baseline, "bold"))
    for evalset in prompt.evalsets:
        yield from _measured(pen, evalset, prompt.verdict, verbose=verbose)
    yield Text()
    yield _findings(pen, prompt, verbose=verbose)
    for evalset in prompt.evalsets:
        yield from _figures(pen, evalset, verbose=verbose)
        yield from _cases(pen, evalset, verbose=verbose)


def _sentence(text: str) -> str:
    cut = clip(text, characters=_SENTENCE)
    return f"{cut.text} … {cut.remark}" if cut.remark else cut.text


def _rule(pen: Pen, name: str, decision: Decision) -> Text:
    """A prompt's name and verdict in a line across the page."""
    dash = "─" if pen.unicode else "-"
    title = pen.joined(
        (dash * 2, "dim"), " ", (name, "bold"), "  ", (decision.value, COLOURS[decision]), " "
    )
    return title.append(dash * max(pen.width - title.cell_len, 2), style="dim")


def _measured(
    pen: Pen, evalset: EvalsetReport, verdict: Verdict, *, verbose: bool
) -> Iterator[RenderableType]:
    told = any(each.decision is Decision.INCOMPLETE for each in verdict.findings)
    models = evalset.candidate.model
    if evalset.baseline is not None and evalset.baseline.model != models:
        models = f"{evalset.baseline.model} → {models}"
    yield pen.line(f"{evalset.evalset}: {phrases.size(evalset)} · {models}", "dim")
    for side in (evalset.candidate, evalset.baseline):
        if side is None:
            continue
        trouble = phrases.measured(side)
        if trouble and (verbose or not told):
            yield pen.line(f"{side.name}: {trouble}", "magenta")
        if verbose:
            yield pen.line(f"{side.name}: {phrases.effort(side)}", "dim")


def _findings(pen: Pen, prompt: PromptReport, *, verbose: bool) -> RenderableType:
    verdict, several = prompt.verdict, len(prompt.evalsets) > 1
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=28, overflow="fold")
    grid.add_column(overflow="fold")
    for each in sorted(verdict.findings, key=lambda one: phrases.SEVERITY[one.decision]):
        grid.add_row(
            pen.line(f"  {each.decision.value}", COLOURS[each.decision]),
            pen.line(phrases.rule(each, several=several)),
            Group(*_finding(pen, verdict, each, verbose=verbose)),
        )
    return grid


def _finding(
    pen: Pen, verdict: Verdict, finding: Finding, *, verbose: bool
) -> Iterator[RenderableType]:
    """The sentence, unless the verdict has said it already, and the interval that it rests on."""
    estimate = finding.estimate
    pictured = (
        estimate is not None and estimate.identical < estimate.n and (verbose or finding.quality)
    )
    if finding.why not in verdict.why:
        yield pen.line(_sentence(finding.why))
    elif not pictured:
        yield pen.line("as said above", "dim")
    if estimate is not None and pictured:
        colour = COLOURS[finding.decision].removeprefix("bold ")
        yield Picture(estimate, style=colour, strokes=pen.strokes)
        words = phrases.reading(finding, estimate)
        if words:
            yield pen.line(words, "dim")


def _figures(pen: Pen, evalset: EvalsetReport, *, verbose: bool) -> Iterator[RenderableType]:
    telling = [each for each in evalset.metrics if verbose or len(evalset.metrics) > 1]
    if telling:
        yield Text()
        yield _metrics(pen, evalset.evalset, telling)
    losing = [each for each in evalset.slices if verbose or each.p_adjusted <= _ALARMING]
    if losing:
        yield Text()
        yield _slices(pen, losing if verbose else losing[:_SLICES])


def _metrics(pen: Pen, title: str, metrics: list[MetricSummary]) -> RenderableType:
    grid = _figures_table(pen, f"  {title}", "before", "after", "")
    for part, figures in phrases.halves(metrics):
        if part:
            grid.add_row(pen.line(f"  {part}", "dim"))
        for each in figures:
            grid.add_row(
                pen.line(f"  {'  ' * bool(part)}{each.label}"),
                pen.line(phrases.percent(each.baseline)),
                pen.line(phrases.percent(each.candidate)),
                pen.line(phrases.standing(each), "dim"),
            )
    return grid


def _slices(pen: Pen, slices: list[SliceSummary]) -> RenderableType:
    grid = _figures_table(pen, "  by tag", "before", "after", "")
    for each in slices:
        alarming = "red" if each.p_adjusted <= _ALARMING else "dim"
        grid.add_row(
            pen.line(f"  #{each.tag}"),
            pen.line(phrases.percent(each.baseline)),
            pen.line(phrases.percent(each.candidate)),
            pen.line(f"{each.lost} lost, {each.gained} gained of {each.cases}", alarming),
        )
    return grid


def _figures_table(pen: Pen, *headers: str) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, header in enumerate(headers):
        grid.add_column(
            pen.line(header), justify="right" if place in {1, 2} else "left", overflow="fold"
        )
    return grid


def _cases(pen: Pen, evalset: EvalsetReport, *, verbose: bool) -> Iterator[RenderableType]:
    shown = evalset.shown[:_CASES_VERBOSE] if verbose else _telling(evalset.shown)
    if not shown:
        return
    every = len(evalset.shown) + evalset.hidden
    title = f"{evalset.evalset}: {phrases.counted(evalset)}"
    yield Text()
    yield pen.joined((title, "bold"), (f"  {len(shown)} of {every:,} shown", "dim"))
    for each in shown:
        yield Text()
        yield from case_block(pen, each, verbose=verbose)
    if len(shown) < every:
        room = len(evalset.shown) > len(shown) and not verbose
        more = f" (--verbose: up to {_CASES_VERBOSE}; --html FILE: all)" if room else ""
        yield Text()
        yield pen.line(f"  and {every - len(shown):,} more{more}", "dim")


def _telling(shown: tuple[ShownCase, ...]) -> list[ShownCase]:
    """What changed comes first; a few that fail as they did before only say what failing means."""
    news = [each for each in shown if each.change != "failing"][:_CASES]
    failing = [each for each in shown if each.change == "failing"]
    return news + failing[: max(0, _FAILING - len(news))]


def _footer(pen: Pen, report: Report, prompts: list[PromptReport]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(pen.line("spent", "dim"), pen.line(phrases.spending(report), "dim"))
    for note in phrases.notes(report):
        grid.add_row(pen.line("note", "yellow"), pen.line(note))
    for step in phrases.next_steps(prompts):
        grid.add_row(pen.line("next", "bold cyan"), pen.line(step, "bold"))
    return Padding(grid, 0)
