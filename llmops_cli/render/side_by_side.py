"""Shows several models or versions side by side: on a console, and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import ComparedEvalset, ComparedTarget, SideBySide
from llmops_cli.gate.wording import points
from llmops_cli.render.formatting import calls, duration, interval_ends, money, percent, plural
from llmops_cli.render.html.static import static_page
from llmops_cli.render.renderable import Cell, LineWriter, Renderable, table

THOUSAND = 1_000
"""Calls that a cost is given for: one costs too little to read."""


def headers(evalset: ComparedEvalset) -> list[str]:
    """Return the heads of the columns."""
    interval = f"{100 * evalset.level:.0f}% CI"
    first = f"vs {evalset.targets[0].name}"
    changed = ["regressed", "improved"]
    return ["name", "model", "quality", interval, first, interval, *changed, "$ per 1,000", "p95"]


def cells(target: ComparedTarget) -> list[Cell]:
    """Return the row of one target."""
    quality, interval = percent(target.quality), ""
    if target.lower is not None and target.upper is not None:
        interval = f"{100 * target.lower:.1f}–{100 * target.upper:.1f}"
    if target.measured < target.planned:
        interval = f"{target.planned - target.measured:,} of {target.planned:,} missing"
    difference = between = ""
    if target.difference is not None:
        difference = points(target.difference.difference)
        between = " to ".join(interval_ends(target.difference))
    cost = target.cost_per_call
    return [
        target.name,
        target.model,
        quality,
        interval,
        difference,
        between,
        target.regressed,
        target.improved,
        money(None if cost is None else THOUSAND * cost),
        "–" if target.latency_p95 is None else f"{target.latency_p95:.2f} s",
    ]


def remarks(compared: SideBySide) -> list[str]:
    """Return the notes, and why a p95 is missing."""
    rows = [row for evalset in compared.evalsets for row in evalset.targets]
    cached = any(row.latency_p95 is None and row.measured for row in rows)
    why = "p95 is of calls of this run: cached answers have none; --no-cache calls again"
    return [*compared.notes, *([why] if cached else [])]


def closing(compared: SideBySide, *, seconds: float | None = None) -> str:
    """Return the last line: calls, money and time."""
    parts = [calls(compared.calls, compared.reused), money(compared.cost)]
    return " · ".join(parts if seconds is None else [*parts, duration(seconds)])


def title(evalset: ComparedEvalset) -> str:
    """Return `support: 40 cases`; with the evalset where it has another name."""
    name = evalset.prompt
    if evalset.evalset != name:
        name += f" on {evalset.evalset}"
    return f"{name}: {plural(evalset.cases, 'case')}"


def console_side_by_side(compared: SideBySide, *, seconds: float) -> Renderable:
    """Return a table for each evalset, and the notes."""

    def draw(writer: LineWriter) -> Iterator[RenderableType]:
        for evalset in compared.evalsets:
            yield writer.line(title(evalset), "bold")
            rows = map(cells, evalset.targets)
            yield table(headers(evalset), rows)
            yield Text()
        for remark in remarks(compared):
            yield writer.note(remark)
        yield writer.line(closing(compared, seconds=seconds))

    return Renderable(draw)


def html_side_by_side(compared: SideBySide, *, redact: Redactor, about: Sequence[str]) -> str:
    """Return the page; it has no script and loads nothing."""
    return static_page(
        "side_by_side.html",
        redact=redact,
        compared=compared,
        headers=headers,
        cells=cells,
        title=title,
        remarks=remarks(compared),
        closing=" · ".join([closing(compared), *about]),
    )
