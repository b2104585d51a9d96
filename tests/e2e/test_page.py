"""The HTML report in a real Chromium: what readers see, press and request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests import reports
from tests.browser import NARROW, browser, opened
from tests.hostile import HOSTILE
from tests.pages import mixed, page, record, side
from tests.projects import Project, make_project
from tests.servers.faulty import FaultServer

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.slow]

CONTRAST, STRUCTURE = (
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("contrast.js", "structure.js")
)
CANARY = 'canary-"key"-<4>&more'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A failing prompt with forty cases."""
    return page(tmp_path_factory.mktemp("pages") / "failing.html", reports.failing(), mixed(40))


def texts(at: Page, selector: str) -> list[str]:
    return [item.strip() for item in at.locator(selector).all_inner_texts()]


def chosen(at: Page) -> str:
    return at.locator(".detail h3").inner_text()


def count(at: Page) -> str:
    return at.locator(".count").inner_text()


# What is seen first ---------------------------------------------------------------------------


def test_the_first_screen_says_what_happened_why_and_what_to_do(
    running: Browser, failing: Path
) -> None:
    with opened(running, failing) as (at, seen):
        assert texts(at, "h1") == ["FAIL intent does not pass the gate"]
        for words in (
            "1 of 12 critical cases fails",
            "statistically significant regression",
            "llmops diff",
        ):
            box = at.get_by_text(words).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < 900, words
        assert at.get_by_role("img", name="−5.8 points, interval −8.9 to −3.1").count() == 1
    assert (seen.requests, seen.logged, seen.dialogs) == ([], [], [])


def test_without_script_the_verdict_its_reasons_and_the_worst_cases_are_there(
    running: Browser, tmp_path: Path
) -> None:
    file = page(tmp_path / "page.html", reports.failing())
    with opened(running, file, java_script_enabled=False) as (at, _):
        text = at.locator("main").inner_text()
        assert "statistically significant regression" in text
        assert "b77-0211" in texts(at, "noscript tbody th") or "b77-0211" in text
        assert at.locator("#explorer").is_hidden()
        assert "card_payment_not_recognised" in text


def test_sixty_prompts_stand_in_one_table_worst_first_and_lead_to_their_reasons(
    running: Browser, tmp_path: Path
) -> None:
    good, bad = reports.passing().prompts[0], reports.failing().prompts[0]
    many = [replace(good, prompt=f"prompt-{at:02}") for at in range(58)]
    worse = [replace(bad, prompt=f"worse-{at}") for at in range(2)]
    file = page(tmp_path / "page.html", reports.report(*many, *worse))
    with opened(running, file) as (at, _):
        assert texts(at, "h1") == ["FAIL 2 of 60 prompts do not pass the gate"]
        assert texts(at, "header tbody th")[:3] == ["worse-0", "worse-1", "prompt-00"]
        second = at.locator("#prompt-1 .reasons")
        assert not second.is_visible()
        at.locator("#prompt-1 summary").first.click()
        assert second.is_visible()
        at.get_by_role("link", name="prompt-57").click()
        assert (
            at.locator("#prompt-59 .reasons").is_visible()
            or at.locator("#prompt-59 summary").first.is_visible()
        )


