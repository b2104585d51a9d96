"""Writes the comment that a gate has on a pull request: verdict first, then why, then the cases.

It begins with a hidden mark by which the next run finds it again. Below stand the report in
Markdown, worst first, within GitHub's 65,536 characters, and a link to the run. A run that ended
without a verdict says so, so that no older verdict is left standing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.report import Report
from llmops_cli.render import formatting
from llmops_cli.render.json import overall
from llmops_cli.render.markdown import markdown_report
from llmops_cli.render.safe_text import clip, fenced, markdown_inline, markdown_span, visible

LIMIT = 60_000
"""Bytes; GitHub refuses a comment over 65,536 characters."""
_PROBLEMS = 20_000
"""Bytes for broken files of the registry."""
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
class CommentContent:
    """The content of a comment about one run."""

    report: Report | None
    """None: the run ended without one."""
    problem: str = ""
    """Why there is none: the error message of llmops."""
    registry_problems: Sequence[tuple[str, str]] = ()
    """Broken files of the registry: path and message."""
    name: str = "llmops"
    """Which gate: a repository may have several, each with its own comment."""
    page: str | None = None
    """Address of the run."""
    commit: str | None = None
    """The commit that was evaluated."""


def mark(name: str) -> str:
    """Return the hidden first line of a gate's comment, which ends no HTML comment early."""
    plain = re.sub(r"[^A-Za-z0-9./_-]+|--+", "_", name[:_NAME])
    return f"<!-- llmops gate: {plain} -->"


def comment_body(content: CommentContent) -> str:
    """Return the comment in at most `LIMIT` bytes."""
    word = "ERROR" if content.report is None else overall(content.report)
    parts = [mark(content.name), f"## {_SIGNS[word]} {_headline(content, word)}"]
    if content.registry_problems:
        parts.append(_registry(content.registry_problems))
    if content.report is None:
        parts.append(_nothing(content.problem))
    footer = _footer(content)
    if content.report is not None and content.report.prompts:
        room = LIMIT - len("\n\n".join([*parts, footer]).encode()) - 2
        parts.append(markdown_report(content.report, limit_bytes=room).rstrip("\n"))
    return "\n\n".join([*parts, footer]) + "\n"


def _headline(content: CommentContent, word: str) -> str:
    """Return `FAIL · 2 of 60 prompts blocked · llmops`."""
    report = content.report
    if report is None:
        title = "no verdict"
    elif word == "UNCHANGED":
        title = "nothing to evaluate: no prompt changed"
    else:
        blocked = sum(prompt.verdict.exit_code is not ExitCode.DONE for prompt in report.prompts)
        title = f"{word} · {blocked} of {formatting.plural(len(report.prompts), 'prompt')} blocked"
    if content.registry_problems:
        title += " · the registry is broken"
    return title + (f" · {markdown_span(content.name[:_NAME])}" if content.name != "llmops" else "")


def _registry(registry_problems: Sequence[tuple[str, str]]) -> str:
    rows = ["| broken in `.llmops/` | |", "|---|---|"]
    room = _PROBLEMS
    for where, message in registry_problems:
        row = (
            f"| {markdown_span(clip(where, characters=300).text)} "
            f"| {markdown_inline(clip(message, characters=600).text)} |"
        )
        room -= len(row.encode())
        if room < 0:
            break
        rows.append(row)
    hidden = len(registry_problems) - (len(rows) - 2)
    return "\n".join(rows) + (f"\n\n*{hidden:,} more.*" if hidden > 0 else "")


def _nothing(problem: str) -> str:
    if not problem.strip():
        return "The run ended without a verdict; its log says why."
    return fenced(visible(problem[:_LONGEST]), _PROBLEM)


def _footer(content: CommentContent) -> str:
    parts = [f"evaluated at {markdown_span(content.commit[:12])}"] if content.commit else []
    if content.page:
        parts.append(f"[summary, log and reports]({content.page})")
    if content.report is not None and content.report.llmops:
        parts.append(f"llmops {markdown_inline(clip(content.report.llmops, characters=40).text)}")
    return f"<sub>{' · '.join(parts)}</sub>" if parts else "<sub>llmops</sub>"
