"""Trials an interval against its margin as SVG: what is proven, at a glance.

Places are per cents of the width, so that the drawing fits every column and its words keep their
size. Right of the margin is a pass; left of 0 is a loss. Colours come from the style sheet.

The tables of the page: metrics, tags, what the sides took, what scorers asked.

A field of a summary that no table here knows gets a column or a row of its own, so that nothing
that was measured is left out of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from markupsafe import Markup

from llmops_cli.core.report import EvalsetReport, MetricSummary, Report, SideSummary
from llmops_cli.core.verdict import Decision, Estimate
from llmops_cli.gate import wording
from llmops_cli.gate.wording import points
from llmops_cli.render import formatting as phrases
from llmops_cli.render.html.escape import Ink, joined
from llmops_cli.render.json import as_json

_LARGE = """<svg class="plot {kind}" role="img" aria-label="{told}" width="100%" height="86">
<rect class="zone" x="0" y="22" width="{margin}%" height="36"/>
<line class="post" x1="{zero}%" x2="{zero}%" y1="16" y2="64"/>
<line class="post margin" x1="{margin}%" x2="{margin}%" y1="16" y2="64"/>
<line class="bar" x1="{lower}%" x2="{upper}%" y1="40" y2="40"/>
<line class="bar" x1="{lower}%" x2="{lower}%" y1="33" y2="47"/>
<line class="bar" x1="{upper}%" x2="{upper}%" y1="33" y2="47"/>
<circle cx="{point}%" cy="40" r="6"/>
<text x="{point}%" y="12" text-anchor="middle" class="strong">{difference}</text>
<text x="{lower}%" dx="-9" y="45" text-anchor="end">{least}</text>
<text x="{upper}%" dx="9" y="45">{most}</text>
<text x="{margin}%" dx="-2" y="80" text-anchor="end" class="quiet">margin {limit}</text>
<text x="{zero}%" dx="4" y="80" class="quiet">0: as before</text>
</svg>"""
_SMALL = """<svg class="plot small {kind}" role="img" aria-label="{told}" width="180" height="24">
<rect class="zone" x="0" y="3" width="{margin}%" height="18"/>
<line class="post" x1="{zero}%" x2="{zero}%" y1="1" y2="23"/>
<line class="post margin" x1="{margin}%" x2="{margin}%" y1="1" y2="23"/>
<line class="bar" x1="{lower}%" x2="{upper}%" y1="12" y2="12"/>
<circle cx="{point}%" cy="12" r="4"/>
</svg>"""
_ROOM = 22.0
"""Per cent of the width on either side of a large drawing: room for its figures."""
_EDGE = 4.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Which differences the drawing spans."""

    left: float
    right: float

    @classmethod
    def of(cls, estimates: Iterable[Estimate]) -> Scale:
        """A scale on which all of `estimates` have room, and 0 and their margins too."""
        each = [*estimates]
        left = min([0.0, *(min(one.lower, -one.margin) for one in each)])
        right = max([0.0, *(one.upper for one in each)])
        return cls(left, right if right > left else left + 1.0)

    def place(self, value: float, room: float) -> str:
        """Per cent from the left."""
        share = (value - self.left) / (self.right - self.left)
        return f"{room + (100 - 2 * room) * min(max(share, 0.0), 1.0):.2f}"


def plot(ink: Ink, estimate: Estimate, decision: Decision, scale: Scale | None = None) -> Markup:
    """The interval of `estimate`; small, and without figures, on a `scale` shared with others."""
    within = scale or Scale.of([estimate])
    room = _ROOM if scale is None else _EDGE
    least, most = wording.interval_ends(estimate.lower, estimate.upper, estimate.margin)
    difference, limit = points(estimate.difference), points(-estimate.margin)
    return ink.fill(
        _LARGE if scale is None else _SMALL,
        kind=decision.value.lower(),
        told=f"{difference} points, interval {least} to {most}, margin {limit}",
        least=least,
        most=most,
        difference=difference,
        limit=limit,
        zero=within.place(0.0, room),
        margin=within.place(-estimate.margin, room),
        lower=within.place(estimate.lower, room),
        upper=within.place(estimate.upper, room),
        point=within.place(estimate.difference, room),
    )


def table(
    ink: Ink, caption: str, heads: Sequence[str], rows: Iterable[Markup], kinds: Sequence[str] = ()
) -> Markup:
    """A table with its caption; `kinds` are the classes of the heads."""
    classes = [*kinds, *[""] * (len(heads) - len(kinds))]
    cells = joined(
        (
            ink.fill('<th scope="col" class="{kind}">{head}</th>', kind=kind, head=head)
            for head, kind in zip(heads, classes, strict=True)
        ),
        "",
    )
    return ink.fill(
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        "<table><caption>{caption}</caption>"
        "<thead><tr>{cells}</tr></thead><tbody>\n{rows}\n</tbody></table></div>",
        caption=caption,
        cells=cells,
        rows=joined(rows),
    )


def metrics(ink: Ink, evalset: EvalsetReport) -> Markup:
    """Every metric before and after; fields that are new here get a column of their own."""
    shown = {"label", "gated", "paired", "candidate", "baseline", "candidate_n", "baseline_n"}
    more = _further(evalset.metrics, shown)
    rows = []
    for each in (one for _, half in phrases.halves(evalset.metrics) for one in half):
        cells = [
            phrases.percent(each.baseline),
            phrases.percent(each.candidate),
            _difference(each),
            f"{each.candidate_n:,}",
        ]
        numbers = [ink.fill('<td class="number">{it}</td>', it=cell) for cell in cells]
        others = [ink.fill("<td>{it}</td>", it=_shown(getattr(each, name))) for name in more]
        rows.append(
            ink.fill(
                '<tr><th scope="row">{label}</th>{cells}<td>{role}</td></tr>',
                label=each.label,
                cells=joined([*numbers, *others], ""),
                role=phrases.status(each) or "gates",
            )
        )
    heads = ("Metric", "Before", "After", "Points", "Cases", *map(_named, more), "Role")
    return table(ink, f"Metrics on {evalset.evalset}", heads, rows, kinds=("", *["number"] * 4))


