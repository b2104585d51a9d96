"""Shows a report on a terminal or in a CI log: the verdict and why, the evidence, what to do next.

Every line answers the reader's next question: may it go out, compared with what, how sure is
that, which cases changed and how, what did it cost, what now. It reads without color.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
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
from llmops_cli.render import formatting
from llmops_cli.render.console_cases import case_block
from llmops_cli.render.headline import Headline, headlines, reasons
from llmops_cli.render.interval import NARROWEST, interval
from llmops_cli.render.renderable import COLORS, LineWriter, Renderable, grid
from llmops_cli.render.safe_text import clip

_PICTURE = 60
_CASES = 10
_CASES_VERBOSE = 100
_FAILING = 3
_SLICES = 5
_NAME = 32
"""Columns of a prompt's name that others are aligned with."""
_GAP = 3
_STACKED = 60
"""Below this many columns, what a finding says stands under its rule."""
_SENTENCE = 2_000
_ALARMING = 0.05


class Picture:
    """The interval of an estimate, as wide as there is room."""

    def __init__(self, estimate: Estimate, *, style: str, writer: LineWriter) -> None:
        self._estimate = estimate
        self._style = style
        self._pen = writer

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Two lines that never wrap; none where there is no room for them."""
        if options.max_width < NARROWEST:
            return
        for line in interval(self._estimate, width=min(options.max_width, _PICTURE)):
            text = self._pen.line(line, self._style)
            text.no_wrap = True
            yield text


def console_report(
    report: Report,
    *,
    verbose: bool = False,
    quiet: bool = False,
    seconds: float | None = None,
    width: int | None = None,
) -> RenderableType:
    """Return the whole report; at most `width` columns, by default as wide as the console.

    `verbose` shows more cases, longer answers, every score, and passing prompts in full; `quiet`
    the verdict lines only. `seconds` is how long the command took.
    """
    prompts = sorted(
        report.prompts, key=lambda prompt: formatting.SEVERITY[prompt.verdict.decision]
    )

    def trial(writer: LineWriter) -> Iterator[RenderableType]:
        yield from _verdicts(writer, report, prompts, quiet=quiet)
        if quiet:
            return
        detailed = [
            prompt
            for prompt in prompts
            if verbose or len(prompts) == 1 or prompt.verdict.decision is not Decision.PASS
        ]
        for prompt in detailed:
            yield from _prompt(writer, prompt, verbose=verbose, titled=len(prompts) > 1)
        yield Text()
        if detailed:
            yield from _last_verdicts(writer, detailed)
            yield Text()
        yield from _closing(writer, report, prompts, seconds=seconds)

    return Renderable(trial, width=width)


def _verdicts(
    writer: LineWriter, report: Report, prompts: Sequence[PromptReport], *, quiet: bool
) -> Iterator[RenderableType]:
    """The verdict of every prompt and, unless `quiet`, why it does not pass."""
    for warning in formatting.warnings(report):
        yield writer.line(warning, "bold yellow")
    if not prompts:
        yield writer.line(formatting.nothing(report)[2:], "bold")
    columns = _columns([line for prompt in prompts for line in headlines(prompt)], writer.width)
    undecided = [each.verdict for each in prompts if each.verdict.decision is Decision.INCONCLUSIVE]
    alike = len(undecided) > 1 and all(map(formatting.leniency, undecided))
    for prompt in prompts:
        lines = headlines(prompt)
        for line in lines:
            yield _headline(writer, line, columns)
        if quiet:
            continue
        indent = (0, 0, 0, columns[0] + 2)
        for _, reason in reasons(prompt):
            if reason not in {line.remark for line in lines}:
                yield Padding(writer.line(_sentence(reason)), indent)
        if formatting.leniency(prompt.verdict) and prompt.baseline is not None and not alike:
            yield Padding(writer.line(formatting.leniency(prompt.verdict), "yellow"), indent)
    if alike and not quiet:
        told = formatting.leniency(undecided[0]).replace("Not blocked", "None of these is blocked")
        yield writer.line(told, "yellow")


def _columns(lines: Sequence[Headline], width: int) -> list[int]:
    """Return the widths of aligned verdict lines; of two columns where not all have room."""
    label = max((len(line.label) for line in lines), default=4)
    name = max((min(cell_len(line.name), _NAME) for line in lines), default=0)
    pieces = zip_longest(*(line.pieces for line in lines), fillvalue="")
    widths = [label, name, *(max(map(cell_len, column)) for column in pieces)]
    # A cause is a sentence: it wraps, and must not push figures of other prompts apart.
    fits = sum(widths) + _GAP * (len(widths) - 2) + 2 <= width
    return widths if fits and not any(line.remark for line in lines) else widths[:2]


def _headline(
    writer: LineWriter, line: Headline, columns: Sequence[int], *, last: str = ""
) -> RenderableType:
    """One verdict line; where it is too long it goes on below the name, and breaks no figure."""
    label = writer.line(line.label.ljust(columns[0]), COLORS[line.decision])
    name = writer.line(clip(line.name, characters=_SENTENCE).text, "bold")
    pieces = [*line.pieces, last] if last else line.pieces
    indent = columns[0] + 2
    sentence = writer.line(_sentence("   ".join(pieces)))
    fits = indent + columns[1] + _GAP + sentence.cell_len <= writer.width
    if indent + name.cell_len > writer.width or (line.remark and not fits):
        return Group(Text.assemble(label, "  ", name), Padding(sentence, (0, 0, 0, indent)))
    rows, left = [Text.assemble(label, "  ", name)], indent + name.cell_len
    room = indent + columns[1]
    for place, piece in enumerate(pieces):
        part = writer.line(piece, "dim" if piece == last else "")
        gap = max(room - left, 0) + _GAP
        if left + gap + part.cell_len > writer.width:
            rows.append(Text(" " * indent))
            gap, left = 0, indent
        rows[-1].append(" " * gap).append_text(part)
        left += gap + part.cell_len
        aligned = columns[place + 2] if place + 2 < len(columns) else 0
        room = left + max(aligned - part.cell_len, 0)
    return Group(*rows)


def _last_verdicts(writer: LineWriter, prompts: Sequence[PromptReport]) -> Iterator[RenderableType]:
    """The verdicts once more below their details, where a reader of a log ends."""
    lines = [(prompt, line.short()) for prompt in prompts for line in headlines(prompt)]
    columns = _columns([line for _, line in lines], writer.width)
    for prompt, line in lines:
        code = int(prompt.verdict.exit_code)
        yield _headline(writer, line, columns, last=f"exit code {code}" if code else "")


def _prompt(
    writer: LineWriter, prompt: PromptReport, *, verbose: bool, titled: bool
) -> Iterator[RenderableType]:
    yield Text()
    if titled:
        yield _rule(writer, prompt.prompt, prompt.verdict.decision)
    baseline = prompt.baseline or "nothing: there is no baseline"
    yield writer.joined((prompt.candidate, "bold"), ("  against  ", "dim"), (baseline, "bold"))
    for evalset in prompt.evalsets:
        yield from _measured(writer, evalset, prompt.verdict, verbose=verbose)
    yield Text()
    yield _findings(writer, prompt, verbose=verbose)
    for evalset in prompt.evalsets:
        yield from _figures(writer, evalset, verbose=verbose)
        yield from _cases(writer, evalset, verbose=verbose)


def _sentence(text: str) -> str:
    cut = clip(text, characters=_SENTENCE)
    return f"{cut.text} … {cut.remark}" if cut.remark else cut.text


def _rule(writer: LineWriter, name: str, decision: Decision) -> Text:
    """A prompt's name and verdict in a line across the page."""
    dash = "─" if writer.unicode else "-"
    title = writer.joined(
        (dash * 2, "dim"), " ", (name, "bold"), "  ", (decision.value, COLORS[decision]), " "
    )
    return title.append(dash * max(writer.width - title.cell_len, 2), style="dim")


