"""Measure how fast the HTML report loads, filters, searches and scrolls.

    python -m benchmarks.report_page --cases 10000

Writes a page of so many cases with two answers of about 700 characters each, opens it in a real
Chromium without a window and measures in the page itself: until the first screen is painted
(`first paint`), until the cases can be used (`usable`), until all texts are searchable, and from a
click or a key to the end of the next frame. Figures depend on the machine.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, ShownCase, ShownScore, ShownSide, ShownTrial
from llmops_cli.render.html.page import html_report
from tests import reports
from tests.browser import browser, opened

TEXT = (
    "the card payment was refunded to your account within five working days please check "
    "statement again and tell us when it has not arrived because a bank holiday may delay every "
    "transfer abroad where fees apply for cash withdrawals beyond the monthly limit"
)
WORDS = TEXT.split()
LENGTH = 110
"""Words of an answer."""
STEPS = 20

TIMED = """async () => {
  const times = [];
  for (let at = 0; at < %d; at += 1) {
    const began = performance.now();
    %s;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - began);
  }
  return times;
}"""
ACTIONS = {
    "another filter": 'document.querySelectorAll("button[data-show]")[at % 5].click()',
    "another search": """
        const box = document.getElementById("search");
        box.value = "bank holiday may d".slice(0, 3 + at % 15);
        box.dispatchEvent(new Event("input"))""",
    "scroll by 40 rows": 'document.querySelector(".list").scrollTop = at * 40 * 56',
    "next case": 'document.dispatchEvent(new KeyboardEvent("keydown", {key: "j", bubbles: true}))',
}


def records(count: int) -> Iterator[ShownCase]:
    """Return cases of which a tenth regressed; the answers of a side differ by a few words."""
    chance = random.Random(7)
    for at in range(count):
        before = chance.choices(WORDS, k=LENGTH)
        after = [word if chance.random() < 0.9 else chance.choice(WORDS) for word in before]
        lost = at < count // 10
        yield ShownCase(
            prompt="support",
            evalset="questions",
            case=f"case-{at:06}",
            change="regressed" if lost else None,
            inputs={"question": " ".join(chance.choices(WORDS, k=20)) + f" {at}?"},
            expected=" ".join(chance.choices(WORDS, k=12)),
            tags=(chance.choice(("card", "cash", "transfer", "fees")),),
            candidate=_side(" ".join(after), right=not lost),
            baseline=_side(" ".join(before), right=True),
        )


def _side(text: str, *, right: bool) -> ShownSide:
    scores = (
        ShownScore(label="contains", value=float(right), passed=right, reason="as expected"),
        ShownScore(label="tone", value=1.0, passed=True, reason="Polite, and offers help."),
    )
    trial = ShownTrial(text=text, scores=scores, input_tokens=212, output_tokens=140, cost=0.0003)
    return ShownSide(passed=float(right), trials=(trial,))


def written(path: Path, count: int) -> tuple[float, float]:
    """Seconds and peak megabytes that writing the page took."""
    report = reports.failing()
    made = list(records(count))
    began = time.perf_counter()
    pieces = html_report(report, CaseStream(count, iter(made)), redact=Redactor())
    with path.open("w", encoding="utf-8") as file:
        file.writelines(pieces)
    seconds = time.perf_counter() - began
    del made
    tracemalloc.start()
    for _ in html_report(report, CaseStream(count, records(count)), redact=Redactor()):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak / 1e6


def measured(path: Path) -> Iterator[tuple[str, str]]:
    """Return the times of the page, in milliseconds."""
    with browser() as running, opened(running, path) as (page, _):
        page.wait_for_selector("html[data-ready]")
        timings: dict[str, Any] = page.evaluate(
            """() => ({paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
                       usable: performance.getEntriesByName("usable")[0].startTime})"""
        )
        yield "first paint", f"{timings['paint']:.0f} ms"
        yield "usable", f"{timings['usable']:.0f} ms"
        searchable = None
        while searchable is None:  # the page's policy forbids Playwright's own waiting
            page.wait_for_timeout(50)
            searchable = page.evaluate('performance.getEntriesByName("searchable")[0]?.startTime')
        yield "all texts searchable", f"{searchable:.0f} ms"
        for name, action in ACTIONS.items():
            times = page.evaluate(TIMED % (STEPS, action))
            yield name, f"{statistics.median(times):.0f} ms, at most {max(times):.0f} ms"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    count: int = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        seconds, megabytes = written(path, count)
        print(f"| {count:,} cases | |\n|---|---|")
        print(f"| writing the page | {seconds:.1f} s, {megabytes:.0f} MB of memory |")
        print(f"| its size | {path.stat().st_size / 1e6:.1f} MB |")
        for name, said in measured(path):
            print(f"| {name} | {said} |")


if __name__ == "__main__":
    main()
