"""Writes a report as Markdown for GitHub: a job summary or a comment on a pull request.

The verdicts stand first, then what to do next, then the evidence, worst first, with the answers
folded away. The page never exceeds its limit in bytes: what doesn't fit is counted. Text from
models and files stands in code, where nothing in it is markup or a mention.

A comment begins with a hidden mark by which the next run finds it again, and ends with a link to
the run. A run that ended without a verdict says so, so that no older verdict is left standing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Decision
from llmops_cli.core.report import EvalsetReport, PromptReport, Report, ShownCase
from llmops_cli.render import formatting
from llmops_cli.render.formatting import headlines
from llmops_cli.render.json import overall
from llmops_cli.render.safe_text import (
    clip,
    fenced,
    html_inline,
    markdown_code,
    markdown_inline,
    markdown_span,
    shortened,
    visible,
)

LIMIT = 60_000
"""Bytes; GitHub refuses a comment over 65,536 characters and drops a summary over 1 MiB."""
_SIGNS = {
    "FAIL": "❌",
    "INCOMPLETE": "⛔",
    "INCONCLUSIVE": "❔",
    "PASS": "✅",
    "UNCHANGED": "✅",
    "ERROR": "⛔",
}
_SENTENCE = 2_000
_NAME = 200
_ANSWER = 3_000
_PICTURE = 60
_HEADS = 5
"""Verdicts with a heading of their own; more are a table."""
_LINE = 160
_TAGS = 20
_COLUMNS = "| | prompt | passing | cases | why |\n|---|---|---|---|---|"
_RESERVE = 400
"""Bytes kept for the closing sentence that counts what had no room."""
_REGISTRY_PROBLEMS = 20_000
"""Bytes for broken files of the registry."""
_PROBLEM = 6_000
_LONGEST_PROBLEM = 100_000
_GATE_NAME = 100


def markdown_report(report: Report, *, limit_bytes: int = LIMIT) -> str:
    """Return the report in at most `limit_bytes` bytes of UTF-8 (1,000 at least), worst first."""
    prompts = formatting.worst_first(report.prompts)
    page = _Page(limit_bytes - _RESERVE)
    many = len(prompts) > _HEADS
    heads = [_head(prompt) for prompt in prompts] or [f"### {formatting.nothing(report)}"]
    warnings = [f"> **{markdown_inline(warning)}**" for warning in formatting.warnings(report)]
    detailed = [
        prompt for prompt in prompts if not many or prompt.verdict.decision is not Decision.PASS
    ]
    sections = [*_closing(report, prompts), *(s for prompt in detailed for s in _evidence(prompt))]
    unnamed = len(heads) - (_overview(page, prompts) if many else page.fill(heads))
    unsaid = len(warnings) - page.fill(warnings) + len(sections) - page.fill(sections)
    evalsets = formatting.evalsets_of(prompts)
    cases = sum(len(evalset.shown) + evalset.hidden for evalset in evalsets)
    hidden = cases - page.fill(_cases(prompts))
    missing = {"verdict": unnamed, "section": unsaid, "changed case": hidden}
    counts = [formatting.plural(count, noun) for noun, count in missing.items() if count]
    closing = [f"*Not shown here: {', '.join(counts)}.*"] if counts else []
    return "\n\n".join([*page.blocks, *closing]) + "\n"


class _Page:
    """Blocks one below the other, as long as they fit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.blocks: list[str] = []

    def fill(self, blocks: Iterable[str]) -> int:
        """Add blocks until one does not fit; return how many were added."""
        added = 0
        for block in blocks:
            size = len(block.encode()) + 2
            if size > self._left:
                break
            self._left -= size
            self.blocks.append(block)
            added += 1
        return added

    def fill_rows(self, head: str, rows: Iterable[str], foot: str = "") -> int:
        """Add one block of rows, at most half of what is left; return how many were added."""
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


def _sentence(text: str) -> str:
    return markdown_inline(shortened(text, _SENTENCE))


def _name(text: str) -> str:
    return markdown_span(clip(text, characters=_NAME).text)


def _signed(decision: Decision) -> str:
    return f"{_SIGNS[decision.value]} {decision.value}"


def _head(prompt: PromptReport) -> str:
    """Return the verdict with the pass rates, and why it is not PASS."""
    verdict = prompt.verdict
    lines = [f"### {_signed(verdict.decision)} · {_name(prompt.prompt)}"]
    for line in headlines(prompt):
        others = filter(None, (line.difference, line.counts, line.remark))
        pieces = [f"**{line.rates}**"] if line.rates else []
        pieces += map(_sentence, others)
        if pieces:
            lines += ["", " · ".join(pieces)]
    lines += [part for why in formatting.reasons(prompt) for part in ("", _sentence(why))]
    if note := formatting.warning_note(verdict):
        lines += ["", f"*{markdown_inline(note)}*"]
    return "\n".join(lines)


