"""The `label` scorer: a classifier's answer names the expected class.

Labels are compared as words: case, punctuation and the marks between words do not count, so
`card_arrival`, `Card arrival.` and `**card-arrival**` are one label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import regex

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import World
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import (
    Scalar,
    answer,
    expected_texts,
    folded,
    quoted,
    quoted_any,
    written,
)
from llmops_cli.scorers.vacuous import EMPTY_LIST, texts

_BETWEEN_WORDS = regex.compile(r"[^\p{L}\p{M}\p{N}]+")

Take = Literal["first", "last", "only"]


def label(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    labels: Sequence[Scalar] | None = None,
    take: Take = "first",
) -> Score | Unscored:
    """1 where the answer's label is the expected one, or one of the expected ones.

    Without `labels` the whole answer is its label. With them it is the one that the answer names:
    the first or last, or with `only` none where it names several. `detail` holds it where it is
    a known one.
    """
    wanted = expected_texts(value, case)
    if isinstance(wanted, Unscored):
        return wanted
    right = {words(each) for each in wanted}
    if "" in right:
        return Unscored(why="the expected label has no letter and no digit")
    given = answer(completion.text)
    if labels is None:
        named: Sequence[str] = [words(given)]
        known: Mapping[str, str] = {words(each): each for each in wanted}
    else:
        known = _by_words(tuple(map(written, labels)))
        if not right <= known.keys():
            return Unscored(why=f"the expected {quoted_any(wanted)} is not among the labels")
        named = _named(words(given), tuple(known))
    found = _taken(named, take)
    if found in right:
        return Score(
            value=1.0, reason=f"the label is {quoted(known[found])}", detail={"label": known[found]}
        )
    if found is None:
        what = f"no label in {quoted(given)}" if not named else f"{quoted(given)} names several"
        return Score(value=0.0, reason=f"expected {quoted_any(wanted)}; {what}")
    shown = known.get(found, given.strip())
    reason = f"expected {quoted_any(wanted)}; the label is {quoted(shown)}"
    return Score(value=0.0, reason=reason, detail={"label": known[found]} if labels else {})


def check(options: Mapping[str, Any], _world: World) -> str | None:
    """Whether a label is expected, and one of those that there are."""
    value, labels = options.get("value"), options.get("labels")
    if [] in (value, labels):
        return EMPTY_LIST
    wanted = {words(each): each for each in texts(value)}
    if "" in wanted:
        return "the expected label has no letter and no digit"
    if labels is None or (strange := wanted.keys() - set(map(words, texts(labels)))) == set():
        return None
    return f"the expected {quoted(wanted[min(strange)])} is not among the labels"


def words(text: str) -> str:
    """The words of `text`, folded in case, one blank between them."""
    return _BETWEEN_WORDS.sub(" ", folded(text, ignore_case=True)).strip()


def _named(text: str, known: tuple[str, ...]) -> Sequence[str]:
    """The labels named in `text`, in order; of two that overlap the longer one is meant."""
    if text in known:
        return [text]
    return [str(found[0]) for found in _any_label(known).finditer(text)]


@lru_cache(maxsize=64)
def _by_words(labels: tuple[str, ...]) -> Mapping[str, str]:
    return {words(each): each for each in labels}


@lru_cache(maxsize=64)
def _any_label(known: tuple[str, ...]) -> regex.Pattern[str]:
    longest_first = sorted(filter(None, known), key=len, reverse=True)
    return regex.compile(rf"(?<!\S)(?:{'|'.join(map(regex.escape, longest_first))})(?!\S)")


def _taken(named: Sequence[str], take: Take) -> str | None:
    if take == "only":
        return named[0] if len(set(named)) == 1 else None
    if not named:
        return None
    return named[0] if take == "first" else named[-1]
