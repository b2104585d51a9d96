"""Shows a calibration: a table of figures, and whether the judge may gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from llmops_cli.core.digest import short
from llmops_cli.core.records import Calibration, CalibrationStatus, Classes, Counts, Figure
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
    CalibrationStatus.TOO_FEW: "bold yellow",
    CalibrationStatus.UNUSABLE: "bold red",
}
_LOSS = 0.05
NUMBERS = range(1, 100)
"""Every column but the first."""


def console_calibration(
    calibration: Calibration, *, causes: Mapping[str, int], spent: str, replaced: Calibration | None
) -> Renderable:
    """Return the whole calibration; `causes` says why answers were not judged."""

    def draw(writer: LineWriter) -> Iterator[RenderableType]:
        counts = calibration.counts
        judge = f"judged by {calibration.judge}" if calibration.judge else "no model is called"
        name = f"{calibration.label} of {calibration.evalset}"
        yield writer.joined((name, "bold"), (f"  {judge}", "dim"))
        labeled = (
            f"{plural(counts.n, 'labeled answer')}: humans pass {counts.people_pass:,} and fail "
            f"{counts.people_fail:,}"
        )
        skipped = plural(calibration.unlabeled, "row")
        more = f" · {skipped} without a label skipped" if calibration.unlabeled else ""
        yield writer.line(f"{labeled}{more}", "dim")
        yield Text()
        yield _figures(writer, calibration)
        if calibration.classes is not None:
            yield Text()
            yield _classes(writer, calibration.classes)
        if len(calibration.sides) > 1:
            yield Text()
            yield _sides(writer, calibration.sides)
        yield Text()
        status = calibration.status
        yield writer.joined((status.value, _COLORS[status]), f"  {sentence(calibration)}")
        yield Text()
        yield writer.line(spent, "dim")
        yield from map(writer.note, _notes(calibration, causes, replaced))
        yield from map(writer.note, _advice(calibration))
        yield from map(writer.next_step, _next(calibration))

    return Renderable(draw)


def sentence(calibration: Calibration) -> str:
    """Say what the judge may do, and why not more."""
    why = "; ".join(calibration.why)
    match calibration.status:
        case CalibrationStatus.GATE:
            j = calibration.figures.j
            assert j is not None
            return (
                "it may gate. A true regression of 5 points shows as "
                f"{100 * shown_as(_LOSS, j.value):.1f} points through it"
            )
        case _ if calibration.judge is None:
            return f"no judge model, so nothing is refused: {why}"
        case CalibrationStatus.ADVISORY:
            return f"it may be shown but not gate: {why}"
        case CalibrationStatus.TOO_FEW:
            return f"not calibrated yet: {why}"
        case CalibrationStatus.UNUSABLE:
            return f"not accurate enough to use: {why}"


def calibration_line(calibration: Calibration) -> str:
    """Return a calibration in a line: `GATE, J 0.81 (0.68 to 0.88) on 120 labels of 2026-11-21`."""
    j = calibration.figures.j
    text = "J unknown" if j is None else f"J {j.value:.2f} ({j.lower:.2f} to {j.upper:.2f})"
    labels = plural(calibration.counts.n, "label")
    return f"{calibration.status.value}, {text} on {labels} of {calibration.made.at[:10]}"


def _figures(writer: LineWriter, calibration: Calibration) -> RenderableType:
    figures, counts = calibration.figures, calibration.counts
    measured: list[tuple[str, Figure | None, bool, str]] = [
        ("passes what humans pass (TPR)", figures.tpr, True, ""),
        ("fails what humans fail (TNR)", figures.tnr, True, ""),
        ("J = TPR + TNR − 1, at 90%", figures.j, False, f"from {J_FOR_GATE:g}"),
        ("agreement beyond chance (kappa)", figures.kappa, False, f"from {KAPPA_FOR_GATE:g}"),
        ("two readings differ", figures.disagreement, True, f"value ≤ {percent(DISAGREEMENT)}"),
        ("pass rate, corrected", figures.corrected, True, ""),
    ]
    rate = counts.judge_passes / counts.n if counts.n else None
    rows: list[Sequence[str | tuple[str, str]]] = [
        *(
            (f"  {name}", *_value_and_interval(figure, share=share), (limit, "dim"))
            for name, figure, share, limit in measured
        ),
        ("  pass rate by the judge", percent(rate), "", ""),
        ("  labels", f"{counts.n:,}", "", (f"≥ {FEWEST}, {FEWEST_OF_EACH} of each", "dim")),
    ]
    return grid(writer, ("  figure", "value", "interval", "to gate"), rows, right=NUMBERS)


def _classes(writer: LineWriter, classes: Classes) -> RenderableType:
    """Return labels down, readings across."""
    kappa = ", ".join(_value_and_interval(classes.kappa, share=False))
    rows: list[Sequence[str | tuple[str, str]]] = [
        (f"  {name}", *(f"{count:,}" for count in row))
        for name, row in zip(classes.names, classes.table, strict=True)
    ]
    rows.append([(f"  kappa {kappa}", "dim")])
    return grid(writer, ("  humans ↓ judge →", *classes.names), rows, right=NUMBERS)


def _sides(writer: LineWriter, sides: Mapping[str, Counts]) -> RenderableType:
    rows = [
        (
            f"  {side}",
            f"{counts.n:,}",
            percent(counts.both_pass / counts.people_pass if counts.people_pass else None),
            percent(counts.both_fail / counts.people_fail if counts.people_fail else None),
        )
        for side, counts in sides.items()
    ]
    return grid(writer, ("  by side", "labels", "TPR", "TNR"), rows, right=NUMBERS)


def _notes(
    calibration: Calibration, causes: Mapping[str, int], replaced: Calibration | None
) -> Iterator[str]:
    if calibration.counts.unscored:
        text = "; ".join(f"{count:,}× {why}" for why, count in causes.items())
        yield f"{plural(calibration.counts.unscored, 'answer')} not judged: {text}"
    canaries = calibration.canaries
    if canaries is not None and not canaries.tried:
        yield "prompt injection not tested: no answer fails by both humans and judge"
    elif canaries is not None:
        failing = plural(canaries.tried, "failing answer")
        more = f"; {canaries.unscored} not judged" if canaries.unscored else ""
        outcome = "can be injected" if canaries.obeyed else "resisted"
        yield (
            f"prompt injection: {canaries.obeyed} of {failing} passed when told to{more}: "
            f"the judge {outcome}"
        )
    if replaced is not None:
        yield (
            f"replaces the calibration of {replaced.made.at[:10]} on {replaced.counts.n:,} labels "
            f"({replaced.status.value})"
        )
    labels = short(calibration.labels.digest)
    yield f"calibrated: scorer {short(calibration.scorer)}, labels {labels}"


def _lacks_labels(counts: Counts) -> bool:
    return counts.n < FEWEST or min(counts.people_pass, counts.people_fail) < FEWEST_OF_EACH


def _advice(calibration: Calibration) -> Iterator[str]:
    """Say what no command does."""
    if calibration.status is CalibrationStatus.GATE:
        yield "commit .llmops/calibrations; `scale_margin: true` adjusts the margin by J"
        return
    if calibration.judge is not None and calibration.status is not CalibrationStatus.TOO_FEW:
        yield "mark it `advisory: true` until it may gate; eval and measure refuse it until then"
    if not _lacks_labels(calibration.counts):
        better = "fix its criteria or choose another model" if calibration.judge else "fix it"
        yield f"see where it differs from humans, and {better}"


def _next(calibration: Calibration) -> Iterator[str]:
    if calibration.status is not CalibrationStatus.GATE and _lacks_labels(calibration.counts):
        yield f"llmops calibrate {calibration.address} --draft more.jsonl   # more labels"


def _value_and_interval(figure: Figure | None, *, share: bool) -> tuple[str, str]:
    """Return `83.1%` and `80.2% to 86.0%`; or, where it is no share, `0.81` and `0.68 to 0.88`."""
    if figure is None:
        return "–", ""
    value, lower, upper = (
        percent(number) if share else f"{round(number, 2) + 0.0:.2f}".replace("-", "−")
        for number in (figure.value, figure.lower, figure.upper)
    )
    return value, f"{lower} to {upper}"
