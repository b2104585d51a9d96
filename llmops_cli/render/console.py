"""Shows a report on a terminal or in a CI log: pass rates and verdicts, why, the cases, what next.

Every line answers the reader's next question: may it go out, compared with what, how sure is
that, which cases changed and how, what did it cost, what now. It reads without color.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from llmops_cli.core.policy import Decision, Finding, Verdict
from llmops_cli.core.report import (
    Change,
    EvalsetReport,
    PromptReport,
    Report,
    ShownCase,
    ShownTrial,
    SliceSummary,
)
from llmops_cli.render import formatting
from llmops_cli.render.formatting import Headline, headlines, percent, plain
from llmops_cli.render.renderable import COLORS, LineWriter, Renderable, grid
from llmops_cli.render.safe_text import clip, shortened

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
SIDE_BY_SIDE = 100
"""Console width from which the answers are side by side."""
_CASE_INDENT = 6
_CASE_COLORS: Mapping[Change | None, str] = {
    "critical": "bold red",
    "regressed": "bold red",
    "improved": "bold green",
    "failing": "red",
    "unmeasured": "bold magenta",
    "added": "cyan",
    "removed": "cyan",
    "known_passing": "green",
}


def console_report(
    report: Report,
    *,
    verbose: bool = False,
    quiet: bool = False,
    seconds: float | None = None,
) -> Renderable:
    """Return the whole report, as wide as the console.

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
            yield writer.note(note)
        closing = formatting.closing(report, prompts, seconds=seconds)
        yield writer.line(" · ".join(closing), "bold")
        for step in formatting.next_steps(prompts):
            yield writer.next_step(step)

    return Renderable(lines)


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
        for reason in formatting.reasons(prompt):
            if reason not in {line.remark for line in lines}:
                yield Padding(writer.line(shortened(reason, _SENTENCE)), indent)
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
    sentence = writer.line(shortened("   ".join(pieces), _SENTENCE))
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
        repeated = deciding and finding.estimate is None
        why = "see above" if repeated else shortened(finding.why, _SENTENCE)
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
    if room >= formatting.NARROWEST_INTERVAL:
        for line in formatting.interval(estimate, width=min(room, _PICTURE)):
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
        yield _metrics(writer, evalset)
    tags = [tag for tag in evalset.slices if verbose or tag.p_adjusted <= _ALARMING]
    if tags:
        yield Text()
        yield _tags(writer, tags if verbose else tags[:_SLICES])


def _metrics(writer: LineWriter, evalset: EvalsetReport) -> RenderableType:
    rows: list[Sequence[str | tuple[str, str]]] = []
    for part, metrics in formatting.by_stage(evalset.metrics):
        rows += [[(f"  {part}", "dim")]] if part else []
        rows += [
            (
                f"  {'  ' * bool(part)}{metric.label}",
                percent(metric.baseline),
                percent(metric.candidate),
                (formatting.status(metric), "dim"),
            )
            for metric in metrics
        ]
    return grid(writer, (f"  {evalset.evalset}", "before", "after", ""), rows, right={1, 2})


def _tags(writer: LineWriter, tags: Sequence[SliceSummary]) -> RenderableType:
    rows = [
        (
            f"  #{tag.tag}",
            percent(tag.baseline),
            percent(tag.candidate),
            (
                f"{tag.regressed} regressed, {tag.improved} improved of {tag.cases}",
                "red" if tag.p_adjusted <= _ALARMING else "dim",
            ),
        )
        for tag in tags
    ]
    return grid(writer, ("  by tag", "before", "after", ""), rows, right={1, 2})


def _cases(
    writer: LineWriter, evalset: EvalsetReport, *, verbose: bool
) -> Iterator[RenderableType]:
    if verbose:
        shown = list(evalset.shown[:_CASES_VERBOSE])
    else:  # the changed cases, then a few that still fail
        shown = [case for case in evalset.shown if case.change != "failing"][:_CASES]
        failing = [case for case in evalset.shown if case.change == "failing"]
        shown += failing[: max(0, _FAILING - len(shown))]
    if not shown:
        return
    every = len(evalset.shown) + evalset.hidden
    title = f"{evalset.evalset}: {formatting.counted(evalset)}"
    yield Text()
    yield writer.joined((title, "bold"), (f"  {len(shown)} of {every:,} shown", "dim"))
    for case in shown:
        yield Text()
        yield from _case(writer, case, verbose=verbose)
    if len(shown) < every:
        room = len(evalset.shown) > len(shown) and not verbose
        more = f" (--verbose: up to {_CASES_VERBOSE}; --html FILE: all)" if room else ""
        yield Text()
        yield writer.line(f"  and {every - len(shown):,} more{more}", "dim")


# One case: inputs, expected answer, and the answers before and after.


