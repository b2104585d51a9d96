"""A minimal application that finds the page about a country and quotes it."""

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
    """Return the answer, the ids of the pages it comes from, and their texts."""
    words = inputs["question"].rstrip("?").split()
    ids = [name for name, page in PAGES.items() if words[-1] in page]
    text = PAGES[ids[0]] if ids else "I do not know."
    return {"text": text, "ids": ids, "contexts": [PAGES[name] for name in ids]}
