"""Scorers that compare the answer's text with the text that was expected.

Without a `value` they take the case's `expected`; a list means any of its texts. White space at
both ends of the answer is not counted unless `strip` is off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import (
    Scalar,
    answer,
    expected_texts,
    folded,
    quoted,
    quoted_any,
    right,
    written,
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
    """1 where the answer is the expected text, or one of the expected texts."""
    wanted = expected_texts(value, case)
    if isinstance(wanted, Unscored):
        return wanted
    given = answer(completion.text)
    seen = folded(given.strip() if strip else given, **ignoring)
    for each in wanted:
        if seen == folded(each.strip() if strip else each, **ignoring):
            return right(f"the answer is {quoted(each)}")
    return wrong(f"expected {quoted_any(wanted)}; the answer is {quoted(given)}")


def contains(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    all: Sequence[Scalar] | None = None,  # noqa: A002 - the word that people write in the file
    **ignoring: bool,
) -> Score | Unscored:
    """1 where the answer has one of `value` and every one of `all` in it."""
    given = answer(completion.text)
    seen = folded(given, **ignoring)
    for each in map(written, all or ()):
        part = folded(each, **ignoring)
        if not part:
            return EMPTY
        if part not in seen:
            reason = f"expected to contain {quoted(each)}; the answer is {quoted(given)}"
            return wrong(reason)
    if all and value is None:
        return right(f"the answer contains each of the {len(all)} texts")
    wanted = expected_texts(value, case)
    return _any_of(wanted, given, seen.__contains__, "contain", ignoring)


def starts_with(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    strip: bool = True,
    **ignoring: bool,
) -> Score | Unscored:
    """1 where the answer starts with the expected text, or with one of them."""
    given = answer(completion.text)
    seen = folded(given.lstrip() if strip else given, **ignoring)
    return _any_of(expected_texts(value, case), given, seen.startswith, "start with", ignoring)


def ends_with(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    strip: bool = True,
    **ignoring: bool,
) -> Score | Unscored:
    """1 where the answer ends with the expected text, or with one of them."""
    given = answer(completion.text)
    seen = folded(given.rstrip() if strip else given, **ignoring)
    return _any_of(expected_texts(value, case), given[-60:], seen.endswith, "end with", ignoring)


def length(_case: Case, completion: Completion) -> Score:
    """Characters of the answer, white space at both ends not counted."""
    count = len(answer(completion.text).strip())
    return Score(value=float(count), reason=f"the answer has {count:,} characters")


def _any_of(
    wanted: Sequence[str] | Unscored,
    given: str,
    has: Callable[[str], bool],
    does: str,
    ignoring: dict[str, bool],
) -> Score | Unscored:
    """Whether the answer `has` one of the `wanted` texts; `does` is the verb for the reason."""
    if isinstance(wanted, Unscored):
        return wanted
    for each in wanted:
        part = folded(each, **ignoring)
        if not part:
            return EMPTY
        if has(part):
            return right(f"the answer does {does} {quoted(each)}")
    return wrong(f"expected to {does} {quoted_any(wanted)}; the answer is {quoted(given)}")
