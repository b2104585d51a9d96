"""Shows a report on a terminal or in a CI log: pass rates and verdicts, why, the cases, what next.

Every line answers the reader's next question: may it go out, compared with what, how sure is
that, which cases changed and how, what did it cost, what now. It reads without color.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llmops_cli.core.policy import Decision, Finding, Verdict
from llmops_cli.core.report import (
    EvalsetReport,
    MetricSummary,
    PromptReport,
    Report,
    ShownCase,
    SliceSummary,
)
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
_SENTENCE = 2_000
_ALARMING = 0.05


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
    prompts = formatting.worst_first(report.prompts)

    def lines(writer: LineWriter) -> Iterator[RenderableType]:
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
        for note in formatting.notes(report):
            yield writer.joined(("note: ", "yellow"), note)
        closing = formatting.closing(report, prompts, seconds=seconds)
        yield writer.line(" · ".join(closing), "bold")
        for step in formatting.next_steps(prompts):
            yield writer.joined(("next: ", "bold cyan"), (step, "bold"))

    return Renderable(lines, width=width)


# Verdict lines.


def _verdicts(
    writer: LineWriter, report: Report, prompts: Sequence[PromptReport], *, quiet: bool
) -> Iterator[RenderableType]:
    """Yield the verdict of every prompt and, unless `quiet`, why it does not pass."""
    for warning in formatting.warnings(report):
        yield writer.line(warning, "bold yellow")
    if not prompts:
        yield writer.line(formatting.nothing(report)[2:], "bold")
    columns = _columns([line for prompt in prompts for line in headlines(prompt)], writer.width)
    indent = (0, 0, 0, columns[0] + 2)
    undecided = [p.verdict for p in prompts if p.verdict.decision is Decision.INCONCLUSIVE]
    alike = len(undecided) > 1 and all(map(formatting.warning_note, undecided))
    for prompt in prompts:
        lines = headlines(prompt)
        for line in lines:
            yield _headline(writer, line, columns)
        if quiet:
            continue
        for _, reason in reasons(prompt):
            if reason not in {line.remark for line in lines}:
                yield Padding(writer.line(_sentence(reason)), indent)
        warning_note = formatting.warning_note(prompt.verdict)
        if warning_note and prompt.baseline is not None and not alike:
            yield Padding(writer.line(warning_note, "yellow"), indent)
    if alike and not quiet:
        warning_note = formatting.warning_note(undecided[0])
        none = warning_note.replace("Not blocked", "None of these is blocked")
        yield writer.line(none, "yellow")


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
    """Return one verdict line; a long one wraps, but not within a figure."""
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
    """Repeat the verdicts below their details, at the end of the log."""
    lines = [(prompt, line.short()) for prompt in prompts for line in headlines(prompt)]
    columns = _columns([line for _, line in lines], writer.width)
    for prompt, line in lines:
        code = int(prompt.verdict.exit_code)
        yield _headline(writer, line, columns, last=f"exit code {code}" if code else "")


def _sentence(text: str) -> str:
    cut = clip(text, characters=_SENTENCE)
    return f"{cut.text} … {cut.remark}" if cut.remark else cut.text


# One prompt.


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


def _rule(writer: LineWriter, name: str, decision: Decision) -> Text:
    """Return a prompt's name and verdict in a line across the page."""
    dash = "─" if writer.unicode else "-"
    title = writer.joined(
        (dash * 2, "dim"), " ", (name, "bold"), "  ", (decision.value, COLORS[decision]), " "
    )
    return title.append(dash * max(writer.width - title.cell_len, 2), style="dim")


def _measured(
    writer: LineWriter, evalset: EvalsetReport, verdict: Verdict, *, verbose: bool
) -> Iterator[RenderableType]:
    known = any(finding.decision is Decision.INCOMPLETE for finding in verdict.findings)
    models = evalset.candidate.model
    if evalset.baseline is not None and evalset.baseline.model != models:
        models = f"{evalset.baseline.model} → {models}"
    yield writer.line(f"{evalset.evalset}: {formatting.size(evalset)} · {models}", "dim")
    for side in filter(None, (evalset.candidate, evalset.baseline)):
        missing = formatting.measured(side)
        if missing and (verbose or not known):
            yield writer.line(f"{side.name}: {missing}", "magenta")
        if verbose:
            yield writer.line(f"{side.name}: {formatting.effort(side)}", "dim")


