from __future__ import annotations

import re
from pathlib import Path


def test_every_test_that_the_reliability_page_names_is_there(repo_root: Path) -> None:
    page = (repo_root / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {
        name
        for file in (repo_root / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 50
    assert named - there == set()
