from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.render.formatting import interval
from tests.reports import FINE, LOSS, UNDECIDED, estimate


@pytest.mark.parametrize(
    ("figures", "drawn"),
    [
        (
            LOSS,
            (
                "−8.9 ├───────●──┼────┤ −3.1  │",
                "   margin −5.0 ─┘            └─ 0 (no change)",
            ),
        ),
        (
            UNDECIDED,
            (
                "−9.1 ├──────────┼─────●─────┼──────────┤ +4.1",
                "   margin −5.0 ─┘           └─ 0 (no change)",
            ),
        ),
        (
            FINE,
            (
                "             │      −1.0 ├───┼──●─────┤ +3.0",
                "margin −5.0 ─┘               └─ 0 (no change)",
            ),
        ),
    ],
)
def test_the_picture_shows_the_interval_against_margin_and_zero(
    figures: object, drawn: tuple[str, str]
) -> None:
    assert interval(figures, width=46) == drawn  # type: ignore[arg-type]  # parametrised


SHARE = st.floats(-1, 1)


@given(
    st.lists(SHARE, min_size=3, max_size=3).map(sorted),
    st.floats(0, 1),
    st.integers(40, 100),
)
def test_every_picture_fits_and_keeps_its_order(
    ends: list[float], margin: float, width: int
) -> None:
    lower, middle, upper = ends
    figures = estimate(lower=lower, difference=middle, upper=upper, margin=margin)
    above, below = interval(figures, width=width)
    assert max(len(above), len(below)) <= width
    assert above.count("●") == 1
    assert below.index("margin") < below.index("0 (no change)")
    if middle > 0.2:
        assert above.index("●") >= below.index("└")
    if middle < -margin - 0.2:
        assert above.index("●") <= below.index("┘")
