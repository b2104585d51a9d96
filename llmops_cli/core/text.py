"""Find control characters that an escape in double quotes put into a file by accident."""

from __future__ import annotations

import re
from collections.abc import Mapping

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
ESCAPES: Mapping[str, str] = {
    "\x00": r"\0", "\x07": r"\a", "\x08": r"\b", "\x0b": r"\v", "\x0c": r"\f", "\x1b": r"\e",
    "\x85": r"\N", "\u2028": r"\L", "\u2029": r"\P",
}  # fmt: skip
"""Control characters and the escape in double quotes that makes them."""


def control_character(value: object) -> tuple[str, str] | None:
    r"""Return what is wrong with a text, or a list of texts, that holds a control character.

    Message and hint; None if there is none. In YAML `"\bword\b"` is a pattern with two
    backspaces in it: it matches no answer, and its negation every one.
    """
    for text in value if isinstance(value, (list, tuple)) else (value,):
        match = CONTROL.search(text) if isinstance(text, str) else None
        if match is not None:
            escape = ESCAPES.get(match[0])
            became = f', which is what "{escape}" means in double quotes' if escape else ""
            message = f"holds the control character U+{ord(match[0]):04X}{became}"
            return message, "use single quotes, or a second backslash"
    return None
