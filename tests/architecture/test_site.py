"""The pages as a site: links are right, each page is what it is on GitHub, nothing is fetched.

That the search works from a disk is seen in a browser, by tests/e2e/test_site_search.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.architecture.pages import ROOT

CONFIG = ROOT / "docs" / "site" / "mkdocs.yml"
SOURCES = sorted((ROOT / "docs").rglob("*.md"))
BUILT = {
    "tr", "li", "pre", "h1", "h2", "h3", "h4", "em", "strong", "img", "blockquote", "a", "code",
}  # fmt: skip
"""The elements that are counted."""
FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}


def built(config: Path, folder: Path) -> tuple[int, str]:
    """Exit code and complaints of `mkdocs build --strict`; with `-q` it would not be strict."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", folder],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    return done.returncode, "\n".join(complaints)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert built(CONFIG, folder) == (0, "")
    return folder


class Elements(HTMLParser):
    """The elements of a page, and of its article alone."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.article: Counter[str] = Counter()
        self.fetched: list[str] = []
        self._inside = False
        self._in_pre = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "article":
            self._inside = True
        address = attributes.get(FETCHED.get(tag, ""))
        if address and attributes.get("rel") not in {"prev", "next"}:
            self.fetched.append(address)
        if tag == "pre":
            self._in_pre = True
        ours = "headerlink" not in (attributes.get("class") or "")
        if self._inside and ours and not (self._in_pre and tag in {"code", "a"}):
            self.article[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._inside = False
        if tag == "pre":
            self._in_pre = False


def on_github(source: Path) -> Counter[str]:
    """The elements that CommonMark with tables makes of a page."""
    tags: Counter[str] = Counter()
    for token in MarkdownIt("commonmark").enable("table").parse(source.read_text("utf-8")):
        if token.type in {"fence", "code_block"}:
            tags["pre"] += 1
        for item in (token, *(token.children or ())):
            if item.nesting > 0 or item.type in {"image", "code_inline"}:
                tags[item.tag] += 1
    return tags


def page_of(site: Path, source: Path) -> str:
    path = source.relative_to(ROOT / "docs").with_suffix(".html")
    if path.stem == "README":
        path = path.with_name("index.html")
    return (site / path).read_text(encoding="utf-8")


def test_every_page_has_its_place_and_every_link_leads_somewhere(site: Path) -> None:
    assert {page_of(site, source).strip()[:15] for source in SOURCES} == {"<!doctype html>"}
    assert len(SOURCES) > 20


def test_a_page_has_the_same_elements_as_on_github(site: Path) -> None:
    differing = {}
    for source in SOURCES:
        here, there = Elements(page_of(site, source)).article, on_github(source)
        tags = {tag: (here[tag], there[tag]) for tag in BUILT if here[tag] != there[tag]}
        if tags:
            differing[source.name] = tags
    assert differing == {}


def test_a_link_out_of_the_pages_that_is_wrong_ends_the_build(tmp_path: Path) -> None:
    for name in ("docs/site", "docs"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in ("mkdocs.yml", "hooks.py"):
        text = (ROOT / "docs" / "site" / name).read_text(encoding="utf-8")
        text = re.sub(r"^nav:.*", "", text, flags=re.DOTALL | re.MULTILINE)
        (tmp_path / "docs" / "site" / name).write_text(text, encoding="utf-8")
    (tmp_path / "README.md").write_text("# here\n")
    page, site = tmp_path / "docs" / "index.md", tmp_path / "site"

    def checked(link: str) -> tuple[int, str]:
        page.write_text(f"# A page\n\nSee [it]({link}).\n", encoding="utf-8")
        return built(tmp_path / "docs" / "site" / "mkdocs.yml", site)

    assert checked("../README.md#here") == (0, "")
    address = "https://github.com/llmops-cli/llmops/blob/main/README.md#here"
    assert f'href="{address}"' in (site / "index.html").read_text(encoding="utf-8")
    assert checked("#nowhere")[0] == 1
    code, message = checked("../CHANGES.md")
    assert code == 1
    assert "CHANGES.md, which is not there" in message


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    fetched = [item for page in pages for item in Elements(page.read_text("utf-8")).fetched]
    assert len(fetched) > len(pages)
    assert [item for item in fetched if re.match(r"\w+:|//", item)] == []