def _findings(writer: LineWriter, prompt: PromptReport, *, verbose: bool) -> RenderableType:
    verdict, several = prompt.verdict, len(prompt.evalsets) > 1
    findings = formatting.worst_findings_first(verdict)
    label = max((len(finding.decision.value) for finding in findings), default=0) + 2
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for finding in findings:
        # A reason above is this sentence already, unless it has an interval.
        deciding = finding.decision is verdict.decision is Decision.FAIL
        why = "see above" if deciding and finding.estimate is None else _sentence(finding.why)
        rule = formatting.rule(finding, several=several)
        rows.add_row(
            writer.line(f"  {finding.decision.value}", COLORS[finding.decision]),
            Group(
                writer.joined((f"{rule}: ", "bold"), why),
                *_picture(writer, finding, writer.width - label - 2, verbose=verbose),
            ),
        )
    return rows


def _picture(
    writer: LineWriter, finding: Finding, room: int, *, verbose: bool
) -> Iterator[RenderableType]:
    """Yield the interval that a finding rests on in two lines, and how to read it."""
    estimate = finding.estimate
    if estimate is None or estimate.identical == estimate.n:
        return
    if not (verbose or finding.quality):
        return
    if room >= NARROWEST:
        for line in interval(estimate, width=min(room, _PICTURE)):
            yield writer.line(line, COLORS[finding.decision].removeprefix("bold "))
    reading = formatting.reading(finding, estimate)
    if reading:
        yield writer.line(reading, "dim")


# Figures and cases of one evalset.


def _figures(
    writer: LineWriter, evalset: EvalsetReport, *, verbose: bool
) -> Iterator[RenderableType]:
    if evalset.metrics and (verbose or len(evalset.metrics) > 1):
        yield Text()
        yield _metrics(writer, evalset.evalset, evalset.metrics)
    tags = [tag for tag in evalset.slices if verbose or tag.p_adjusted <= _ALARMING]
    if tags:
        yield Text()
        yield _tags(writer, tags if verbose else tags[:_SLICES])


def _metrics(writer: LineWriter, title: str, metrics: Sequence[MetricSummary]) -> RenderableType:
    rows = grid(writer, f"  {title}", "before", "after", "", right={1, 2})
    for part, half in formatting.by_stage(metrics):
        if part:
            rows.add_row(writer.line(f"  {part}", "dim"))
        for metric in half:
            rows.add_row(
                writer.line(f"  {'  ' * bool(part)}{metric.label}"),
                writer.line(formatting.percent(metric.baseline)),
                writer.line(formatting.percent(metric.candidate)),
                writer.line(formatting.status(metric), "dim"),
            )
    return rows


def _tags(writer: LineWriter, tags: Sequence[SliceSummary]) -> RenderableType:
    rows = grid(writer, "  by tag", "before", "after", "", right={1, 2})
    for tag in tags:
        changes = f"{tag.regressed} regressed, {tag.improved} improved of {tag.cases}"
        rows.add_row(
            writer.line(f"  #{tag.tag}"),
            writer.line(formatting.percent(tag.baseline)),
            writer.line(formatting.percent(tag.candidate)),
            writer.line(changes, "red" if tag.p_adjusted <= _ALARMING else "dim"),
        )
    return rows


def _cases(
    writer: LineWriter, evalset: EvalsetReport, *, verbose: bool
) -> Iterator[RenderableType]:
    shown = evalset.shown[:_CASES_VERBOSE] if verbose else _most_relevant(evalset.shown)
    if not shown:
        return
    every = len(evalset.shown) + evalset.hidden
    title = f"{evalset.evalset}: {formatting.counted(evalset)}"
    yield Text()
    yield writer.joined((title, "bold"), (f"  {len(shown)} of {every:,} shown", "dim"))
    for case in shown:
        yield Text()
        yield from case_block(writer, case, verbose=verbose)
    if len(shown) < every:
        room = len(evalset.shown) > len(shown) and not verbose
        more = f" (--verbose: up to {_CASES_VERBOSE}; --html FILE: all)" if room else ""
        yield Text()
        yield writer.line(f"  and {every - len(shown):,} more{more}", "dim")


def _most_relevant(shown: tuple[ShownCase, ...]) -> list[ShownCase]:
    """Return the changed cases first, then a few that still fail."""
    news = [case for case in shown if case.change != "failing"][:_CASES]
    failing = [case for case in shown if case.change == "failing"]
    return news + failing[: max(0, _FAILING - len(news))]
