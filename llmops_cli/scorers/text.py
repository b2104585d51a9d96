"""Scorers that compare the answer's text with the text that was expected.

Without a `value` they take the case's `expected`; a list means any of its texts. White space at
both ends of the answer does not count unless `strip` is off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import (
    Scalar,
    answer_text,
    as_text,
    expected_texts,
    folded,
    quoted,
    quoted_any,
    right,
    wrong,
)

EMPTY = Unscored(why="the expected text is empty, and so in every answer")


def exact(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    strip: bool = True,
    **ignoring: bool,
) -> Score | Unscored:
    """Score 1 if the answer is the expected text, or one of the expected texts."""
    expected = expected_texts(value, case)
    if isinstance(expected, Unscored):
        return expected
    answer = answer_text(completion)
    compared = folded(answer.strip() if strip else answer, **ignoring)
    for text in expected:
        part = folded(text.strip() if strip else text, **ignoring)
        if compared == part and (part or text.strip() in ("", answer.strip())):
            return right(f"the answer is {quoted(text)}")
    return wrong(f"expected {quoted_any(expected)}; the answer is {quoted(answer)}")


def contains(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    all: Sequence[Scalar] | None = None,  # noqa: A002 - the word that people write in the file
    **ignoring: bool,
) -> Score | Unscored:
    """Score 1 if the answer contains one of `value` and every one of `all`."""
    answer = answer_text(completion)
    compared = folded(answer, **ignoring)
    for text in map(as_text, all or ()):
        part = folded(text, **ignoring)
        if not part:
            return EMPTY
        if part not in compared:
            return wrong(f"expected to contain {quoted(text)}; the answer is {quoted(answer)}")
    if all and value is None:
        return right(f"the answer contains each of the {len(all)} texts")
    expected = expected_texts(value, case)
    return _any_of(expected, answer, compared.__contains__, "contain", ignoring)


def starts_with(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    strip: bool = True,
    **ignoring: bool,
) -> Score | Unscored:
    """Score 1 if the answer starts with the expected text, or with one of them."""
    answer = answer_text(completion)
    compared = folded(answer.lstrip() if strip else answer, **ignoring)
    return _any_of(expected_texts(value, case), answer, compared.startswith, "start with", ignoring)


def ends_with(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    strip: bool = True,
    **ignoring: bool,
) -> Score | Unscored:
    """Score 1 if the answer ends with the expected text, or with one of them."""
    answer = answer_text(completion)
    compared = folded(answer.rstrip() if strip else answer, **ignoring)
    shown = answer[-60:]
    return _any_of(expected_texts(value, case), shown, compared.endswith, "end with", ignoring)


def length(_case: Case, completion: Completion) -> Score:
    """Count the characters of the answer, without white space at both ends."""
    count = len(answer_text(completion).strip())
    return Score(value=float(count), reason=f"the answer has {count:,} characters")


def _any_of(
    expected: Sequence[str] | Unscored,
    shown: str,
    matches: Callable[[str], bool],
    verb: str,
    ignoring: dict[str, bool],
) -> Score | Unscored:
    """Score whether one of the `expected` texts `matches` the answer; `verb` is for the reason."""
    if isinstance(expected, Unscored):
        return expected
    for text in expected:
        part = folded(text, **ignoring)
        if not part:
            return EMPTY
        if matches(part):
            return right(f"the answer does {verb} {quoted(text)}")
    return wrong(f"expected to {verb} {quoted_any(expected)}; the answer is {quoted(shown)}")
