"""The page before any browser: what changed in a text, what is cut and counted, pictures."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.policy import Decision
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, Report
from llmops_cli.render.html.cases import TEXT, PageLimits, word_diff
from llmops_cli.render.html.page import html_report, plot, scale_of
from tests import reports
from tests.pages import mixed, record, side


def sides(pieces: list[str]) -> tuple[str, str]:
    """What a reader of the marks sees before and after."""
    before = "".join(text for at, text in enumerate(pieces) if at % 3 != 2)
    return before, "".join(text for at, text in enumerate(pieces) if at % 3 != 1)


WORDS = st.lists(st.sampled_from(["a", "bee", "cedar", ".", "\n", "  ", "é"]), max_size=30)


@given(WORDS, WORDS)
def test_both_texts_can_be_read_from_the_marks(before: list[str], after: list[str]) -> None:
    texts = " ".join(before), " ".join(after)
    pieces = word_diff(*texts)
    assert pieces is None or sides(pieces) == texts


def test_marks_are_whole_words_and_phrases() -> None:
    pieces = word_diff("You get it back within 14 days.", "You get it back in two weeks.")
    assert pieces == ["You get it back ", "within 14 days", "in two weeks", ".", "", ""]


def test_texts_with_nothing_in_common_are_not_marked() -> None:
    assert word_diff("activate_my_card", "Please call us tomorrow, thanks") is None


def written(
    report: Report, records: CaseStream, room: PageLimits | None = None
) -> tuple[str, Any, Any]:
    """The page, its index and all its cases."""
    text = "".join(html_report(report, records, redact=Redactor(), room=room))
    blocks = re.findall(r'<script type="application/json" class="(\w+)">(.*?)</script>', text)
    data = [(kind, json.loads(content)) for kind, content in blocks]
    (index,) = (value for kind, value in data if kind == "index")
    return text, index, [case for kind, block in data if kind == "block" for case in block]


@pytest.mark.parametrize("room", [PageLimits(cases=150), PageLimits(size=20_000)])
def test_what_has_no_room_is_the_least_bad_and_is_counted(room: PageLimits) -> None:
    taken = iter(mixed(1_000))
    _, index, cases = written(reports.failing(), CaseStream(1_000, taken), room)
    assert index["total"] == 1_000
    assert len(cases) == len(index["cases"]) in {100, 150}
    assert [case[0] for case in index["cases"][:2]] == ["critical-0", "regressed-0"]
    assert len(list(taken)) == 1_000 - len(cases)


def test_a_text_is_cut_at_its_room_and_the_rest_is_counted() -> None:
    one = record(
        "long", inputs={"q": "x" * (TEXT + 1_234)}, candidate=side("y" * 9_000, passed=1.0)
    )
    _, _, (case,) = written(reports.failing(), CaseStream(1, iter([one])))
    assert case["inputs"] == [["q", ["x" * TEXT, 1_234]]]
    assert case["candidate"]["trials"][0]["text"] == ["y" * TEXT, 1_000]


def test_an_equal_report_is_an_equal_page_that_names_nothing_outside() -> None:
    one, other = (written(reports.failing(), CaseStream(20, mixed(20)))[0] for _ in range(2))
    assert one == other
    assert re.findall(r"(?:https?:|//)[\w.]+", one.replace("// ", "")) == []


@pytest.mark.parametrize("name", ["passing", "incomplete", "no_baseline", "interrupted", "several"])
def test_every_kind_of_report_says_its_verdict_and_its_next_steps(name: str) -> None:
    report: Report = getattr(reports, name)()
    text, _, _ = written(report, CaseStream(0, iter(())))
    for prompt in report.prompts:
        assert prompt.verdict.decision.value in text
        assert all(step.split("   #")[0].split(": ")[0] in text for step in prompt.next_steps)


def test_small_pictures_share_one_scale_and_large_ones_carry_their_figures() -> None:
    scale = scale_of([reports.LOSS, reports.FINE])
    zeros = {plot(one, Decision.FAIL, scale)["zero"] for one in (reports.LOSS, reports.FINE)}
    assert len(zeros) == 1
    text, _, _ = written(reports.failing(), CaseStream(0, iter(())))
    (large,) = re.findall(r'<svg class="plot fail".*?</svg>', text, flags=re.DOTALL)
    assert re.findall(r">([−+]?[\d.]+)<", large) == ["−5.8", "−8.9", "−3.1"]