def _overview(page: _Page, prompts: Sequence[PromptReport]) -> int:
    """Add a row for each of many prompts, those that pass folded away; return how many."""
    passing = [prompt for prompt in prompts if prompt.verdict.decision is Decision.PASS]
    others = prompts[: len(prompts) - len(passing)]
    added = page.fill_rows(_COLUMNS, map(_row, others))
    if passing and added == len(others):
        summary = f"✅ {formatting.plural(len(passing), 'prompt')} passed"
        before, after = f"<details><summary>{summary}</summary>\n\n", "\n\n</details>"
        added += page.fill_rows(before + _COLUMNS, map(_row, passing), after)
    return added


def _row(prompt: PromptReport) -> str:
    passing = "; ".join(filter(None, (line.rates for line in headlines(prompt))))
    counts = "; ".join(filter(None, map(formatting.counted, prompt.evalsets)))
    why = markdown_inline(clip(prompt.verdict.why, characters=_LINE).text)
    cells = (_signed(prompt.verdict.decision), _name(prompt.prompt), passing, counts, why)
    return f"| {' | '.join(cells)} |"


def _closing(report: Report, prompts: Sequence[PromptReport]) -> list[str]:
    """Return next steps, notes and cost."""
    blocks = [f"**Next:** {_name(step)}" for step in formatting.next_steps(prompts)]
    blocks += [f"**Note:** {_sentence(note)}" for note in formatting.notes(report)]
    closing = [*formatting.closing(report, prompts), formatting.tokens(report)]
    return [*blocks, markdown_inline(" · ".join(filter(None, closing)))]


def _evidence(prompt: PromptReport) -> Iterator[str]:
    baseline = _name(prompt.baseline) if prompt.baseline else "nothing: there is no baseline"
    sizes = "; ".join(f"{_name(one.evalset)} {formatting.size(one)}" for one in prompt.evalsets)
    yield f"#### {_name(prompt.candidate)} against {baseline}\n\n{sizes}"
    yield _findings(prompt)
    for evalset in prompt.evalsets:
        if evalset.metrics:
            yield _metrics(evalset)
        if evalset.slices:
            yield _tags(evalset)


def _findings(prompt: PromptReport) -> str:
    verdict, several = prompt.verdict, len(prompt.evalsets) > 1
    rows = ["| | rule | figures |", "|---|---|---|"]
    pictures = []
    for finding in formatting.worst_findings_first(verdict):
        name, why = formatting.rule(finding, several=several), _sentence(finding.why)
        rows.append(f"| {_signed(finding.decision)} | {_name(name)} | {why} |")
        estimate = finding.estimate
        if estimate is not None and finding.quality and estimate.identical < estimate.n:
            picture = "\n".join(formatting.interval(estimate, width=_PICTURE))
            reading = formatting.reading(finding, estimate)
            title = clip(name, characters=_NAME).text
            pictures.append(markdown_code(f"{title}\n{picture}\n{reading}".rstrip()))
    return "\n\n".join(["\n".join(rows), *pictures])


def _metrics(evalset: EvalsetReport) -> str:
    rows = [f"| {_name(evalset.evalset)} | before | after | |", "|---|--:|--:|---|"]
    for part, figures in formatting.by_stage(evalset.metrics):
        if part:
            rows.append(f"| **{part}** | | | |")
        rows += [
            f"| {_name(metric.label)} | {formatting.percent(metric.baseline)} "
            f"| {formatting.percent(metric.candidate)} | {formatting.status(metric)} |"
            for metric in figures
        ]
    return "\n".join([*rows, *_first_tokens(evalset)])


def _tags(evalset: EvalsetReport) -> str:
    """Return the pass rate by tag, those that regressed most first."""
    rows = ["| by tag | before | after | |", "|---|--:|--:|---|"]
    tags = sorted(evalset.slices, key=lambda tag: (tag.p_adjusted, -tag.regressed))
    for tag in tags[:_TAGS]:
        counts = f"{tag.regressed:,} regressed, {tag.improved:,} improved of {tag.cases:,}"
        before, after = formatting.percent(tag.baseline), formatting.percent(tag.candidate)
        rows.append(f"| {_name(f'#{tag.tag}')} | {before} | {after} | {counts} |")
    if len(tags) > _TAGS:
        rows.append(f"| {len(tags) - _TAGS:,} more | | | |")
    return "\n".join(rows)


def _first_tokens(evalset: EvalsetReport) -> Iterator[str]:
    """Yield the seconds until the first token, where answers were streamed."""
    before, after = evalset.baseline, evalset.candidate
    for when, name in (("median", "first_token_p50"), ("95th", "first_token_p95")):
        both = [None if side is None else getattr(side, name) for side in (before, after)]
        if any(seconds is not None for seconds in both):
            cells = ("–" if seconds is None else f"{seconds:.2f} s" for seconds in both)
            yield f"| first token, {when} | {' | '.join(cells)} | |"


