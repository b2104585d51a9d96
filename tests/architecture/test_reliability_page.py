"""The page of promises names tests that exist, and a promise without a test is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_that_the_reliability_page_names_is_there(repo_root: Path, page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {
        name
        for file in (repo_root / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 150
    assert named - there == set()


def test_every_promise_names_a_test(page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.count(" | ") == 2]
    promises = [row for row in rows if row.endswith("|") and "| promise |" not in row]
    kinds = page[page.index("## What a failed call says") :]
    without = [row for row in promises if "`test_" not in row and row not in kinds]
    assert len(promises) > 80
    assert without == []
