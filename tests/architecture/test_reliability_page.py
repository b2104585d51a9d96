"""Every row of docs/reliability.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_named_on_the_page_exists(repo_root: Path, page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", page))
    defined = {
        name
        for file in (repo_root / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 150
    assert named - defined == set()


def test_every_row_names_a_test(page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.count(" | ") == 2]
    behaviors = [row for row in rows if row.endswith("|") and "| behavior |" not in row]
    kinds = page[page.index("## Failure kinds") :]
    without = [row for row in behaviors if "`test_" not in row and row not in kinds]
    assert len(behaviors) > 80
    assert without == []
