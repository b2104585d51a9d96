from __future__ import annotations

from dataclasses import replace

import pytest

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.report import Report
from llmops_cli.render.markdown import LIMIT, comment_body, mark
from tests import reports
from tests.hostile import HOSTILE
from tests.unit.render.test_markdown import outside_code

DANGEROUS = ("<script", "@team", "](https://evil", "![", "https://evil", "-->\n<")


@pytest.mark.parametrize(
    ("report", "headline"),
    [
        (reports.failing(), "## ❌ FAIL · 1 of 1 prompt blocked"),
        (reports.incomplete(), "## ⛔ INCOMPLETE · 1 of 1 prompt blocked"),
        (reports.inconclusive(), "## ❔ INCONCLUSIVE · 0 of 1 prompt blocked"),
        (reports.passing(), "## ✅ PASS · 0 of 1 prompt blocked"),
        (
            reports.report(exit_code=ExitCode.DONE),
            "## ✅ nothing to evaluate: no prompt changed",
        ),
        (None, "## ⛔ no verdict"),
    ],
    ids=["fail", "incomplete", "inconclusive", "pass", "unchanged", "error"],
)
def test_the_verdict_is_the_first_line_that_people_see(
    report: Report | None, headline: str
) -> None:
    body = comment_body(report)
    assert body.splitlines()[:3] == ["<!-- llmops gate: llmops -->", "", headline]


def test_a_gate_of_another_name_has_a_mark_and_a_title_of_its_own() -> None:
    body = comment_body(reports.passing(), name="team-a")
    assert body.startswith(
        "<!-- llmops gate: team-a -->\n\n## ✅ PASS · 0 of 1 prompt blocked · `team-a`"
    )


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_leaves_its_place(text: str) -> None:
    for report in (replace(reports.failing(), llmops=text), None):
        body = comment_body(
            report,
            problem=text,
            registry_problems=[(text, text)] * 30,
            name=text,
            commit=text,
            page="https://github.com/acme/prompts/actions/runs/1",
        )
        assert len(body.encode()) < 65_536
        assert mark(text).count("-->") == 1
        prose = outside_code(body)
        for dangerous in DANGEROUS:
            assert dangerous not in prose, dangerous


def test_a_hundred_thousand_failures_fit_and_are_counted() -> None:
    body = comment_body(reports.enormous())
    assert len(body.encode()) <= LIMIT
    assert "Not shown here" in body


def test_it_says_what_was_measured_and_where_the_rest_is() -> None:
    page = "https://github.com/acme/prompts/actions/runs/1"
    body = comment_body(reports.passing(), commit="4f3c2a1b9d0e7788", page=page)
    last = body.splitlines()[-1]
    assert "evaluated at `4f3c2a1b9d0e`" in last
    assert f"[summary, log and reports]({page})" in last
