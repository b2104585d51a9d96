"""The `label` scorer: a classifier's answer names the expected class.

Labels are compared as words: case, punctuation and the marks between words do not count, so
`card_arrival`, `Card arrival.` and `**card-arrival**` are one label. Signs of words and numbers
do count (`-1` and `1`, `A+` and `A-`, `C` and `C++`, `<18` and `>18` are labels of their own).
Other symbols count where only they tell labels apart (`$5` and `€5`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import regex

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import (
    MINUS,
    SIGN_AFTER,
    SIGN_BEFORE,
    Scalar,
    answer_text,
    as_text,
    expected_texts,
    folded,
    quoted,
    quoted_any,
)
from llmops_cli.scorers.option_checks import EMPTY_LIST, texts

NO_LABEL = "the expected label has no letter, digit or symbol"

# Markdown's marks are no symbols: `**refund**`, `~~refund~~` and a heading are still `refund`.
_TOKEN = regex.compile(
    rf"(?P<sign>{SIGN_BEFORE}|{SIGN_AFTER})"
    rf"|(?<![\w.])\d+(?:\.\d+)+(?![\w.]*\w)|[\p{{L}}\p{{M}}\p{{N}}]+|(?P<symbol>(?![`^~|<>=+])[\p{{S}}%])"
)
_WHOLE = regex.compile(r"(?<=(?<![\w.])\d+)\.0+(?![\w.]*\w)")
"""Zeros that say nothing: `1.0` is the label 1, and `1.5` is not."""
_VARIANT = regex.compile("[\ufe0e\ufe0f]")
_MINUSES = str.maketrans(dict.fromkeys(MINUS, "-"))

Take = Literal["first", "last", "only"]


class Labels(NamedTuple):
    """The known labels."""

    symbols: bool
    """Whether symbols are compared, too."""
    by_form: Mapping[str, str]

    def form(self, text: str) -> str:
        """Return the form of `text` in which labels are compared."""
        return words(text, symbols=self.symbols)


def label(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    labels: Sequence[Scalar] | None = None,
    take: Take = "first",
) -> Score | Unscored:
    """Score 1 if the answer's label is the expected one, or one of the expected ones.

    Without `labels` the whole answer is its label. With them it is the one that the answer names:
    the first or last, or with `only` none where it names several. `detail` has it where it is a
    known one.
    """
    expected = expected_texts(value, case)
    if isinstance(expected, Unscored):
        return expected
    known = labels_by_form(tuple(expected if labels is None else map(as_text, labels)))
    accepted = {known.form(text) for text in expected}
    if "" in accepted:
        return Unscored(why=NO_LABEL)
    answer = answer_text(completion)
    form = known.form(answer)
    if labels is None:
        named: Sequence[str] = [form]
    elif accepted <= known.by_form.keys():
        named = _named(form, tuple(known.by_form))
    else:
        return Unscored(why=f"the expected {quoted_any(expected)} is not among the labels")
    taken = _taken(named, take)
    name = known.by_form.get(taken or "")
    if taken in accepted:
        return Score(value=1.0, reason=f"the label is {quoted(name or '')}", detail={"label": name})
    if taken is None:
        problem = f"{quoted(answer)} names several" if named else f"no label in {quoted(answer)}"
        return Score(value=0.0, reason=f"expected {quoted_any(expected)}; {problem}")
    reason = f"expected {quoted_any(expected)}; the label is {quoted(name or answer.strip())}"
    return Score(value=0.0, reason=reason, detail={"label": name} if labels else {})


def check(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with the expected label and the list of labels, if anything."""
    value, labels = options.get("value"), options.get("labels")
    if [] in (value, labels):
        return EMPTY_LIST
    expected = texts(value)
    known = labels_by_form(tuple(expected if labels is None else texts(labels)))
    for text in expected:
        if not known.form(text):
            return NO_LABEL
        if known.form(text) not in known.by_form:
            return f"the expected {quoted(text)} is not among the labels"
    for text in texts(labels):
        if not known.form(text):
            return f"the label {quoted(text)} has no letter, digit or symbol"
        if (first := known.by_form[known.form(text)]) != text:
            return f"the labels {quoted(first)} and {quoted(text)} are compared as one label"
    return None


@lru_cache(maxsize=256)
def labels_by_form(labels: tuple[str, ...]) -> Labels:
    """Return the labels by the form that they are compared in.

    Symbols are a part of it where one of the labels has a symbol, and left out elsewhere.
    """
    symbols = any(words(text, symbols=True) != words(text) for text in labels)
    by_form: dict[str, str] = {}
    for text in labels:
        by_form.setdefault(words(text, symbols=symbols), text)
    return Labels(symbols, by_form)


def words(text: str, *, symbols: bool = False) -> str:
    """Return the words of `text` with their signs, folded in case, one blank between them.

    With `symbols`, each symbol is a word, too.
    """
    parts: list[str] = []
    end = -1
    text = _WHOLE.sub("", _VARIANT.sub("", folded(text, ignore_case=True)))
    for token in _TOKEN.finditer(text):
        if token["symbol"] and not symbols:
            end = token.end() if token.start() == end else end
            continue
        glued = token.start() == end and (token["sign"] or not parts[-1][-1].isalnum())
        parts.append(("" if glued or not parts else " ") + token[0].translate(_MINUSES))
        end = -1 if token["symbol"] else token.end()
    return "".join(parts)


def _named(text: str, known: tuple[str, ...]) -> Sequence[str]:
    """Return the labels named in `text`, in order; of two that overlap the longer one."""
    if text in known:
        return [text]
    return [str(match[0]) for match in _any_label(known).finditer(text)]


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