def _measured(
    writer: LineWriter, evalset: EvalsetReport, verdict: Verdict, *, verbose: bool
) -> Iterator[RenderableType]:
    told = any(each.decision is Decision.INCOMPLETE for each in verdict.findings)
    models = evalset.candidate.model
    if evalset.baseline is not None and evalset.baseline.model != models:
        models = f"{evalset.baseline.model} → {models}"
    yield writer.line(f"{evalset.evalset}: {formatting.size(evalset)} · {models}", "dim")
    for side in (evalset.candidate, evalset.baseline):
        if side is None:
            continue
        trouble = formatting.measured(side)
        if trouble and (verbose or not told):
            yield writer.line(f"{side.name}: {trouble}", "magenta")
        if verbose:
            yield writer.line(f"{side.name}: {formatting.effort(side)}", "dim")


def _findings(writer: LineWriter, prompt: PromptReport, *, verbose: bool) -> RenderableType:
    verdict, several = prompt.verdict, len(prompt.evalsets) > 1
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    if writer.width >= _STACKED:
        grid.add_column(max_width=28, overflow="fold")
    grid.add_column(overflow="fold")
    for finding in formatting.worst_findings_first(verdict):
        decision = writer.line(f"  {finding.decision.value}", COLORS[finding.decision])
        rule = writer.line(formatting.rule(finding, several=several))
        details = Group(*_finding(writer, verdict, finding, verbose=verbose))
        cells = (rule, details) if writer.width >= _STACKED else (Group(rule, details),)
        grid.add_row(decision, *cells)
    return grid


