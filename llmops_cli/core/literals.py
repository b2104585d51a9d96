"""What a person wrote in a file: numbers as they are spelled, and control characters by accident.

A file's number is used in two ways. Where it is a number (a margin, a JSON answer) its value
counts; where it is text (an expected answer, an input printed into a prompt) its spelling counts.
`number` gives a value that serves both: an int or float whose `str` is the literal, so that 3.10 is
equal to 3.1 and reads "3.10". Numbers that Python and JSON would write just like that stay plain.

Every key over canonical JSON of something that is used as text adds `literals` of it, because
canonical JSON writes numbers by value: `1.0` and `1` are the same there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from llmops_cli.core.digest import Json


class _Literal:
    literal: str

    def __str__(self) -> str:
        return self.literal


class LiteralInt(_Literal, int):
    """An integer with the text that stood in the file: `0x1F`, `+5`."""


class LiteralFloat(_Literal, float):
    """A float with the text that stood in the file: `3.10`, `1e3`."""


def number(value: float, literal: str) -> int | float:
    """Return `value`, an int or float, with `literal` as its text where that says more."""
    if isinstance(value, int):
        alike = literal == str(value)
    else:  # Python and canonical JSON both write it like this
        alike = literal == repr(value) and 1e-4 <= abs(value) < 1e15 and not value.is_integer()
    if alike:
        return value
    spelled = LiteralInt(value) if isinstance(value, int) else LiteralFloat(value)
    spelled.literal = literal
    return spelled


def literals(value: Json) -> dict[str, Json]:
    """Return the literal of every number in `value` that has one, by its JSON pointer."""
    return dict(_literals(value, ""))


def restored(value: Json, written: Mapping[str, Json], pointer: str = "") -> Json:
    """Return `value`, which is at `pointer`, with the literals that `literals` listed."""
    if not written:
        return value
    if isinstance(value, Mapping):
        return {
            name: restored(inner, written, f"{pointer}/{_escaped(name)}")
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [restored(item, written, f"{pointer}/{at}") for at, item in enumerate(value)]
    literal = written.get(pointer)
    if isinstance(literal, str) and isinstance(value, (int, float)):
        return number(value, literal)
    return value


def with_literals(value: Mapping[str, Json]) -> dict[str, Json]:
    """Return what a digest of `value` takes: its fields, and its `literals` where it has any."""
    written = literals(value)
    return {**value, "literals": written} if written else dict(value)


def dump_json(value: Json, *, indent: int | None = None) -> str:
    """Return `value` as JSON text in which decimal numbers are spelled as they were written."""
    if not literals(value):
        return json.dumps(value, indent=indent, ensure_ascii=False)
    text = json.dumps(_marked(value), indent=indent, ensure_ascii=False)
    return _MARKED.sub(r"\1", text)


# Noncharacters, which no text that can be exchanged contains.
_MARKED = re.compile('"\ufdd0([^"]+)\ufdd1"')
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")


def _marked(value: Json) -> Json:
    if isinstance(value, (LiteralInt, LiteralFloat)) and _JSON_NUMBER.fullmatch(value.literal):
        return f"\ufdd0{value.literal}\ufdd1"
    if isinstance(value, Mapping):
        return {name: _marked(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(item) for item in value]
    return value


def _literals(value: Json, pointer: str) -> Iterator[tuple[str, Json]]:
    kind = type(value)
    if kind is str or value is None:
        return
    if isinstance(value, (LiteralInt, LiteralFloat)):
        yield pointer, value.literal
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _literals(inner, f"{pointer}/{_escaped(name)}")
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from _literals(item, f"{pointer}/{position}")


def _escaped(name: str) -> str:
    """Return `name` as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


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
