"""Writes a report as Markdown for GitHub: a job summary or a comment on a pull request.

The verdicts stand first, then what to do next, then the evidence, worst first, with the answers
folded away. The page never exceeds its limit in bytes: what has no room is counted, not lost in
silence. Text from models and files stands in code, where nothing in it is markup or a mention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmops_cli.core.report import EvalsetReport, PromptReport, Report, ShownCase
from llmops_cli.core.verdict import Decision
from llmops_cli.render import formatting as phrases
from llmops_cli.render.interval import interval
from llmops_cli.render.safe_text import (
    clip,
    html_inline,
    markdown_code,
    markdown_inline,
    markdown_span,
)

_SIGNS = {
    Decision.FAIL: "❌",
    Decision.INCOMPLETE: "⛔",
    Decision.INCONCLUSIVE: "❔",
    Decision.PASS: "✅",
}
_SENTENCE = 2_000
_NAME = 200
_ANSWER = 3_000
_PICTURE = 60
_HEADS = 5
"""Verdicts with a heading of their own; more are a table."""
_LINE = 160
_COLUMNS = "| | prompt | | why |\n|---|---|---|---|"
_RESERVE = 400
"""Bytes kept for the closing sentence that counts what had no room."""


def markdown_report(report: Report, *, limit_bytes: int = 60_000) -> str:
    """The report in at most `limit_bytes` bytes of UTF-8 (1,000 at least), worst first.

    GitHub refuses a comment over 65,536 characters and drops a summary over 1 MiB.
    """
    prompts = sorted(report.prompts, key=lambda each: phrases.SEVERITY[each.verdict.decision])
    page = _Page(limit_bytes - _RESERVE)
    many = len(prompts) > _HEADS
    heads = [_head(each) for each in prompts] or [f"### {phrases.nothing(report)}"]
    warnings = [f"> **{markdown_inline(each)}**" for each in phrases.warnings(report)]
    detailed = [each for each in prompts if not many or each.verdict.decision is not Decision.PASS]
    sections = [*_closing(report, prompts), *(s for each in detailed for s in _evidence(each))]
    unnamed = len(heads) - (_overview(page, prompts) if many else page.fill(heads))
    untold = len(warnings) - page.fill(warnings) + len(sections) - page.fill(sections)
    hidden = _cases(prompts) - page.fill(case for each in prompts for case in _blocks(each))
    missing = {"verdict": unnamed, "section": untold, "changed case": hidden}
    if any(missing.values()):
        rest = ", ".join(phrases.plural(count, noun) for noun, count in missing.items() if count)
        page.close(f"*Not shown here: {rest}.*")
    return page.text


class _Page:
    """Blocks one under the other, as long as they fit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._blocks: list[str] = []

    @property
    def text(self) -> str:
        return "\n\n".join(self._blocks) + "\n"

    def fill(self, blocks: Iterable[str]) -> int:
        """Adds blocks until one does not fit; the number of those added."""
        added = 0
        for block in blocks:
            size = len(block.encode()) + 2
            if size > self._left:
                break
            self._left -= size
            self._blocks.append(block)
            added += 1
        return added

    def fill_rows(self, head: str, rows: Iterable[str], foot: str = "") -> int:
        """Adds one block of rows, at most half of what is left; the number of those added."""
        lines: list[str] = []
        room = self._left // 2 - len((head + foot).encode())
        for row in rows:
            room -= len(row.encode()) + 1
            if room < 0:
                break
            lines.append(row)
        if lines:
            self.fill(["\n".join([head, *lines]) + foot])
        return len(lines)

    def close(self, block: str) -> None:
        """Adds the last words, for which room was kept."""
        self._blocks.append(block)


def _sentence(text: str) -> str:
    cut = clip(text, characters=_SENTENCE)
    return markdown_inline(cut.text + (f" … {cut.remark}" if cut.remark else ""))


def _name(text: str) -> str:
    return markdown_span(clip(text, characters=_NAME).text)


def _head(prompt: PromptReport) -> str:
    verdict = prompt.verdict
    title = f"### {_SIGNS[verdict.decision]} {verdict.decision.value} · {_name(prompt.prompt)}"
    lines = [title, "", _sentence(verdict.why)]
    if phrases.leniency(verdict):
        lines += ["", f"*{markdown_inline(phrases.leniency(verdict))}*"]
    return "\n".join(lines)


def _overview(page: _Page, prompts: Sequence[PromptReport]) -> int:
    """A line for each of many prompts, those that pass folded away; how many found room."""
    passing = [each for each in prompts if each.verdict.decision is Decision.PASS]
    others = prompts[: len(prompts) - len(passing)]
    told = page.fill_rows(_COLUMNS, map(_row, others))
    if passing and told == len(others):
        summary = f"✅ {phrases.plural(len(passing), 'prompt')} passed"
        before, after = f"<details><summary>{summary}</summary>\n\n", "\n\n</details>"
        told += page.fill_rows(before + _COLUMNS, map(_row, passing), after)
    return told


