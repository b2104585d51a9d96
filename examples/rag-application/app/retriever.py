"""Find the pages for a question with BM25."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

PAGES = Path(__file__).parents[1] / "pages.jsonl"
SATURATION, LENGTH = 1.2, 0.75
"""k1 and b of BM25 (Robertson & Zaragoza, 2009)."""


class Retriever:
    """Searches all pages, in memory."""

    def __init__(self, file: Path = PAGES) -> None:
        pages = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        self._pages = [(page["id"], page["text"], Counter(words(page["text"]))) for page in pages]
        self._mean = sum(counts.total() for _, _, counts in self._pages) / len(self._pages)
        self._in_pages = Counter(word for _, _, counts in self._pages for word in counts)

    def search(self, question: str, *, top: int = 3) -> list[tuple[str, str]]:
        """Return id and text of the `top` pages, best first."""
        terms = set(words(question))
        ranked = sorted(self._pages, key=lambda page: (-self._score(terms, page[2]), page[0]))
        return [(name, text) for name, text, _ in ranked[:top]]

    def _score(self, terms: set[str], counts: Counter[str]) -> float:
        length = 1 - LENGTH + LENGTH * counts.total() / self._mean
        return sum(
            self._rarity(word)
            * (counts[word] * (SATURATION + 1) / (counts[word] + SATURATION * length))
            for word in terms
            if word in counts
        )

    def _rarity(self, word: str) -> float:
        pages = self._in_pages[word]
        return math.log(1 + (len(self._pages) - pages + 0.5) / (pages + 0.5))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
