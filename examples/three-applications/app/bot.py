"""An application small enough to read: it finds the page about a country, and quotes it."""

from __future__ import annotations

from typing import Any

PAGES = {
    "fr": "Paris is the capital of France.",
    "it": "Rome is the capital of Italy.",
    "pe": "Lima is the capital of Peru.",
    "ke": "Nairobi is the capital of Kenya.",
    "jp": "Tokyo is the capital of Japan.",
    "no": "Oslo is the capital of Norway.",
}


def answer(inputs: dict[str, Any]) -> dict[str, Any]:
    """The first sentence about what is asked, and the pages that it comes from."""
    words = inputs["question"].rstrip("?").split()
    found = [name for name, page in PAGES.items() if words[-1] in page]
    text = PAGES[found[0]] if found else "I do not know."
    return {"text": text, "ids": found, "contexts": [PAGES[name] for name in found]}
