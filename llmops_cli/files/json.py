"""Reads JSON as plain data that can be compared: what JSON lets through by accident is refused.

Duplicate keys, NaN and infinities (also by overflow: `1e999`), integers beyond what numbers carry
exactly, halves of surrogate pairs, and nesting deeper than YAML may have.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any, NoReturn

from llmops_cli.core.digest import SAFE_INTEGER

MAX_DEPTH = 50
"""Levels of lists and mappings, in JSON and in YAML."""


class NotPlain(ValueError):
    """What JSON allows and a comparison does not."""


def load_json(text: str) -> Any:
    """The value of one JSON text.

    Raises `json.JSONDecodeError` for what is no JSON, and `NotPlain`.
    """
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise NotPlain("nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise NotPlain("nested too deeply")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise NotPlain("half of a surrogate pair: not text that can be sent") from None
    return value


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, (list, dict)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(each, levels - 1) for each in inner)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = {sys.intern(key): value for key, value in pairs}  # rows repeat their keys
    if len(built) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotPlain(f"the key '{twice}' is here twice")
    return built


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(text)
    return number


def _exact(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) > SAFE_INTEGER:
        raise NotPlain(f"{text[:20]} is too large for an exact number: write it as text")
    return number


def _refuse(text: str) -> NoReturn:
    raise NotPlain(f"{text} is not a number that can be compared")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_exact, parse_constant=_refuse
)
