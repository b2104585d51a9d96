"""Every row of docs/reliability.md and docs/security.md names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.architecture.pages import ROOT, read

LEAST = {"docs/reliability.md": (150, 80), "docs/security.md": (40, 19)}
"""How many tests and rows each page has at least."""


def rows(page: str) -> list[list[str]]:
    """The cells of every row of the page's tables that end with a column of tests."""
    text = re.sub(r"^## Failure kinds.*", "", read(page), flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [cells for cells in lines if cells[-1] != "test"]


@pytest.mark.parametrize("page", LEAST)
def test_every_test_named_on_the_page_exists(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", read(page)))
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))
    }
    assert len(named) > LEAST[page][0]
    assert named - defined == set()


@pytest.mark.parametrize("page", LEAST)
def test_every_row_names_a_test(page: str) -> None:
    assert len(rows(page)) > LEAST[page][1]
    assert [cells for cells in rows(page) if "`test_" not in cells[-1]] == []


def test_every_attack_has_its_actor_asset_and_promise_in_order() -> None:
    attacks = rows("docs/security.md")
    assert all(len(cells) == 6 and all(cells) for cells in attacks)
    numbers = [int(cells[0]) for cells in attacks]
    assert numbers == sorted(numbers)