def _cases(prompts: Sequence[PromptReport]) -> Iterator[str]:
    """Yield the cases of every prompt, below its name where there are several."""
    for prompt in prompts:
        shown = [case for evalset in prompt.evalsets for case in evalset.shown]
        for place, case in enumerate(shown):
            title = f"**Cases of** {_name(prompt.prompt)}\n\n"
            yield (title if place == 0 and len(prompts) > 1 else "") + _case(case)


def _case(shown: ShownCase) -> str:
    """Return a folded case: its name and change to be read, its texts on demand."""
    name = html_inline(clip(shown.case, characters=_NAME).text)
    critical = " · critical" if shown.critical and shown.change != "critical" else ""
    summary = f"<b>{formatting.change_label(shown)}</b> <code>{name}</code>{critical}"
    lines = [
        f"<details><summary>{summary} · {formatting.change_meaning(shown)}</summary>",
        "",
    ]
    for label, text in _texts(shown):
        cut = clip(text, characters=_ANSWER)
        remark = f" *… {cut.remark}*" if cut.remark else ""
        lines += [f"**{markdown_inline(label)}**{remark}", markdown_code(cut.text), ""]
    return "\n".join([*lines, "</details>"])


def _texts(shown: ShownCase) -> Iterator[tuple[str, str]]:
    for name, value in shown.inputs.items():
        yield clip(name, characters=_NAME).text, formatting.plain(value)
    if shown.expected is not None:
        yield "expected", formatting.plain(shown.expected)
    for when, side in (("before", shown.baseline), ("after", shown.candidate)):
        trial = side.first if side else None
        if trial is None:
            continue
        scores = [clip(formatting.score(score), characters=500).text for score in trial.scores]
        yield (
            when,
            "\n".join([clip(formatting.answer(trial), characters=_ANSWER).text, "", *scores]),
        )


# The comment on a pull request.


def mark(name: str) -> str:
    """Return the hidden first line of a gate's comment, which ends no HTML comment early."""
    plain = re.sub(r"[^A-Za-z0-9./_-]+|--+", "_", name[:_GATE_NAME])
    return f"<!-- llmops gate: {plain} -->"


def comment_body(
    report: Report | None,
    *,
    problem: str = "",
    registry_problems: Sequence[tuple[str, str]] = (),
    name: str = "llmops",
    page: str | None = None,
    commit: str | None = None,
) -> str:
    """Return the comment in at most `LIMIT` bytes: verdict first, then why, then the cases.

    `problem` is the error message where there is no report; `registry_problems` are broken files
    and why; `name` is the gate's, since a repository may have several; `page` is the run's address.
    """
    word = "ERROR" if report is None else overall(report)
    title = _comment_title(report, word)
    title += " · the registry is broken" if registry_problems else ""
    title += f" · {markdown_span(name[:_GATE_NAME])}" if name != "llmops" else ""
    parts = [mark(name), f"## {_SIGNS[word]} {title}"]
    if registry_problems:
        parts.append(_registry(registry_problems))
    if report is None and problem.strip():
        parts.append(fenced(visible(problem[:_LONGEST_PROBLEM]), _PROBLEM))
    elif report is None:
        parts.append("The run ended without a verdict; its log says why.")
    about = [f"evaluated at {markdown_span(commit[:12])}"] if commit else []
    about += [f"[summary, log and reports]({page})"] if page else []
    if report is not None and report.llmops:
        about.append(f"llmops {markdown_inline(clip(report.llmops, characters=40).text)}")
    footer = f"<sub>{' · '.join(about) or 'llmops'}</sub>"
    if report is not None and report.prompts:
        room = LIMIT - len("\n\n".join([*parts, footer]).encode()) - 2
        parts.append(markdown_report(report, limit_bytes=room).rstrip("\n"))
    return "\n\n".join([*parts, footer]) + "\n"


def _comment_title(report: Report | None, word: str) -> str:
    """Return `FAIL · 2 of 60 prompts blocked`."""
    if report is None:
        return "no verdict"
    if word == "UNCHANGED":
        return "nothing to evaluate: no prompt changed"
    blocked = sum(prompt.verdict.exit_code is not ExitCode.DONE for prompt in report.prompts)
    return f"{word} · {blocked} of {formatting.plural(len(report.prompts), 'prompt')} blocked"


def _registry(registry_problems: Sequence[tuple[str, str]]) -> str:
    """Return a table of broken files, as many as there is room for."""
    rows = ["| broken in `.llmops/` | |", "|---|---|"]
    room = _REGISTRY_PROBLEMS
    for where, message in registry_problems:
        file = markdown_span(clip(where, characters=300).text)
        row = f"| {file} | {markdown_inline(clip(message, characters=600).text)} |"
        room -= len(row.encode())
        if room < 0:
            break
        rows.append(row)
    hidden = len(registry_problems) - (len(rows) - 2)
    return "\n".join(rows) + (f"\n\n*{hidden:,} more.*" if hidden > 0 else "")
