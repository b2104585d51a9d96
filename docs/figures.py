"""Draw the figures in the documentation from the gate's own results.

    python docs/figures.py            write docs/figures/*.svg
    python docs/figures.py --check    exit with 1 and list the figures that are out of date

Figures have their own background, with colors for light and dark mode, because they appear on
GitHub and on the site. `tests/architecture/test_site.py` runs the check.
"""  # noqa: INP001 - a script, not a module of a package

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from llmops_cli.core.policy import Estimate, Finding, Policy
from llmops_cli.core.result import CaseResult, Metric, SideResult, Trial
from llmops_cli.gate.comparison import GateInput, compare
from llmops_cli.gate.decide import decide

FOLDER = Path(__file__).parent / "figures"
WIDTH, LEFT, RIGHT = 720, 170, 560
"""Width of a figure, and left and right end of its scale, in pixels."""
ROW, TOP = 46, 54
STYLE = """\
<style>
  .ground { fill: #ffffff; stroke: #d8dce2 } text { fill: #1c2128 } .quiet { fill: #57606c }
  .zone { fill: #cf222e; opacity: .08 } .post { stroke: #57606c; stroke-dasharray: 3 3 }
  .PASS { stroke: #1a7f37; fill: #1a7f37 } .FAIL { stroke: #cf222e; fill: #cf222e }
  .INCONCLUSIVE { stroke: #9a6700; fill: #9a6700 } text.word { stroke: none; font-weight: 600 }
  text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif } .bar { stroke-width: 3 }
  .figure { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #161b22; stroke: #3d444d } text { fill: #e6edf3 } .quiet { fill: #9aa4b0 }
    .zone { fill: #ff7b72; opacity: .12 } .post { stroke: #9aa4b0 }
    .PASS { stroke: #3fb950; fill: #3fb950 } .FAIL { stroke: #ff7b72; fill: #ff7b72 }
    .INCONCLUSIVE { stroke: #d29922; fill: #d29922 } .figure { stroke: #161b22 }
  }
</style>"""


def decided(regressed: int, improved: int, cases: int) -> tuple[Finding, Estimate]:
    """Return the `no_worse` finding under the default policy for so many changed cases."""
    metric = Metric(label="exact", scorer="sha256:exact", minimum=1.0)
    flips = [(0.0, 1.0)] * regressed + [(1.0, 0.0)] * improved
    rows = (
        CaseResult(case=str(at), candidate=_side("new", now), baseline=_side("old", before))
        for at, (now, before) in enumerate(flips + [(1.0, 1.0)] * (cases - len(flips)))
    )
    gate_input = GateInput(evalset="e", comparison=compare(rows, [metric]), policy=Policy())
    (finding,) = (
        finding for finding in decide([gate_input]).findings if finding.rule == "no_worse"
    )
    if finding.estimate is None:
        message = f"the gate has no figures: {finding.why}"
        raise ValueError(message)
    return finding, finding.estimate


def _side(request: str, value: float) -> SideResult:
    trial = Trial(output="sha256:o", scores={"exact": value})
    return SideResult(request=request, facts="f", planned=1, trials=(trial,))


def three_verdicts() -> str:
    """Draw the three rows of the example in docs/verdict.md."""
    shown = [(2, 1, 120), (8, 5, 120), (9, 2, 120)]
    rows = [
        (f"{regressed} worse, {improved} better", *decided(regressed, improved, cases))
        for regressed, improved, cases in shown
    ]
    return picture(
        "Three intervals against 0 and a margin of 5 points: PASS, INCONCLUSIVE, FAIL",
        rows,
        reach=(-13.0, 5.0),
    )


def more_cases() -> str:
    """Draw the interval for the same shares of changed cases, with more and more cases."""
    rows = [
        (f"{cases:,} cases", *decided(cases * 3 // 50, cases * 2 // 50, cases))
        for cases in (50, 100, 200, 400, 1_000)
    ]
    return picture(
        "6% of the cases regressed and 4% improved: more cases narrow the interval",
        rows,
        reach=(-12.0, 8.0),
    )


def picture(
    title: str, rows: Sequence[tuple[str, Finding, Estimate]], *, reach: tuple[float, float]
) -> str:
    """Draw one interval per row; `reach` is the scale's range in points."""
    height = TOP + ROW * len(rows) + 34
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{title}</title>",
            STYLE,
            f'<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>',
            *_posts(rows[0][2].margin, height, reach),
            *(line for at, row in enumerate(rows) for line in _interval(at, *row, reach=reach)),
            "</svg>\n",
        ]
    )


def _posts(margin: float, height: int, reach: tuple[float, float]) -> Iterator[str]:
    limit, zero = _x(-100 * margin, reach), _x(0, reach)
    bottom = height - 30
    yield (
        f'<rect class="zone" x="{LEFT}" y="36" width="{limit - LEFT:.1f}" height="{bottom - 36}"/>'
    )
    for x in (limit, zero):
        yield f'<line class="post" x1="{x}" x2="{x}" y1="36" y2="{bottom}"/>'
    yield f'<text class="quiet" x="{limit}" y="24" text-anchor="middle">margin −5</text>'
    yield f'<text class="quiet" x="{zero}" y="24" text-anchor="middle">0, no change</text>'
    y = height - 10
    yield f'<text class="quiet" x="{LEFT}" y="{y}">← worse</text>'
    yield f'<text class="quiet" x="{RIGHT}" y="{y}" text-anchor="end">better →</text>'


def _interval(
    at: int, label: str, finding: Finding, figures: Estimate, *, reach: tuple[float, float]
) -> Iterator[str]:
    y = TOP + ROW * at + ROW // 2
    low, mean, high = (
        _x(100 * value, reach) for value in (figures.lower, figures.difference, figures.upper)
    )
    word = finding.decision.value
    yield f'<text x="20" y="{y + 5}">{label}</text>'
    yield f'<g class="{word}"><line class="bar" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
    yield from (
        f'<line class="bar" x1="{x}" x2="{x}" y1="{y - 7}" y2="{y + 7}"/>' for x in (low, high)
    )
    yield f'<circle cx="{mean}" cy="{y}" r="6"/></g>'
    yield f'<text class="word {word}" x="{RIGHT + 14}" y="{y + 5}">{word}</text>'
    for x, value in ((low, figures.lower), (high, figures.upper)):
        text = f"{100 * value:+.1f}".replace("-", "−")
        yield f'<text class="quiet figure" x="{x}" y="{y - 12}" text-anchor="middle">{text}</text>'


def _x(points: float, reach: tuple[float, float]) -> float:
    left, right = reach
    return round(LEFT + (points - left) / (right - left) * (RIGHT - LEFT), 1)


PICTURES: Mapping[str, Callable[[], str]] = {
    "three-verdicts.svg": three_verdicts,
    "more-cases.svg": more_cases,
}


def main() -> int:
    """Write all figures, or only list those that are out of date."""
    made = {FOLDER / name: trial() for name, trial in PICTURES.items()}
    stale = [
        path
        for path, content in made.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    if "--check" in sys.argv[1:]:
        if stale:
            names = ", ".join(path.name for path in stale)
            sys.stderr.write(f"out of date: {names}; run `python docs/figures.py`\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