def _row(prompt: PromptReport) -> str:
    decision = prompt.verdict.decision
    counts = "; ".join(filter(None, map(phrases.counted, prompt.evalsets)))
    why = markdown_inline(clip(prompt.verdict.why, characters=_LINE).text)
    return f"| {_SIGNS[decision]} {decision.value} | {_name(prompt.prompt)} | {counts} | {why} |"


def _closing(report: Report, prompts: Sequence[PromptReport]) -> list[str]:
    """What to do next, what to know, what it cost."""
    blocks = [f"**Next:** {_name(each)}" for each in phrases.next_steps(prompts)]
    blocks += [f"**Note:** {_sentence(each)}" for each in phrases.notes(report)]
    return [*blocks, markdown_inline(" · ".join(phrases.closing(report, report.prompts)))]


def _evidence(prompt: PromptReport) -> Iterator[str]:
    baseline = _name(prompt.baseline) if prompt.baseline else "nothing: there is no baseline"
    sizes = "; ".join(f"{_name(each.evalset)} {phrases.size(each)}" for each in prompt.evalsets)
    yield f"#### {_name(prompt.candidate)} against {baseline}\n\n{sizes}"
    yield _findings(prompt)
    for each in prompt.evalsets:
        if each.metrics:
            yield _metrics(each)


def _findings(prompt: PromptReport) -> str:
    verdict, several = prompt.verdict, len(prompt.evalsets) > 1
    rows = ["| | rule | figures |", "|---|---|---|"]
    pictures = []
    for each in sorted(verdict.findings, key=lambda one: phrases.SEVERITY[one.decision]):
        name = phrases.rule(each, several=several)
        rows.append(
            f"| {_SIGNS[each.decision]} {each.decision.value} | {_name(name)} "
            f"| {_sentence(each.why)} |"
        )
        estimate = each.estimate
        if estimate is not None and each.quality and estimate.identical < estimate.n:
            drawn = "\n".join(interval(estimate, width=_PICTURE))
            words = phrases.reading(each, estimate)
            title = clip(name, characters=_NAME).text
            pictures.append(markdown_code(f"{title}\n{drawn}\n{words}".rstrip()))
    return "\n\n".join(["\n".join(rows), *pictures])


def _metrics(evalset: EvalsetReport) -> str:
    rows = [f"| {_name(evalset.evalset)} | before | after | |", "|---|--:|--:|---|"]
    for part, figures in phrases.halves(evalset.metrics):
        if part:
            rows.append(f"| **{part}** | | | |")
        rows += [
            f"| {_name(each.label)} | {phrases.percent(each.baseline)} "
            f"| {phrases.percent(each.candidate)} | {phrases.status(each)} |"
            for each in figures
        ]
    return "\n".join([*rows, *_first_tokens(evalset)])


def _first_tokens(evalset: EvalsetReport) -> Iterator[str]:
    """The seconds until the first token, where answers were streamed to measure them."""
    before, after = evalset.baseline, evalset.candidate
    for when, name in (("median", "first_token_p50"), ("95th", "first_token_p95")):
        both = [None if side is None else getattr(side, name) for side in (before, after)]
        if any(seconds is not None for seconds in both):
            told = ("–" if seconds is None else f"{seconds:.2f} s" for seconds in both)
            yield f"| first token, {when} | {' | '.join(told)} | |"


def _cases(prompts: Sequence[PromptReport]) -> int:
    """Every case worth showing, those that the report itself leaves out included."""
    return sum(len(each.shown) + each.hidden for prompt in prompts for each in prompt.evalsets)


def _blocks(prompt: PromptReport) -> Iterator[str]:
    for evalset in prompt.evalsets:
        for shown in evalset.shown:
            yield _case(shown)


def _case(shown: ShownCase) -> str:
    """A case folded away: its name and change to be read, its texts on demand."""
    name = html_inline(clip(shown.case, characters=_NAME).text)
    critical = " · critical" if shown.critical and shown.change != "critical" else ""
    summary = f"<b>{phrases.change_label(shown)}</b> <code>{name}</code>{critical}"
    lines = [
        f"<details><summary>{summary} · {phrases.change_meaning(shown)}</summary>",
        "",
    ]
    for label, text in _texts(shown):
        cut = clip(text, characters=_ANSWER)
        remark = f" *… {cut.remark}*" if cut.remark else ""
        lines += [f"**{markdown_inline(label)}**{remark}", markdown_code(cut.text), ""]
    return "\n".join([*lines, "</details>"])


def _texts(shown: ShownCase) -> Iterator[tuple[str, str]]:
    for name, value in shown.inputs.items():
        yield clip(name, characters=_NAME).text, phrases.plain(value)
    if shown.expected is not None:
        yield "expected", phrases.plain(shown.expected)
    for when, side in (("before", shown.baseline), ("after", shown.candidate)):
        trial = side.first if side else None
        if trial is None:
            continue
        scores = [clip(phrases.score(each), characters=500).text for each in trial.scores]
        yield when, "\n".join([clip(phrases.answer(trial), characters=_ANSWER).text, "", *scores])
