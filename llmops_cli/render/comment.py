"""The one comment that a pull request has of a gate: verdict first, then why, then the cases.

It begins with a mark that people do not see, by which the next run finds it again. Below come the
report in Markdown, worst first, within GitHub's 65,536 characters, and the way to the run's page.
A run that ended before there was a verdict says so, so that no older verdict is left standing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.report import Report
from llmops_cli.render import formatting as phrases
from llmops_cli.render.json import overall
from llmops_cli.render.markdown import markdown_report
from llmops_cli.render.safe_text import clip, markdown_code, markdown_inline, markdown_span, visible

LIMIT = 60_000
"""Bytes; GitHub refuses a comment over 65,536 characters."""
_FLAWS = 20_000
"""Bytes for what is broken in the registry."""
_PROBLEM = 6_000
_LONGEST = 100_000
_NAME = 100
_SIGNS = {
    "FAIL": "❌",
    "INCOMPLETE": "⛔",
    "INCONCLUSIVE": "❔",
    "PASS": "✅",
    "UNCHANGED": "✅",
    "ERROR": "⛔",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a comment tells of one run."""

    report: Report | None
    """None: the run ended before there was one."""
    problem: str = ""
    """Then, what llmops said last."""
    flaws: Sequence[tuple[str, str]] = ()
    """What is broken in the registry: file and message."""
    name: str = "llmops"
    """Which gate: a repository may have several, each with its own comment."""
    page: str | None = None
    """Address of the run."""
    commit: str | None = None
    """What was measured."""


def mark(name: str) -> str:
    """What the comment of the gate `name` begins with. Nothing in it ends an HTML comment."""
    plain = re.sub(r"[^A-Za-z0-9./_-]+|--+", "_", name[:_NAME])
    return f"<!-- llmops gate: {plain} -->"


def comment(told: Told) -> str:
    """The comment's body: at most `LIMIT` bytes."""
    word = "ERROR" if told.report is None else overall(told.report)
    parts = [mark(told.name), f"## {_SIGNS[word]} {_headline(told, word)}"]
    if told.flaws:
        parts.append(_registry(told.flaws))
    if told.report is None:
        parts.append(_nothing(told.problem))
    foot = _foot(told)
    if told.report is not None and told.report.prompts:
        room = LIMIT - len("\n\n".join([*parts, foot]).encode()) - 2
        parts.append(markdown_report(told.report, limit_bytes=room).rstrip("\n"))
    return "\n\n".join([*parts, foot]) + "\n"


def _headline(told: Told, word: str) -> str:
    """`FAIL · 2 of 60 prompts blocked · llmops`."""
    report = told.report
    if report is None:
        said = "no verdict"
    elif word == "UNCHANGED":
        said = "nothing to measure: no prompt changed"
    else:
        blocked = sum(one.verdict.exit_code is not ExitCode.DONE for one in report.prompts)
        said = f"{word} · {blocked} of {phrases.plural(len(report.prompts), 'prompt')} blocked"
    if told.flaws:
        said += " · the registry is broken"
    return said + (f" · {markdown_span(told.name[:_NAME])}" if told.name != "llmops" else "")


def _registry(flaws: Sequence[tuple[str, str]]) -> str:
    rows = ["| `.llmops/` is not as it must be | |", "|---|---|"]
    room = _FLAWS
    for where, message in flaws:
        row = (
            f"| {markdown_span(clip(where, characters=300).text)} "
            f"| {markdown_inline(clip(message, characters=600).text)} |"
        )
        room -= len(row.encode())
        if room < 0:
            break
        rows.append(row)
    hidden = len(flaws) - (len(rows) - 2)
    return "\n".join(rows) + (f"\n\n*{hidden:,} more.*" if hidden > 0 else "")


def _nothing(problem: str) -> str:
    if not problem.strip():
        return "The run ended before there was a verdict; its log says why."
    cut = clip(visible(problem[:_LONGEST]), characters=_PROBLEM)
    return markdown_code(cut.text) + (f"\n\n*… {cut.remark}*" if cut.remark else "")


def _foot(told: Told) -> str:
    parts = [f"measured at {markdown_span(told.commit[:12])}"] if told.commit else []
    if told.page:
        parts.append(f"[summary, log and reports]({told.page})")
    if told.report is not None and told.report.llmops:
        parts.append(f"llmops {markdown_inline(clip(told.report.llmops, characters=40).text)}")
    return f"<sub>{' · '.join(parts)}</sub>" if parts else "<sub>llmops</sub>"