def _case(writer: LineWriter, shown: ShownCase, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield the case's heading and, indented below it, what happened to it."""
    yield _heading(writer, shown)
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(max_width=24, overflow="fold")
    facts.add_column(overflow="fold")
    for name, value in shown.inputs.items():
        facts.add_row(writer.line(name, "dim"), _value(writer, plain(value), verbose=verbose))
    if shown.expected is not None:
        facts.add_row(
            writer.line("expected", "dim"), _value(writer, plain(shown.expected), verbose=verbose)
        )
    if shown.known_failing is not None:
        facts.add_row(writer.line("known failing", "dim"), writer.line(shown.known_failing))
    if writer.width >= SIDE_BY_SIDE and shown.baseline is not None and shown.candidate is not None:
        yield Padding(facts, (0, 0, 0, _CASE_INDENT))
        yield Padding(_beside(writer, shown, verbose=verbose), (0, 0, 0, _CASE_INDENT))
        return
    for name, trial, passed in _sides(shown):
        text = _value(writer, formatting.answer(trial), verbose=verbose)
        scores = _scores(writer, trial, passed, verbose=verbose)
        facts.add_row(_side(writer, name, passed), Group(text, *scores))
    yield Padding(facts, (0, 0, 0, _CASE_INDENT))


def _heading(writer: LineWriter, shown: ShownCase) -> Text:
    parts: list[str | tuple[str, str]] = [
        "  ",
        (formatting.change_label(shown), _CASE_COLORS[shown.change]),
        "  ",
        (clip(shown.case, characters=200).text, "bold"),
    ]
    if shown.critical and shown.change != "critical":
        parts.append(("  critical", "bold red"))
    parts += [(f"  #{clip(tag, characters=60).text}", "dim") for tag in shown.tags]
    parts.append((f"  {formatting.change_meaning(shown)}", "dim"))
    return writer.joined(*parts)


def _sides(shown: ShownCase) -> Iterable[tuple[str, ShownTrial | None, float | None]]:
    """Yield (name, trial, share that passed) of each side of a case."""
    if shown.baseline is not None:
        yield "before", shown.baseline.first, shown.baseline.passed
    if shown.candidate is not None:
        name = "answer" if shown.baseline is None else "after"
        yield name, shown.candidate.first, shown.candidate.passed


def _side(writer: LineWriter, name: str, passed: float | None) -> Text:
    """Return `before ✓`, `after ✗ 33.3%`."""
    if passed is None:
        return writer.joined((name, "dim"), (" ?", "magenta"))
    mark = (" ✓", "green") if passed >= 0.5 else (" ✗", "red")
    share = "" if passed in {0, 1} else f" {percent(passed)}"
    return writer.joined((name, "dim"), mark, (share, "dim"))


def _beside(writer: LineWriter, shown: ShownCase, *, verbose: bool) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0), expand=True)
    sides = list(_sides(shown))
    for _ in sides:
        grid.add_column(ratio=1, overflow="fold")
    grid.add_row(*(_side(writer, name, passed) for name, _, passed in sides))
    grid.add_row(
        *(_quoted(writer, formatting.answer(trial), verbose=verbose) for _, trial, _ in sides)
    )
    grid.add_row(
        *(Group(*_scores(writer, trial, passed, verbose=verbose)) for _, trial, passed in sides)
    )
    return grid


def _scores(
    writer: LineWriter, trial: ShownTrial | None, passed: float | None, *, verbose: bool
) -> list[RenderableType]:
    """Return the scores that explain the outcome: of a passing answer none, unless `verbose`."""
    telling = [
        score
        for score in (trial.scores if trial else ())
        if verbose or (passed != 1 and score.passed is not True and not score.advisory)
    ]
    lines = []
    for score in telling:
        style = "magenta" if score.passed is None else "green" if score.passed else "red"
        text = clip(formatting.score(score), characters=400 if verbose else 200).text
        lines.append(writer.line(text, style))
    return list(lines)


def _value(writer: LineWriter, text: str, *, verbose: bool) -> RenderableType:
    """Return a short text as it is; one of several lines with a gutter."""
    return (
        _quoted(writer, text, verbose=verbose)
        if "\n" in text.strip("\n")
        else _clipped(writer, text.strip("\n"), verbose=verbose)
    )


def _quoted(writer: LineWriter, text: str, *, verbose: bool) -> RenderableType:
    return Quote(_clipped(writer, text, verbose=verbose), gutter="│ " if writer.unicode else "| ")


def _clipped(writer: LineWriter, text: str, *, verbose: bool) -> Text:
    cut = clip(text, characters=4_000 if verbose else 600, lines=60 if verbose else 8)
    block = writer.block(cut.text)
    if cut.remark:
        block.append_text(writer.line(f" … {cut.remark}", "dim italic"))
    return block


class Quote:
    """A text behind a gutter on every line, so that none of its lines begins one of the log's."""

    def __init__(self, text: Text, *, gutter: str) -> None:
        self._text = text
        self._gutter = gutter

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the wrapped lines, each behind the gutter."""
        inner = options.update(width=max(options.max_width - len(self._gutter), 1))
        for line in console.render_lines(self._text, inner, pad=False):
            yield Segment(self._gutter, Style(dim=True))
            yield from line
            yield Segment.line()
