from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.render.formatting import interval
from tests.reports import FINE, LOSS, UNDECIDED, estimate


def test_the_picture_shows_the_interval_against_margin_and_zero() -> None:
    assert interval(LOSS, width=46) == (
        "−8.9 ├───────●──┼────┤ −3.1  │",
        "   margin −5.0 ─┘            └─ 0 (no change)",
    )
    assert interval(UNDECIDED, width=46) == (
        "−9.1 ├──────────┼─────●─────┼──────────┤ +4.1",
        "   margin −5.0 ─┘           └─ 0 (no change)",
    )
    assert interval(FINE, width=46) == (
        "             │      −1.0 ├───┼──●─────┤ +3.0",
        "margin −5.0 ─┘               └─ 0 (no change)",
    )


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
