"""How a reason quotes what it is about: short and escaped, since model text is hostile."""

from __future__ import annotations

from collections.abc import Sequence

QUOTED = 120
"""Characters of model output that a reason shows at most."""


def quoted(text: str, limit: int = QUOTED) -> str:
    """The start of `text` in quotes, control and other unprintable characters escaped."""
    return repr(text) if len(text) <= limit else repr(text[:limit]) + " …"


def quoted_any(texts: Sequence[str]) -> str:
    """`'a'`, or `one of 'a', 'b', 'c' and 7 more`."""
    if len(texts) == 1:
        return quoted(texts[0])
    shown = ", ".join(quoted(each, 40) for each in texts[:3])
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"one of {shown}{more}"
