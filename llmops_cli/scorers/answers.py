"""How a reason quotes what it is about: short and escaped, since model text is hostile.

How scorers read answers and expectations as text.

Text that is equal to a reader is equal to a scorer: both sides are put into Unicode's composed
form (NFC).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TypeAlias

import regex

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.result import Score, Unscored

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


Scalar: TypeAlias = str | int | float | bool
"""What YAML people write where a text is meant: `exact: 42`, `exact: true`."""

_NOT_WRITING = regex.compile(r"\p{M}{31}")
"""No script stacks so many marks on one letter (UAX 15, stream-safe text), and composing them
takes quadratic time."""

_PUNCTUATION = regex.compile(r"[\p{P}\p{S}]+")


def folded(
    text: str,
    *,
    ignore_case: bool = False,
    ignore_space: bool = False,
    ignore_punctuation: bool = False,
) -> str:
    """`text` in the form that two texts are compared in.

    `ignore_space` makes every run of white space one blank and drops it at both ends;
    `ignore_punctuation` drops punctuation and symbols.
    """
    if not text.isascii() and _NOT_WRITING.search(text) is None:
        text = unicodedata.normalize("NFC", text)
    if ignore_case:
        text = text.casefold()
    if ignore_punctuation:
        text = _PUNCTUATION.sub("", text)
    return " ".join(text.split()) if ignore_space else text


def expected_texts(value: Json, case: Case) -> Sequence[str] | Unscored:
    """The accepted texts: `value`, or the case's `expected` where no value is given.

    A list means any of them.
    """
    wanted = case.expected if value is None else value
    if isinstance(wanted, str):
        return (wanted,)
    if wanted is None:
        return Unscored(why=f"nothing to compare with: case {case.id!r} has no `expected`")
    several = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    texts = [written(each) for each in several if isinstance(each, (str, int, float, bool))]
    if not texts or len(texts) < len(several):
        return Unscored(why="what is expected is neither a text nor a list of texts")
    return texts


def written(value: Scalar) -> str:
    """A scalar as YAML and JSON write it: `true`, `42`, `0.5`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def answer(text: str | None) -> str:
    """The text of an answer that is being scored: texts known by their digest only never are."""
    assert text is not None
    return text


def right(reason: str) -> Score:
    """The score of an answer that is as it should be."""
    return Score(value=1.0, reason=reason)


def wrong(reason: str) -> Score:
    """The score of an answer that is not as it should be."""
    return Score(value=0.0, reason=reason)