def test_on_paper_it_is_dark_on_white_and_without_what_cannot_be_pressed(
    running: Browser, failing: Path
) -> None:
    with opened(running, failing, color_scheme="dark") as (at, _):
        at.emulate_media(media="print", color_scheme="dark")
        ground = at.locator("body").evaluate("it => getComputedStyle(it).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert not at.get_by_label("Search all texts").is_visible()
        assert at.locator(".detail").is_visible()


# Cases ----------------------------------------------------------------------------------------


FILTERS = {"Flipped": 6, "Regressed": 4, "Improved": 1, "Failed": 5, "Critical": 1, "Unmeasured": 1}


def test_filters_show_the_cases_that_they_name(running: Browser, failing: Path) -> None:
    with opened(running, failing) as (at, _):
        assert count(at) == "40 cases, worst first"
        for name, cases in FILTERS.items():
            at.get_by_role("button", name=f"{name} {cases}").click()
            assert count(at) == f"{cases} of 40 cases"
            assert at.locator(".row").count() == cases


def test_cases_are_chosen_by_tag_by_scorer_and_by_any_word_of_them(
    running: Browser, failing: Path
) -> None:
    with opened(running, failing) as (at, _):
        at.get_by_label("Any tag").select_option("#cash")
        assert (count(at), chosen(at)) == ("1 of 40 cases", "improved-0")
        at.get_by_label("Any tag").select_option("Any tag")
        at.get_by_label("Failed by any scorer").select_option("tone")
        assert count(at) == "5 of 40 cases"
        at.get_by_label("Failed by any scorer").select_option("Failed by any scorer")
        at.get_by_label("Search all texts").fill("SERVER WAS down")
        assert (count(at), chosen(at)) == ("1 of 40 cases", "unmeasured-0")
        at.get_by_label("Search all texts").fill("no such word")
        assert texts(at, ".detail") == ["No case fits these filters."]


def test_keys_go_from_case_to_case_search_and_clear(running: Browser, failing: Path) -> None:
    with opened(running, failing) as (at, seen):
        assert chosen(at) == "critical-0"
        at.keyboard.press("j")
        at.keyboard.press("j")
        at.keyboard.press("k")
        assert chosen(at) == "regressed-0"
        at.keyboard.press("/")
        at.keyboard.type("jk?")
        assert count(at) == "0 of 40 cases"
        at.keyboard.press("Escape")
        assert count(at) == "40 cases, worst first"
        at.keyboard.press("End")
        assert chosen(at) == "passing-32"
        at.keyboard.press("?")
        assert at.get_by_role("dialog").is_visible()
        at.get_by_role("button", name="Close").click()
        assert not at.get_by_role("dialog").is_visible()
    assert seen.logged == []


def test_a_link_opens_its_case_and_the_address_follows_the_reader(
    running: Browser, failing: Path
) -> None:
    with opened(running, failing, "#case=regressed-2&show=regressed&q=what%20about") as (at, _):
        assert (chosen(at), count(at)) == ("regressed-2", "4 of 40 cases")
        at.keyboard.press("j")
        assert at.evaluate("location.hash") == "#case=regressed-3&show=regressed&q=what%20about"
        at.evaluate('location.hash = "#case=gone"')
        at.wait_for_timeout(50)
        assert "The case gone is not in this page" in count(at)
    with opened(running, failing) as (at, _):
        assert at.get_by_role("link", name="b77-0211").get_attribute("href") == (
            "#case=b77-0211&prompt=intent&evalset=banking77"
        )


def test_the_answers_stand_side_by_side_with_what_changed_marked(
    running: Browser, tmp_path: Path
) -> None:
    case = record(
        "refund",
        "regressed",
        contexts=("Refunds take 14 days.",),
        baseline=side("You get your money back within 14 days.", passed=1.0, reason="Polite."),
        candidate=side(
            "You get your money within a year.", "You get it.", passed=0.4, reason="Rude."
        ),
    )
    file = page(tmp_path / "page.html", reports.failing(), [case])
    with opened(running, file) as (at, _):
        assert texts(at, "[data-side=baseline] .text") == [
            "You get your money back within 14 days."
        ]
        assert texts(at, ".detail del") == ["back", "14 days"]
        assert texts(at, ".detail ins") == ["a year"]
        at.get_by_role("button", name="trial 2").click()
        assert texts(at, "[data-side=candidate] .text") == ["You get it."]
        assert texts(at, ".detail del") == []
        assert texts(at, ".scores tbody td") == ["✓ 1\nPolite.", "✗ 0\nRude."]
        assert "Refunds take 14 days." in texts(at, ".text")


def test_of_many_cases_only_the_visible_rows_exist_and_nothing_moves(
    running: Browser, tmp_path: Path
) -> None:
    file = page(tmp_path / "page.html", reports.failing(), mixed(2_000))
    with opened(running, file) as (at, _):
        at.locator(".list").evaluate("list => { list.scrollTop = 1500 * 56 }")
        at.wait_for_timeout(100)
        rows = texts(at, ".row .name")
        assert "passing-1300" in rows
        assert len(rows) < 40
        assert at.evaluate(SHIFTS) == 0


SHIFTS = """() => new Promise((done) => {
  const sum = (list) => list.getEntries().reduce((total, each) => total + each.value, 0);
  const observer = new PerformanceObserver((list) => done(sum(list)));
  observer.observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(0), 200);
})"""


# Everybody ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "viewport", [{"width": 1280, "height": 900}, NARROW], ids=["wide", "narrow"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_can_be_read_by_everybody(
    running: Browser, tmp_path: Path, scheme: Any, viewport: Any
) -> None:
    file = page(tmp_path / "page.html", reports.several(), [*mixed(20), *mixed_up()])
    with opened(running, file, color_scheme=scheme, viewport=viewport) as (at, _):
        at.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        low = at.evaluate(CONTRAST)
        at.keyboard.press("End")
        low += at.evaluate(CONTRAST)
        structure = at.evaluate(STRUCTURE)
    assert low == []
    assert structure == {
        "nameless": [],
        "headings": 1,
        "skipped": 0,
        "twice": [],
        "landmarks": ["header", "main", "footer"],
        "bare": 0,
        "language": "en",
        "wide": False,
    }


def mixed_up() -> Iterator[Any]:
    """A case with every kind of part."""
    yield record("last", "failing", known_failing="a bug", contexts=("one",), tags=("card",))


# Strangers' texts -----------------------------------------------------------------------------

TEXTS = {**HOSTILE, **{f"report's {name}": text for name, text in reports.HOSTILE.items()}}
MARKUP = (
    "img, iframe, object, embed, link, base, [onerror], "
    "form:not([method=dialog]), a:not([href^='#'])"
)


