"""The search of the documentation site works from a disk, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.test_site import CONFIG, built
from tests.browser import browser, opened

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.slow]


def test_the_search_finds_a_word_from_a_disk_without_a_request(tmp_path: Path) -> None:
    assert built(CONFIG, tmp_path) == (0, "")
    with browser() as running, opened(running, tmp_path / "concepts.html") as (page, seen):
        page.locator("input[name=query]").click()
        page.keyboard.type("quarantine")
        page.locator(".md-search-result__item").first.wait_for(timeout=20_000)
        elsewhere = [
            request for request in seen.requests if not request.startswith(tmp_path.as_uri())
        ]
    assert elsewhere == []
    assert seen.logged == []