def _finding(
    writer: LineWriter, verdict: Verdict, finding: Finding, *, verbose: bool
) -> Iterator[RenderableType]:
    """The sentence, unless it is a reason above already, and the interval that it rests on."""
    estimate = finding.estimate
    pictured = (
        estimate is not None and estimate.identical < estimate.n and (verbose or finding.quality)
    )
    deciding = finding.decision is verdict.decision
    above = deciding and verdict.decision is Decision.FAIL and estimate is None
    yield writer.line("see above", "dim") if above else writer.line(_sentence(finding.why))
    if estimate is not None and pictured:
        color = COLORS[finding.decision].removeprefix("bold ")
        yield Picture(estimate, style=color, writer=writer)
        words = formatting.reading(finding, estimate)
        if words:
            yield writer.line(words, "dim")


def _figures(
    writer: LineWriter, evalset: EvalsetReport, *, verbose: bool
) -> Iterator[RenderableType]:
    telling = [each for each in evalset.metrics if verbose or len(evalset.metrics) > 1]
    if telling:
        yield Text()
        yield _metrics(writer, evalset.evalset, telling)
    losing = [each for each in evalset.slices if verbose or each.p_adjusted <= _ALARMING]
    if losing:
        yield Text()
        yield _slices(writer, losing if verbose else losing[:_SLICES])


def _metrics(writer: LineWriter, title: str, metrics: list[MetricSummary]) -> RenderableType:
    rows = grid(writer, f"  {title}", "before", "after", "", right={1, 2})
    for part, figures in formatting.halves(metrics):
        if part:
            rows.add_row(writer.line(f"  {part}", "dim"))
        for each in figures:
            rows.add_row(
                writer.line(f"  {'  ' * bool(part)}{each.label}"),
                writer.line(formatting.percent(each.baseline)),
                writer.line(formatting.percent(each.candidate)),
                writer.line(formatting.status(each), "dim"),
            )
    return rows


def _slices(writer: LineWriter, slices: list[SliceSummary]) -> RenderableType:
    rows = grid(writer, "  by tag", "before", "after", "", right={1, 2})
    for each in slices:
        alarming = "red" if each.p_adjusted <= _ALARMING else "dim"
        rows.add_row(
            writer.line(f"  #{each.tag}"),
            writer.line(formatting.percent(each.baseline)),
            writer.line(formatting.percent(each.candidate)),
            writer.line(
                f"{each.regressed} regressed, {each.improved} improved of {each.cases}", alarming
            ),
        )
    return rows


def _cases(
    writer: LineWriter, evalset: EvalsetReport, *, verbose: bool
) -> Iterator[RenderableType]:
    shown = evalset.shown[:_CASES_VERBOSE] if verbose else _telling(evalset.shown)
    if not shown:
        return
    every = len(evalset.shown) + evalset.hidden
    title = f"{evalset.evalset}: {formatting.counted(evalset)}"
    yield Text()
    yield writer.joined((title, "bold"), (f"  {len(shown)} of {every:,} shown", "dim"))
    for each in shown:
        yield Text()
        yield from case_block(writer, each, verbose=verbose)
    if len(shown) < every:
        room = len(evalset.shown) > len(shown) and not verbose
        more = f" (--verbose: up to {_CASES_VERBOSE}; --html FILE: all)" if room else ""
        yield Text()
        yield writer.line(f"  and {every - len(shown):,} more{more}", "dim")


def _telling(shown: tuple[ShownCase, ...]) -> list[ShownCase]:
    """What changed comes first; a few that fail as they did before only say what failing means."""
    news = [each for each in shown if each.change != "failing"][:_CASES]
    failing = [each for each in shown if each.change == "failing"]
    return news + failing[: max(0, _FAILING - len(news))]


def _closing(
    writer: LineWriter, report: Report, prompts: list[PromptReport], *, seconds: float | None
) -> Iterator[RenderableType]:
    """What it came to and what it took, what to know, what to do next."""
    for note in formatting.notes(report):
        yield writer.joined(("note: ", "yellow"), note)
    yield writer.line(" · ".join(formatting.closing(report, prompts, seconds=seconds)), "bold")
    for step in formatting.next_steps(prompts):
        yield writer.joined(("next: ", "bold cyan"), (step, "bold"))
