"""Whole outputs: every renderer on every kind of report."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree.ElementTree import canonicalize

import pytest

from llmops_cli.render.console import console_report
from llmops_cli.render.json import json_report
from llmops_cli.render.junit import junit_report
from llmops_cli.render.markdown import markdown_report
from tests import reports
from tests.unit.render.test_console import printed

EXPECTED = Path(__file__).parent / "expected"
REGENERATE = "REGENERATE_GOLDEN" in os.environ


def assert_is_golden(name: str, text: str) -> None:
    path = EXPECTED / name
    if REGENERATE:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    assert text == path.read_bytes().decode()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", reports.ALL)
def test_the_console_shows_the_whole_report(name: str, width: int) -> None:
    assert_is_golden(f"{name}.{width}.txt", printed(console_report(reports.ALL[name]), width=width))


@pytest.mark.parametrize("name", ["failing", "inconclusive"])
def test_a_console_that_knows_ascii_only_shows_the_same(name: str) -> None:
    text = printed(console_report(reports.ALL[name]), encoding="ascii")
    assert_is_golden(f"{name}.ascii.txt", text)


def test_a_verbose_console_shows_every_score_and_passing_prompts() -> None:
    assert_is_golden(
        "several.verbose.txt", printed(console_report(reports.several(), verbose=True), width=100)
    )


@pytest.mark.parametrize("name", [*reports.SMALL, "hostile"])
def test_a_job_summary_shows_the_whole_report(name: str) -> None:
    assert_is_golden(f"{name}.md", markdown_report(reports.ALL[name]))


@pytest.mark.parametrize("name", [*reports.SMALL, "hostile"])
def test_junit_xml_shows_the_whole_report(name: str) -> None:
    report_text = junit_report(reports.ALL[name])
    assert report_text.startswith('<?xml version="1.0" encoding="utf-8"?>\n')
    # Which quotes in a text are escaped is Python's business: 3.13 writes fewer.
    assert_is_golden(f"{name}.xml", canonicalize(report_text))


@pytest.mark.parametrize("name", ["failing", "incomplete", "no_baseline"])
def test_json_holds_the_whole_report(name: str) -> None:
    assert_is_golden(f"{name}.json", json_report(reports.ALL[name]))
