"""A support bot that answers questions from help pages, with the prompt that production runs.

python support_bot.py "How long is a gift card valid?"
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from openai import OpenAI

from llmops_cli import load_prompt

HERE = Path(__file__).parent
log = logging.getLogger("support_bot")


class SupportBot:
    """Retrieves the passages that share most words with a question, and calls the model."""

    def __init__(self, client: OpenAI, pages: Sequence[str]) -> None:
        self._client = client
        self._pages = pages
        self._prompt = load_prompt("support@production")
        log.info("answering with %s (%s)", self._prompt, self._prompt.digest)

    def answer(self, question: str, earlier: Sequence[Mapping[str, str]] = ()) -> str:
        """Return the model's answer to `question`, after the `earlier` turns."""
        rendered = self._prompt.render(
            earlier, question=question, passages=self._passages(question)
        )
        reply = self._client.chat.completions.create(**rendered.openai())
        return reply.choices[0].message.content or ""

    def _passages(self, question: str, count: int = 2) -> list[str]:
        words = _words(question)
        return sorted(self._pages, key=lambda page: -len(words & _words(page)))[:count]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}", text.lower()))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    pages = (HERE / "help.txt").read_text(encoding="utf-8").splitlines()
    print(SupportBot(OpenAI(), pages).answer(" ".join(sys.argv[1:])))


if __name__ == "__main__":
    main()
