"""Rewrite the pages' links so that they work on the site as on GitHub.

Links to files outside of docs/ become GitHub URLs. A link to a missing file is a warning, which
fails the build with `--strict`.
"""  # noqa: INP001 - loaded by mkdocs by its path

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
ADDRESS = "https://github.com/llmops-cli/llmops"
_LINK = re.compile(r"\]\((?P<path>\.\./[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_log = logging.getLogger("mkdocs.hooks.llmops")


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Return the page with its links out of docs/ replaced by GitHub URLs."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def address(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match["path"]))
        if target.startswith("docs/"):
            return match[0]
        if not (ROOT / target).exists():
            _log.warning("%s links to %s, which is not there", page.file.src_uri, target)
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"]({ADDRESS}/{kind}/main/{target}{match['anchor'] or ''})"

    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(address, part) for part in parts[::2]]
    return "".join(parts)
