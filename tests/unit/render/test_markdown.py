from __future__ import annotations

import re
from dataclasses import replace

import pytest

from llmops_cli.render.markdown import markdown_report
from tests import reports


def outside_code(page: str) -> str:
    """The page without fenced blocks and code spans: all that Markdown reads as markup."""
    page = re.sub(r"^(`{3,})\n.*?\n\1$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", page)


def test_the_worst_verdict_is_the_first_line() -> None:
    page = markdown_report(reports.several())
    assert page.split("\n")[0] == "### ❌ FAIL · `intent`"
    titles = re.findall(r"^### (.*)$", page, flags=re.MULTILINE)
    assert titles == ["❌ FAIL · `intent`", "❔ INCONCLUSIVE · `support`", "✅ PASS · `halueval`"]


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
    assert set(re.findall(r"<(/?\w+)", prose)) == {
        *(
            "details",
            "/details",
            "summary",
            "/summary",
            "b",
            "/b",
            "code",
            "/code",
            "span",
            "/span",
        ),
    }


def test_every_fold_that_is_opened_is_closed() -> None:
    prose = outside_code(markdown_report(reports.hostile()))
    assert prose.count("<details>") == prose.count("</details>") > 3


def test_a_report_without_prompts_says_that_nothing_was_measured() -> None:
    assert markdown_report(reports.report()).startswith("### ⛔ Nothing was evaluated.")


def test_the_pass_rate_stands_below_the_verdict_and_the_tags_that_regressed_come_first() -> None:
    page = markdown_report(reports.failing())
    first = page.split("\n\n")[1]
    assert first == (
        "**83.1% → 77.3%** · −5.8 (90% CI −8.9 to −3.1) · 6 improved, 24 regressed of 308"
    )
    tags = re.findall(r"^\| `#(\w+)` \| .* \| (\d+) regressed", page, flags=re.MULTILINE)
    assert tags == [("card", "17"), ("cash", "2")]


def test_the_cases_of_several_prompts_stand_below_their_names() -> None:
    page = markdown_report(reports.several())
    titles = re.findall(r"^\*\*Cases of\*\* `(.*)`$", page, flags=re.MULTILINE)
    assert titles == ["intent", "support"]
    assert "Cases of" not in markdown_report(reports.failing())


def test_a_partial_run_says_so() -> None:
    assert "> **Partial run (--tag card): shown, never evidence.**" in markdown_report(
        reports.interrupted()
    )


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
