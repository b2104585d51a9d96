"""Shows what a calibration found: a table of figures, and in a sentence what the judge may do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llmops_cli.core.calibration import Calibration, CalibrationStatus, Counts, Figure
from llmops_cli.core.digest import short
from llmops_cli.gate.calibration import (
    DISAGREEMENT,
    FEWEST,
    FEWEST_OF_EACH,
    J_FOR_GATE,
    KAPPA_FOR_GATE,
    shown_as,
)
from llmops_cli.render.formatting import money, percent, plural
from llmops_cli.render.renderable import Pen, Sheet

_COLOURS = {
    CalibrationStatus.GATE: "bold green",
    CalibrationStatus.ADVISORY: "bold yellow",
    CalibrationStatus.UNUSABLE: "bold red",
}
_LOSS = 0.05


def console_calibration(
    found: Calibration, *, causes: Mapping[str, int], spent: str, replaced: Calibration | None
) -> RenderableType:
    """The whole calibration; `causes` says why readings were not given."""
    return Sheet(partial(_calibration, found, causes, spent, replaced))


def spending(calls: int, reused: int, cost: float | None) -> str:
    """`400 calls, $0.0312 · 12 answers reused`."""
    parts = [f"{plural(calls, 'call')}, {money(cost)}"]
    return " · ".join(parts + ([f"{plural(reused, 'stored answer')} reused"] if reused else []))


def _calibration(
    found: Calibration,
    causes: Mapping[str, int],
    spent: str,
    replaced: Calibration | None,
    pen: Pen,
) -> Iterator[RenderableType]:
    judge = f"judged by {found.judge}" if found.judge else "no model is asked"
    yield pen.joined((f"{found.label} of {found.evalset}", "bold"), (f"  {judge}", "dim"))
    yield pen.line(_labelled(found), "dim")
    yield Text()
    yield _figures(pen, found)
    if found.classes is not None:
        yield Text()
        yield _classes(pen, found)
    if len(found.sides) > 1:
        yield Text()
        yield _sides(pen, found.sides)
    yield Text()
    yield pen.joined((found.status.value, _COLOURS[found.status]), f"  {sentence(found)}")
    yield Text()
    yield _footer(pen, found, causes, spent, replaced)


def sentence(found: Calibration) -> str:
    """What the judge may do, and why not more."""
    match found.status:
        case CalibrationStatus.GATE:
            j = found.figures.j
            assert j is not None
            return (
                "it may gate. A true loss of 5 points shows as "
                f"{100 * shown_as(_LOSS, j.value):.1f} points through it"
            )
        case _ if found.judge is None:
            return f"no model judges here, so nothing is refused: {'; '.join(found.why)}"
        case CalibrationStatus.ADVISORY:
            return f"it may be shown, and may not gate: {'; '.join(found.why)}"
        case CalibrationStatus.UNUSABLE:
            return f"it tells too little to be used: {'; '.join(found.why)}"


def brief(found: Calibration) -> str:
    """A calibration in a line: `GATE, J 0.81 (0.68 to 0.88) on 120 labels of 2026-11-21`."""
    j = found.figures.j
    told = "J unknown" if j is None else f"J {j.value:.2f} ({j.lower:.2f} to {j.upper:.2f})"
    labels = plural(found.counts.n, "label")
    return f"{found.status.value}, {told} on {labels} of {found.made.at[:10]}"


def _labelled(found: Calibration) -> str:
    counts = found.counts
    told = (
        f"{plural(counts.n, 'labelled answer')}: people pass {counts.people_pass:,} and fail "
        f"{counts.people_fail:,}"
    )
    if found.unlabelled:
        told += f" · {plural(found.unlabelled, 'row')} without a label left out"
    return told


def _figures(pen: Pen, found: Calibration) -> RenderableType:
    grid = _table(pen, "  figure", "value", "interval", "to gate")
    figures, counts = found.figures, found.counts
    rows: list[tuple[str, Figure | None, bool, str]] = [
        ("passes what people pass (TPR)", figures.tpr, True, ""),
        ("fails what people fail (TNR)", figures.tnr, True, ""),
        ("J = TPR + TNR − 1, at 90 %", figures.j, False, f"from {J_FOR_GATE:g}"),
        ("agreement beyond chance (kappa)", figures.kappa, False, f"from {KAPPA_FOR_GATE:g}"),
        ("two readings differ", figures.disagreement, True, f"value ≤ {percent(DISAGREEMENT)}"),
        ("pass rate, corrected", figures.corrected, True, ""),
    ]
    for name, figure, share, limit in rows:
        grid.add_row(
            pen.line(f"  {name}"),
            pen.line(_value(None if figure is None else figure.value, share=share)),
            pen.line(_interval(figure, share=share)),
            pen.line(limit, "dim"),
        )
    rate = counts.judge_passes / counts.n if counts.n else None
    grid.add_row(pen.line("  pass rate by the judge"), pen.line(_value(rate, share=True)), "", "")
    fewest = f"≥ {FEWEST}, {FEWEST_OF_EACH} of each"
    grid.add_row(pen.line("  labels"), pen.line(f"{counts.n:,}"), "", pen.line(fewest, "dim"))
    return grid


def _classes(pen: Pen, found: Calibration) -> RenderableType:
    """Labels down, readings across."""
    classes = found.classes
    assert classes is not None
    grid = _table(pen, "  people ↓ judge →", *classes.names)
    for name, row in zip(classes.names, classes.table, strict=True):
        grid.add_row(pen.line(f"  {name}"), *(pen.line(f"{count:,}") for count in row))
    value = _value(None if classes.kappa is None else classes.kappa.value, share=False)
    grid.add_row(pen.line(f"  kappa {value}, {_interval(classes.kappa, share=False)}", "dim"))
    return grid


def _sides(pen: Pen, sides: Mapping[str, Counts]) -> RenderableType:
    grid = _table(pen, "  by arm", "labels", "TPR", "TNR")
    for side, counts in sides.items():
        right = counts.both_pass / counts.people_pass if counts.people_pass else None
        wrong = counts.both_fail / counts.people_fail if counts.people_fail else None
        grid.add_row(
            pen.line(f"  {side}"),
            pen.line(f"{counts.n:,}"),
            pen.line(_value(right, share=True)),
            pen.line(_value(wrong, share=True)),
        )
    return grid


def _footer(
    pen: Pen,
    found: Calibration,
    causes: Mapping[str, int],
    spent: str,
    replaced: Calibration | None,
) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(pen.line("spent", "dim"), pen.line(spent, "dim"))
    for note in _notes(found, causes, replaced):
        grid.add_row(pen.line("note", "yellow"), pen.line(note))
    for step in _next(found):
        grid.add_row(pen.line("next", "bold cyan"), pen.line(step, "bold"))
    return grid


def _notes(
    found: Calibration, causes: Mapping[str, int], replaced: Calibration | None
) -> Iterator[str]:
    if found.counts.unscored:
        told = "; ".join(f"{count:,}× {why}" for why, count in causes.items())
        yield f"{plural(found.counts.unscored, 'reading')} not given: {told}"
    canaries = found.canaries
    if canaries is not None:
        yield _canaries(canaries.tried, canaries.obeyed, canaries.unscored)
    if replaced is not None:
        yield (
            f"replaces the calibration of {replaced.made.at[:10]} on {replaced.counts.n:,} labels "
            f"({replaced.status.value})"
        )
    yield f"calibrated: scorer {short(found.scorer)}, labels {short(found.labels.digest)}"


def _canaries(tried: int, obeyed: int, unscored: int) -> str:
    if not tried:
        return "no canary was tried: no answer fails by people and judge"
    told = f"{obeyed} of {plural(tried, 'failing answer')} passed once it told its judge to"
    more = f"; {unscored} not judged" if unscored else ""
    return f"{told}{more}: {'the judge can be talked to' if obeyed else 'the judge held'}"


def _next(found: Calibration) -> Iterator[str]:
    address = f"{found.evalset}:{found.label}"
    if found.status is CalibrationStatus.GATE:
        yield "commit .llmops/calibrations; `scale_margin: true` takes J into the margin"
        return
    if found.judge is not None:
        yield "mark it `advisory: true` until it may gate: until then, eval and measure refuse"
    counts = found.counts
    short_of = counts.n < FEWEST or min(counts.people_pass, counts.people_fail) < FEWEST_OF_EACH
    if short_of:
        yield f"more labels: llmops calibrate {address} --draft more.jsonl"
    else:
        better = "mend its criteria or choose another model" if found.judge else "mend it"
        yield f"look at where it differs from people, and {better}"


def _table(pen: Pen, *headers: str) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, header in enumerate(headers):
        justify = "right" if place else "left"
        grid.add_column(pen.line(header), justify=justify, overflow="fold")  # type: ignore[arg-type]  # a Literal that mypy widens
    return grid


def _value(value: float | None, *, share: bool) -> str:
    if value is None:
        return "–"
    if share:
        return percent(value)
    rounded = round(value, 2)
    return f"{'−' if rounded < 0 else ''}{abs(rounded):.2f}"


def _interval(figure: Figure | None, *, share: bool) -> str:
    if figure is None:
        return ""
    return f"{_value(figure.lower, share=share)} to {_value(figure.upper, share=share)}"