def test_no_text_of_a_stranger_runs_loads_opens_or_becomes_markup(
    running: Browser, tmp_path: Path
) -> None:
    records = [
        record(
            f"{at} {text[:200]}",
            "regressed",
            inputs={text[:60] or "empty": text},
            expected=text,
            contexts=(text,),
            tags=(text[:50],),
            candidate=side(text, passed=0.0, reason=text, label=text[:50]),
            baseline=side(text[::-1], passed=1.0, reason=text),
        )
        for at, text in enumerate(TEXTS.values())
    ]
    file = page(tmp_path / "page.html", reports.hostile(), records)
    with opened(running, file) as (at, seen):
        at.keyboard.press("End")
        for _ in records:
            assert at.locator(MARKUP).count() == 0
            at.keyboard.press("k")
        assert at.locator("script:not([type='application/json'])").count() == 1
        at.get_by_label("Search all texts").fill("</script><script>alert(1)")
        assert count(at) == f"1 of {len(TEXTS)} cases"
        assert "</script><script>alert(1)</script>" in texts(at, ".detail .text")[0]
    assert (seen.requests, seen.logged, seen.dialogs) == ([], [], [])


def test_the_policy_of_the_page_lets_no_other_script_run_and_nothing_be_fetched(
    running: Browser, failing: Path, tmp_path: Path
) -> None:
    text = failing.read_text(encoding="utf-8")
    bad = (
        '<script>alert("x")</script><img src="https://evil.example/x.png">'
        "<style>h1 {color: red}</style>"
    )
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("<header>", f"{bad}<header>"), encoding="utf-8")
    with opened(running, broken) as (at, seen):
        assert at.locator("h1").evaluate("it => getComputedStyle(it).color") != "rgb(255, 0, 0)"
        assert at.evaluate("() => { try { document.body.innerHTML = '<b>'; return 'set' }"
                           " catch { return 'refused' } }") == "refused"  # fmt: skip
    assert seen.dialogs == []
    assert seen.requests == seen.refused == ["https://evil.example/x.png"]


def test_a_secret_is_in_no_part_of_the_page(tmp_path: Path) -> None:
    text = f"it is {CANARY}"
    case = record(
        text,
        "regressed",
        inputs={text: text},
        expected={"a": text},
        tags=(text,),
        baseline=side(f"{CANARY} it is", passed=1.0),
        candidate=side("it is " + "x" * 7_985 + CANARY, passed=0.0, reason=text, label=text),
    )
    told_by = replace(reports.failing(), notes=(text,), partial=text)
    file = page(tmp_path / "page.html", told_by, [case], secrets=[CANARY])
    html = file.read_text(encoding="utf-8")
    assert "canary" not in html
    assert html.count("[redacted]") > 9


# From the command line ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run of twenty cases that fails, its page and its run file."""
    with FaultServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        built = make_project(tmp_path_factory.mktemp("project"), server.url, cases=60)
        built.promote_v1()
        built.prompt(system="Answer.", user="{{ question }}!")
        done = built.run("eval", "--html", "page.html", "--out", "run.jsonl.gz")
        assert done.code == 1, done.text
    return built


def test_eval_writes_a_page_with_every_case_and_a_run_file_gives_the_same(
    running: Browser, project: Project
) -> None:
    assert project.run("report", "run.jsonl.gz", "--html", "again.html").code == 1
    for name in ("page.html", "again.html"):
        with opened(running, project.root / name) as (at, seen):
            assert count(at) == "60 cases, worst first"
            at.get_by_role("button", name="Regressed 60").click()
            assert chosen(at) == "c000"
            assert texts(at, ".detail ins") == ["!"]
        assert seen.logged == []


def test_a_page_says_how_and_when_its_run_was_made_and_one_of_an_earlier_run_does_not(
    running: Browser, project: Project
) -> None:
    assert project.run("report", "--html", "earlier.html").code == 1
    with opened(running, project.root / "page.html") as (at, _):
        (about,) = texts(at, "#about-run .about")
        assert re.match(r"llmops .*--html page.html.* · 20\d\d-\d\d-\d\d \d\d:\d\d UTC", about)
    with opened(running, project.root / "earlier.html") as (at, _):
        assert at.locator("#about-run .about").count() == 0


def test_the_last_run_is_shown_in_the_browser_that_there_is(project: Project) -> None:
    told_to = project.root / "opened.txt"
    program = project.write("browse", f'#!/bin/sh\nprintf %s "$1" > {told_to}\n')
    program.chmod(0o755)
    result = project.run("report", "--open", env={"BROWSER": str(program)})
    page_file = project.root / ".llmops/store/report.html"
    assert result.code == 1
    assert told_to.read_text() == page_file.as_uri()
    store = {"LLMOPS_STORE": ".llmops/store"}  # which a CI job has elsewhere
    on_ci = project.run("report", "--open", env={"BROWSER": str(program), "CI": "true", **store})
    assert f"page: {page_file}" in on_ci.text
