"""Finds options that expect nothing: no answer could be wrong by them, or none could be scored.

Asked by `check` before any call. It is light: no scorer and no library is loaded for it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_cli.core.ports import PluginContext

EMPTY_LIST = "an empty list expects nothing: leave it out, or name a text"


def check_expected(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Check scorers that compare with one text, or one of a list: is anything expected?"""
    return EMPTY_LIST if options.get("value") == [] else None


def check_part(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Check scorers of a part of the answer: is the part not in every answer?"""
    if [] in (options.get("value"), options.get("all")):
        return EMPTY_LIST
    parts = [*texts(options.get("value")), *texts(options.get("all"))]
    if any(_nothing_left(part, options) for part in parts):
        return "the expected text is empty, and so in every answer"
    return None


def check_phrases(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Check that every phrase of refusal has a word."""
    if all(phrase.strip() for phrase in options.get("phrases", ())):
        return None
    return "an empty phrase is in every answer"


def texts(value: object) -> Sequence[str]:
    """Return the texts of an option that is one, a list of them or left out."""
    if value is None:
        return ()
    return [str(text) for text in (value if isinstance(value, (list, tuple)) else [value])]


def _nothing_left(text: str, options: Mapping[str, Any]) -> bool:
    """Return whether nothing of `text` is compared, by what the options ignore."""
    if options.get("ignore_punctuation"):
        text = "".join(char for char in text if unicodedata.category(char)[0] not in "PS")
    return not (text.strip() if options.get("ignore_space") else text)
