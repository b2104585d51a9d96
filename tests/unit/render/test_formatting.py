"""Words and figures that all renderers share: halves of an application, intervals as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.report import MetricSummary, Report, ShownScore
from llmops_cli.render.console import console_report
from llmops_cli.render.formatting import interval, score
from llmops_cli.render.json import json_report
from llmops_cli.render.markdown import markdown_report
from tests import reports
from tests.reports import FINE, LOSS, UNDECIDED, estimate, metric
from tests.unit.render.test_console import printed

METRICS = (
    metric("pass", 0.9, 0.6),
    metric("faithfulness", 0.95, 0.94, part="generation"),
    metric("hit_at_k", 0.9, 0.5, part="retrieval"),
    metric("contains", 0.9, 0.7),
    metric("context_recall", 0.8, 0.4, part="retrieval"),
)


def with_metrics(metrics: tuple[MetricSummary, ...]) -> Report:
    report = reports.passing()
    (prompt,) = report.prompts
    (evalset,) = prompt.evalsets
    shown = replace(prompt, evalsets=(replace(evalset, metrics=metrics),))
    return replace(report, prompts=(shown,))


GROUPED = [
    "pass", "contains", "retrieval", "hit_at_k", "context_recall", "generation", "faithfulness"
]  # fmt: skip


def first_words(text: str) -> list[str]:
    """The first word of metric_shown row of the table of metrics."""
    words = [(line.strip("|* ").split() or [""])[0].strip("`*") for line in text.splitlines()]
    return words[words.index("pass") :][: len(GROUPED)]


@pytest.mark.parametrize(
    "render",
    [lambda report: printed(console_report(report)), markdown_report],
    ids=["console", "markdown"],
)
def test_each_half_is_shown_under_its_name(render: Callable[[Report], str]) -> None:
    assert first_words(render(with_metrics(METRICS))) == GROUPED
    only = tuple(metric for metric in METRICS if metric.part != "retrieval")
    assert not re.search(r"^\W*generation", render(with_metrics(only)), re.MULTILINE)


def test_json_names_the_half_of_every_metric() -> None:
    report = json.loads(json_report(with_metrics(METRICS)))["report"]
    metrics = report["prompts"][0]["evalsets"][0]["metrics"]
    assert {shown["label"]: shown["part"] for shown in metrics} == {
        metric.label: metric.part for metric in METRICS
    }


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


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (11_199.0, 400.0, "length 11,199 > 400"),
        (3.0, 10.0, "length 3 < 10"),
        (0.123456, 0.1, "length 0.1235 > 0.1"),
        (120.0, None, "length 120"),
    ],
)
def test_a_quantity_is_shown_with_the_threshold_that_it_is_beyond(
    value: float, limit: float | None, text: str
) -> None:
    shown = ShownScore(label="length", value=value, passed=limit is None, limit=limit)
    assert score(shown) == text
