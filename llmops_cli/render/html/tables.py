"""The tables of the page: metrics, tags, what the arms took, what scorers asked.

A field of a summary that no table here knows gets a column or a row of its own, so that nothing
that was measured is left out of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

from markupsafe import Markup

from llmops_cli.core.report import ArmSummary, EvalsetReport, MetricSummary, Report
from llmops_cli.gate.wording import points
from llmops_cli.render import phrases
from llmops_cli.render.html.ink import Ink, joined
from llmops_cli.render.machine import as_json


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
                role=phrases.standing(each) or "gates",
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
            '<td class="number">{after}</td><td class="number">{lost}</td>'
            '<td class="number">{gained}</td><td class="number">{cases}</td></tr>',
            tag=each.tag,
            before=phrases.percent(each.baseline),
            after=phrases.percent(each.candidate),
            lost=each.lost,
            gained=each.gained,
            cases=each.cases,
        )
        for each in evalset.slices
    ]
    heads = ("Tag", "Before", "After", "Lost", "Gained", "Cases")
    kinds = ("", *["number"] * 5)
    return table(ink, f"By tag on {evalset.evalset}", heads, rows, kinds) if rows else Markup()


def judges(ink: Ink, evalset: EvalsetReport) -> Markup:
    """What is known about the judges that gate."""
    rows = [
        ink.fill(
            '<tr><th scope="row">{label}</th><td>{standing}</td><td class="number">{j}</td>'
            '<td class="number">{interval}</td><td class="number">{labelled}</td></tr>',
            label=each.label,
            standing=each.standing,
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
    """What each arm was and what it took; fields that are new here get a row of their own."""
    both = [each for each in (evalset.baseline, evalset.candidate) if each is not None]
    known: list[tuple[str, Callable[[ArmSummary], str]]] = [
        ("Model", lambda arm: arm.model),
        ("Answered by", lambda arm: ", ".join(arm.served_models)),
        ("Target", lambda arm: arm.target),
        ("Draws measured", lambda arm: f"{arm.measured:,} of {arm.planned:,}"),
        ("Called in this run", lambda arm: f"{arm.called:,}"),
        ("Not measured", phrases.measured),
        ("Tokens in", lambda arm: _count(arm.input_tokens)),
        ("Tokens out", lambda arm: _count(arm.output_tokens)),
        ("Cost of all draws", lambda arm: phrases.money(arm.cost)),
        ("Latency, median", lambda arm: _seconds(arm.latency_p50)),
        ("Latency, 95th", lambda arm: _seconds(arm.latency_p95)),
        ("First token, median", lambda arm: _seconds(arm.first_token_p50)),
        ("First token, 95th", lambda arm: _seconds(arm.first_token_p95)),
    ]
    shown = {
        *("name", "target", "model", "planned", "measured", "called", "failures", "unscored"),
        *("input_tokens", "output_tokens", "cost", "latency_p50", "latency_p95", "served_models"),
        *("first_token_p50", "first_token_p95"),
    }
    rows = [(label, [tell(arm) for arm in both]) for label, tell in known]
    rows += [
        (_named(name), [_shown(getattr(arm, name)) for arm in both])
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
    heads = ("", *(arm.name for arm in both))
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
