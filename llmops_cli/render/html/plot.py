"""Draws an interval against its margin as SVG: what is proven, at a glance.

Places are per cents of the width, so that the drawing fits every column and its words keep their
size. Right of the margin is a pass; left of 0 is a loss. Colours come from the style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from llmops_cli.core.verdict import Decision, Estimate
from llmops_cli.gate import wording
from llmops_cli.gate.wording import points
from llmops_cli.render.html.ink import Ink

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
    least, most = wording.interval(estimate.lower, estimate.upper)[1:-1].split(", ")
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