def _difference(metric: MetricSummary) -> str:
    if metric.candidate is None or metric.baseline is None:
        return "–"
    return points(metric.candidate - metric.baseline)


def slices(ink: Ink, evalset: EvalsetReport) -> Markup:
    """The tags, those that lost most first."""
    rows = [
        ink.fill(
            '<tr><th scope="row">#{tag}</th><td class="number">{before}</td>'
            '<td class="number">{after}</td><td class="number">{regressed}</td>'
            '<td class="number">{improved}</td><td class="number">{cases}</td></tr>',
            tag=each.tag,
            before=phrases.percent(each.baseline),
            after=phrases.percent(each.candidate),
            regressed=each.regressed,
            improved=each.improved,
            cases=each.cases,
        )
        for each in evalset.slices
    ]
    heads = ("Tag", "Before", "After", "Regressed", "Improved", "Cases")
    kinds = ("", *["number"] * 5)
    return table(ink, f"By tag on {evalset.evalset}", heads, rows, kinds) if rows else Markup()


def judges(ink: Ink, evalset: EvalsetReport) -> Markup:
    """What is known about the judges that gate."""
    rows = [
        ink.fill(
            '<tr><th scope="row">{label}</th><td>{status}</td><td class="number">{j}</td>'
            '<td class="number">{interval}</td><td class="number">{labelled}</td></tr>',
            label=each.label,
            status=each.status,
            j="–" if each.j is None else f"{each.j:.2f}",
            interval="–"
            if each.j_lower is None or each.j_upper is None
            else f"{each.j_lower:.2f} to {each.j_upper:.2f}",
            labelled=f"{each.labelled:,}",
        )
        for each in evalset.judges
    ]
    heads = ("Judge", "Standing", "J", "90 % interval", "Labels")
    kinds = ("", "", *["number"] * 3)
    return table(ink, f"Judges on {evalset.evalset}", heads, rows, kinds) if rows else Markup()


def effort(ink: Ink, evalset: EvalsetReport) -> Markup:
    """What each side was and what it took; fields that are new here get a row of their own."""
    both = [each for each in (evalset.baseline, evalset.candidate) if each is not None]
    known: list[tuple[str, Callable[[SideSummary], str]]] = [
        ("Model", lambda side: side.model),
        ("Answered by", lambda side: ", ".join(side.served_models)),
        ("Target", lambda side: side.target),
        ("Draws measured", lambda side: f"{side.measured:,} of {side.planned:,}"),
        ("Called in this run", lambda side: f"{side.called:,}"),
        ("Not measured", phrases.measured),
        ("Tokens in", lambda side: _count(side.input_tokens)),
        ("Tokens out", lambda side: _count(side.output_tokens)),
        ("Cost of all draws", lambda side: phrases.money(side.cost)),
        ("Latency, median", lambda side: _seconds(side.latency_p50)),
        ("Latency, 95th", lambda side: _seconds(side.latency_p95)),
        ("First token, median", lambda side: _seconds(side.first_token_p50)),
        ("First token, 95th", lambda side: _seconds(side.first_token_p95)),
    ]
    shown = {
        *("name", "target", "model", "planned", "measured", "called", "failures", "unscored"),
        *("input_tokens", "output_tokens", "cost", "latency_p50", "latency_p95", "served_models"),
        *("first_token_p50", "first_token_p95"),
    }
    rows = [(label, [tell(side) for side in both]) for label, tell in known]
    rows += [
        (_named(name), [_shown(getattr(side, name)) for side in both])
        for name in _further(both, shown)
    ]
    marked = [
        ink.fill(
            '<tr><th scope="row">{label}</th>{cells}</tr>',
            label=label,
            cells=joined((ink.fill("<td>{it}</td>", it=each) for each in cells), ""),
        )
        for label, cells in rows
        if any(cells)
    ]
    heads = ("", *(side.name for side in both))
    return table(ink, f"Arms on {evalset.evalset}", heads, marked)


def roles(ink: Ink, report: Report) -> Markup:
    """What scorers asked of models, by role."""
    rows = [
        ink.fill(
            '<tr><th scope="row">{role}</th><td class="number">{calls}</td>'
            '<td class="number">{reused}</td><td class="number">{given}</td>'
            '<td class="number">{made}</td><td class="number">{cost}</td></tr>',
            role=role,
            calls=f"{each.calls:,}",
            reused=f"{each.reused:,}",
            given=f"{each.input_tokens:,}",
            made=f"{each.output_tokens:,}",
            cost=phrases.money(each.cost),
        )
        for role, each in report.spent.items()
    ]
    heads = ("Asked as", "Calls", "Reused", "Tokens in", "Tokens out", "Cost")
    kinds = ("", *["number"] * 5)
    return table(ink, "What scorers asked", heads, rows, kinds) if rows else Markup()


def _further(values: Sequence[Any], shown: set[str]) -> list[str]:
    """Fields that this module does not know and that some of `values` fill."""
    if not values:
        return []
    names = (each.name for each in fields(values[0]) if each.name not in shown)
    return [name for name in names if any(_shown(getattr(value, name)) for value in values)]


def _shown(value: Any) -> str:  # noqa: ANN401 - any field of a report
    """A value that this module knows nothing of, as people read it."""
    if value is None or value in ((), {}, [], ""):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if type(value) is int else phrases.plain(as_json(value))


def _named(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"
