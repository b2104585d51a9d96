from __future__ import annotations

import re
from dataclasses import replace

import pytest

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.report import Report
from llmops_cli.render.markdown import LIMIT, comment_body, mark, markdown_report
from tests import reports
from tests.hostile import HOSTILE


def outside_code(page: str) -> str:
    """The page without fenced blocks and code spans: all that Markdown reads as markup."""
    page = re.sub(r"^(`{3,})\n.*?\n\1$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", page)


def test_the_first_token_is_reported_where_it_was_measured() -> None:
    report = reports.passing()
    (prompt,) = report.prompts
    (evalset,) = prompt.evalsets
    timed = replace(evalset.candidate, first_token_p50=0.214, first_token_p95=0.5)
    streamed = replace(prompt, evalsets=(replace(evalset, candidate=timed),))
    page = markdown_report(replace(report, prompts=(streamed,)))
    assert "| first token, median | – | 0.21 s | |\n| first token, 95th | – | 0.50 s | |" in page
    assert "first token" not in markdown_report(report)


@pytest.mark.parametrize("limit", [1_000, 5_000, 60_000])
def test_the_page_keeps_its_limit_and_counts_what_it_cut(limit: int) -> None:
    page = markdown_report(reports.enormous(), limit_bytes=limit)
    assert len(page.encode()) <= limit
    shown = page.count("<details>")
    assert f"{100_000 - shown:,} changed cases" in page.split("\n")[-2]


def test_as_many_cases_are_shown_as_there_is_room_for() -> None:
    page = markdown_report(reports.enormous(), limit_bytes=60_000)
    assert len(page.encode()) > 55_000


def test_hundreds_of_prompts_keep_the_limit_too() -> None:
    (prompt,) = reports.failing().prompts
    many = [replace(prompt, prompt=f"intent-{n}") for n in range(2_000)]
    page = markdown_report(reports.report(*many))
    assert len(page.encode()) <= 60_000
    named = len(re.findall(r"^\| ❌ FAIL \| `intent-", page, flags=re.MULTILINE))
    assert named > 50
    assert f"Not shown here: {2_000 - named:,} verdicts" in page


def test_models_can_neither_mark_up_nor_mention_nor_link() -> None:
    prose = outside_code(markdown_report(reports.hostile()))
    assert "@team" not in prose
    assert "#123" not in prose
    assert "GH-7" not in prose
    assert "https://" not in prose
    assert re.search(r"(?<!\\)!?\[", prose) is None
    tags = set(re.findall(r"</?(\w+)", prose))
    assert tags == {"details", "summary", "b", "code", "span"}


def test_every_fold_that_is_opened_is_closed() -> None:
    prose = outside_code(markdown_report(reports.hostile()))
    assert prose.count("<details>") == prose.count("</details>") > 3


def test_of_sixty_prompts_those_that_do_not_pass_come_first_and_the_rest_is_folded() -> None:
    (bad,), (good,) = reports.failing().prompts, reports.passing().prompts
    sixty = [replace(good, prompt=f"p{at:02}") for at in range(58)]
    both = [replace(bad, prompt=f"q{at}") for at in range(2)]
    page = markdown_report(reports.report(*sixty, *both))
    assert page.startswith(
        "| | prompt | passing | cases | why |\n|---|---|---|---|---|\n"
        "| ❌ FAIL | `q0` | 83.1% → 77.3% |"
    )
    shown, _, folded = page.partition("<details><summary>✅ 58 prompts passed</summary>")
    assert shown.count("| ✅ PASS |") == 0
    assert folded.count("| ✅ PASS | `p") == 58
    assert page.count("#### ") == 2
    assert "verdict" not in page.rpartition("Not shown here")[2]


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
