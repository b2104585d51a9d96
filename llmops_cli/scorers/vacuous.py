"""Options that expect nothing: no answer could be wrong by them, or none could be scored.

Seen by `check`, before any call. Nothing that scores is loaded for it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_cli.core.ports import World

EMPTY_LIST = "an empty list expects nothing: leave it out, or name a text"


def check_expected(options: Mapping[str, Any], _world: World) -> str | None:
    """Whether something is expected: for scorers that compare with one text, or one of a list."""
    return EMPTY_LIST if options.get("value") == [] else None


def check_part(options: Mapping[str, Any], _world: World) -> str | None:
    """Whether what must be in an answer is not in every one: for scorers of a part of it."""
    if [] in (options.get("value"), options.get("all")):
        return EMPTY_LIST
    parts = [*texts(options.get("value")), *texts(options.get("all"))]
    if any(_nothing_left(each, options) for each in parts):
        return "the expected text is empty, and so in every answer"
    return None


def check_phrases(options: Mapping[str, Any], _world: World) -> str | None:
    """Whether the words of refusal are words."""
    if all(each.strip() for each in options.get("phrases", ())):
        return None
    return "an empty phrase is in every answer"


def check_tool(options: Mapping[str, Any], _world: World) -> str | None:
    """Whether a tool is named."""
    return "a tool has a name" if options.get("tool") == "" else None


def texts(value: object) -> Sequence[str]:
    """The texts of an option that is one, a list of them or left out."""
    if value is None:
        return ()
    return [str(each) for each in (value if isinstance(value, (list, tuple)) else [value])]


def _nothing_left(text: str, options: Mapping[str, Any]) -> bool:
    """Whether nothing of `text` is compared, by what the options ignore."""
    if options.get("ignore_punctuation"):
        text = "".join(each for each in text if unicodedata.category(each)[0] not in "PS")
    return not (text.strip() if options.get("ignore_space") else text)
