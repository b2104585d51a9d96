"""What a stranger's JSON says: parsed without trust, its counts and arguments as they can be kept.

No client is needed here, so recorded answers are read by the same rules as those of a server.
"""

from __future__ import annotations

import json
from typing import NoReturn, cast

from llmops_cli.core.digest import Json
from llmops_cli.core.result import Failure, FailureKind

MOST_TOKENS = 10**12
"""No call has so many: a count beyond it is none, and no sum, price or rate is made of it."""


def parsed(raw: bytes) -> Json:
    """The JSON in `raw`, a byte order mark passed over; None for what is no JSON."""
    try:
        return cast("Json", json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number))
    except (ValueError, RecursionError):
        return None


def arguments(text: object) -> Json:
    """A tool call's arguments parsed from JSON; the text itself where it is none."""
    if not isinstance(text, str):
        return cast("Json", text)
    try:
        return cast("Json", json.loads(text, parse_constant=_no_number))
    except (ValueError, RecursionError):
        return text


def count(value: object) -> int | None:
    """A token count as servers report it; None for what is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None


def unusable(what: str) -> Failure:
    """An answer that is JSON but not what the API promises."""
    return unreadable(f"the answer is not a whole one: {what}")


def unreadable(message: str) -> Failure:
    """An answer that says nothing that can be used; another may."""
    return Failure(kind=FailureKind.BAD_ANSWER, message=message, status=200, retryable=True)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
