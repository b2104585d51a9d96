"""Whole outputs: every renderer on every kind of report."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import canonicalize

import pytest
from rich.console import Console

from llmops_cli.core.report import Report
from llmops_cli.render.console import console_report
from llmops_cli.render.json import json_report
from llmops_cli.render.junit import junit_report
from llmops_cli.render.markdown import markdown_report
from tests import reports

EXPECTED = Path(__file__).parent / "expected"
REGENERATE = "REGENERATE_GOLDEN" in os.environ

REPORTS: dict[str, Callable[[], Report]] = {
    "passing": reports.passing,
    "failing": reports.failing,
    "inconclusive": reports.inconclusive,
    "incomplete": reports.incomplete,
    "no_baseline": reports.no_baseline,
    "several": reports.several,
    "interrupted": reports.interrupted,
    "hostile": reports.hostile,
    "enormous": reports.enormous,
}
SMALL = [name for name in REPORTS if name not in {"hostile", "enormous"}]


def printed(report: Report, *, width: int, encoding: str = "utf-8", verbose: bool = False) -> str:
    """What a log without colour holds."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    Console(file=file, width=width, no_color=True).print(console_report(report, verbose=verbose))
    file.flush()
    return raw.getvalue().decode(encoding)


def assert_is_golden(name: str, text: str) -> None:
    path = EXPECTED / name
    if REGENERATE:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    assert text == path.read_bytes().decode()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", REPORTS)
def test_the_console_shows_the_whole_report(name: str, width: int) -> None:
    assert_is_golden(f"{name}.{width}.txt", printed(REPORTS[name](), width=width))


@pytest.mark.parametrize("name", ["failing", "inconclusive"])
def test_a_console_that_knows_ascii_only_shows_the_same(name: str) -> None:
    text = printed(REPORTS[name](), width=80, encoding="ascii")
    assert_is_golden(f"{name}.ascii.txt", text)


def test_a_verbose_console_shows_every_score_and_passing_prompts() -> None:
    assert_is_golden("several.verbose.txt", printed(reports.several(), width=100, verbose=True))


@pytest.mark.parametrize("name", [*SMALL, "hostile"])
def test_a_job_summary_shows_the_whole_report(name: str) -> None:
    assert_is_golden(f"{name}.md", markdown_report(REPORTS[name]()))


@pytest.mark.parametrize("name", [*SMALL, "hostile"])
def test_junit_xml_shows_the_whole_report(name: str) -> None:
    report_text = junit_report(REPORTS[name]())
    assert report_text.startswith('<?xml version="1.0" encoding="utf-8"?>\n')
    # Which quotes in a text are escaped is Python's business: 3.13 writes fewer.
    assert_is_golden(f"{name}.xml", canonicalize(report_text))


@pytest.mark.parametrize("name", ["failing", "incomplete", "no_baseline"])
def test_json_holds_the_whole_report(name: str) -> None:
    assert_is_golden(f"{name}.json", json_report(REPORTS[name]()))
