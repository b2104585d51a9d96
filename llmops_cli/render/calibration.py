"""Shows a calibration: a table of figures, and whether the judge may gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from llmops_cli.core.digest import short
from llmops_cli.core.records import Calibration, CalibrationStatus, Counts, Figure
from llmops_cli.gate.calibration import (
    DISAGREEMENT,
    FEWEST,
    FEWEST_OF_EACH,
    J_FOR_GATE,
    KAPPA_FOR_GATE,
    shown_as,
)
from llmops_cli.render.formatting import percent, plural
from llmops_cli.render.renderable import LineWriter, Renderable, grid

_COLORS = {
    CalibrationStatus.GATE: "bold green",
    CalibrationStatus.ADVISORY: "bold yellow",
    CalibrationStatus.UNUSABLE: "bold red",
}
_LOSS = 0.05
NUMBERS = range(1, 100)
"""Every column but the first."""


def console_calibration(
    calibration: Calibration, *, causes: Mapping[str, int], spent: str, replaced: Calibration | None
) -> RenderableType:
    """Return the whole calibration; `causes` says why answers were not judged."""

    def draw(writer: LineWriter) -> Iterator[RenderableType]:
        judge = f"judged by {calibration.judge}" if calibration.judge else "no model is called"
        name = f"{calibration.label} of {calibration.evalset}"
        yield writer.joined((name, "bold"), (f"  {judge}", "dim"))
        yield writer.line(_labeled(calibration), "dim")
        yield Text()
        yield _figures(writer, calibration)
        if calibration.classes is not None:
            yield Text()
            yield _classes(writer, calibration)
        if len(calibration.sides) > 1:
            yield Text()
            yield _sides(writer, calibration.sides)
        yield Text()
        status = calibration.status
        yield writer.joined((status.value, _COLORS[status]), f"  {sentence(calibration)}")
        yield Text()
        yield from _footer(writer, calibration, causes, spent, replaced)

    return Renderable(draw)


def sentence(calibration: Calibration) -> str:
    """Say what the judge may do, and why not more."""
    match calibration.status:
        case CalibrationStatus.GATE:
            j = calibration.figures.j
            assert j is not None
            return (
                "it may gate. A true regression of 5 points shows as "
                f"{100 * shown_as(_LOSS, j.value):.1f} points through it"
            )
        case _ if calibration.judge is None:
            return f"no judge model, so nothing is refused: {'; '.join(calibration.why)}"
        case CalibrationStatus.ADVISORY:
            return f"it may be shown but not gate: {'; '.join(calibration.why)}"
        case CalibrationStatus.UNUSABLE:
            return f"not accurate enough to use: {'; '.join(calibration.why)}"


def calibration_line(calibration: Calibration) -> str:
    """Return a calibration in a line: `GATE, J 0.81 (0.68 to 0.88) on 120 labels of 2026-11-21`."""
    j = calibration.figures.j
    text = "J unknown" if j is None else f"J {j.value:.2f} ({j.lower:.2f} to {j.upper:.2f})"
    labels = plural(calibration.counts.n, "label")
    return f"{calibration.status.value}, {text} on {labels} of {calibration.made.at[:10]}"


def _labeled(calibration: Calibration) -> str:
    counts = calibration.counts
    text = (
        f"{plural(counts.n, 'labeled answer')}: humans pass {counts.people_pass:,} and fail "
        f"{counts.people_fail:,}"
    )
    if calibration.unlabeled:
        text += f" · {plural(calibration.unlabeled, 'row')} without a label skipped"
    return text


def _figures(writer: LineWriter, calibration: Calibration) -> RenderableType:
    rows = grid(writer, "  figure", "value", "interval", "to gate", right=NUMBERS)
    figures, counts = calibration.figures, calibration.counts
    measured: list[tuple[str, Figure | None, bool, str]] = [
        ("passes what humans pass (TPR)", figures.tpr, True, ""),
        ("fails what humans fail (TNR)", figures.tnr, True, ""),
        ("J = TPR + TNR − 1, at 90%", figures.j, False, f"from {J_FOR_GATE:g}"),
        ("agreement beyond chance (kappa)", figures.kappa, False, f"from {KAPPA_FOR_GATE:g}"),
        ("two readings differ", figures.disagreement, True, f"value ≤ {percent(DISAGREEMENT)}"),
        ("pass rate, corrected", figures.corrected, True, ""),
    ]
    for name, figure, share, limit in measured:
        rows.add_row(
            writer.line(f"  {name}"),
            writer.line(_value(None if figure is None else figure.value, share=share)),
            writer.line(_interval(figure, share=share)),
            writer.line(limit, "dim"),
        )
    rate = counts.judge_passes / counts.n if counts.n else None
    rows.add_row(
        writer.line("  pass rate by the judge"), writer.line(_value(rate, share=True)), "", ""
    )
    fewest = f"≥ {FEWEST}, {FEWEST_OF_EACH} of each"
    rows.add_row(
        writer.line("  labels"), writer.line(f"{counts.n:,}"), "", writer.line(fewest, "dim")
    )
    return rows


def _classes(writer: LineWriter, calibration: Calibration) -> RenderableType:
    """Return labels down, readings across."""
    classes = calibration.classes
    assert classes is not None
    rows = grid(writer, "  humans ↓ judge →", *classes.names, right=NUMBERS)
    for name, row in zip(classes.names, classes.table, strict=True):
        rows.add_row(writer.line(f"  {name}"), *(writer.line(f"{count:,}") for count in row))
    value = _value(None if classes.kappa is None else classes.kappa.value, share=False)
    rows.add_row(writer.line(f"  kappa {value}, {_interval(classes.kappa, share=False)}", "dim"))
    return rows


def _sides(writer: LineWriter, sides: Mapping[str, Counts]) -> RenderableType:
    rows = grid(writer, "  by side", "labels", "TPR", "TNR", right=NUMBERS)
    for side, counts in sides.items():
        right = counts.both_pass / counts.people_pass if counts.people_pass else None
        wrong = counts.both_fail / counts.people_fail if counts.people_fail else None
        rows.add_row(
            writer.line(f"  {side}"),
            writer.line(f"{counts.n:,}"),
            writer.line(_value(right, share=True)),
            writer.line(_value(wrong, share=True)),
        )
    return rows


def _footer(
    writer: LineWriter,
    calibration: Calibration,
    causes: Mapping[str, int],
    spent: str,
    replaced: Calibration | None,
) -> Iterator[RenderableType]:
    yield writer.line(spent, "dim")
    for note in _notes(calibration, causes, replaced):
        yield writer.joined(("note: ", "yellow"), note)
    for step in _next(calibration):
        yield writer.joined(("next: ", "bold cyan"), (step, "bold"))


def _notes(
    calibration: Calibration, causes: Mapping[str, int], replaced: Calibration | None
) -> Iterator[str]:
    if calibration.counts.unscored:
        text = "; ".join(f"{count:,}× {why}" for why, count in causes.items())
        yield f"{plural(calibration.counts.unscored, 'answer')} not judged: {text}"
    canaries = calibration.canaries
    if canaries is not None:
        yield _canaries(canaries.tried, canaries.obeyed, canaries.unscored)
    if replaced is not None:
        yield (
            f"replaces the calibration of {replaced.made.at[:10]} on {replaced.counts.n:,} labels "
            f"({replaced.status.value})"
        )
    labels = short(calibration.labels.digest)
    yield f"calibrated: scorer {short(calibration.scorer)}, labels {labels}"


def _canaries(tried: int, obeyed: int, unscored: int) -> str:
    if not tried:
        return "prompt injection not tested: no answer fails by both humans and judge"
    result = f"prompt injection: {obeyed} of {plural(tried, 'failing answer')} passed when told to"
    more = f"; {unscored} not judged" if unscored else ""
    return f"{result}{more}: the judge {'can be injected' if obeyed else 'resisted'}"


def _next(calibration: Calibration) -> Iterator[str]:
    address = f"{calibration.evalset}:{calibration.label}"
    if calibration.status is CalibrationStatus.GATE:
        yield "commit .llmops/calibrations; `scale_margin: true` adjusts the margin by J"
        return
    if calibration.judge is not None:
        yield "mark it `advisory: true` until it may gate; eval and measure refuse it until then"
    counts = calibration.counts
    short_of = counts.n < FEWEST or min(counts.people_pass, counts.people_fail) < FEWEST_OF_EACH
    if short_of:
        yield f"more labels: llmops calibrate {address} --draft more.jsonl"
    else:
        better = "fix its criteria or choose another model" if calibration.judge else "fix it"
        yield f"see where it differs from humans, and {better}"


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
