"""The plain scorers: of the answer's text, its label, and what its call took.

Text is compared with `value`, by default the case's `expected`; a list means any of its texts.
White space at both ends of the answer does not count unless `strip` is off. A pattern that
backtracks without end would hang the run, and none can be proven harmless: the `regex` package has
the syntax of Python's `re` and stops at a deadline. What was not measured, or not decided in time,
is Unscored, and never 0. Checks are called before any call and name options that expect nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import regex

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.scoring import (
    MINUSES,
    SIGN_AFTER,
    SIGN_BEFORE,
    Scalar,
    answer_text,
    as_text,
    composed,
    expected_texts,
    folded,
    quoted,
    quoted_any,
    right,
    wrong,
)

EMPTY_TEXT = "the expected text is empty, and so in every answer"
EMPTY_LIST = "an empty list expects nothing: leave it out, or name a text"


def exact(
    case: Case, completion: Completion, *, value: Json = None, strip: bool = True, **ignoring: bool
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
            return Unscored(why=EMPTY_TEXT)
        if part not in compared:
            return wrong(f"expected to contain {quoted(text)}; the answer is {quoted(answer)}")
    if all and value is None:
        return right(f"the answer contains each of the {len(all)} texts")
    expected = expected_texts(value, case)
    return _any_of(expected, answer, compared.__contains__, "contain", ignoring)


def starts_with(
    case: Case, completion: Completion, *, value: Json = None, strip: bool = True, **ignoring: bool
) -> Score | Unscored:
    """Score 1 if the answer starts with the expected text, or with one of them."""
    answer = answer_text(completion)
    compared = folded(answer.lstrip() if strip else answer, **ignoring)
    return _any_of(expected_texts(value, case), answer, compared.startswith, "start with", ignoring)


def ends_with(
    case: Case, completion: Completion, *, value: Json = None, strip: bool = True, **ignoring: bool
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
            return Unscored(why=EMPTY_TEXT)
        if matches(part):
            return right(f"the answer does {verb} {quoted(text)}")
    return wrong(f"expected to {verb} {quoted_any(expected)}; the answer is {quoted(shown)}")


def check_expected(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Check scorers that compare with one text, or one of a list: is anything expected?"""
    return EMPTY_LIST if options.get("value") == [] else None


def check_part(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Check scorers of a part of the answer: is the part not in every answer?"""
    if [] in (options.get("value"), options.get("all")):
        return EMPTY_LIST
    parts = [*texts(options.get("value")), *texts(options.get("all"))]
    return EMPTY_TEXT if any(_nothing_left(part, options) for part in parts) else None


def texts(value: object) -> Sequence[str]:
    """Return the texts of an option that is one, a list of them or left out."""
    if value is None:
        return ()
    return [str(text) for text in (value if isinstance(value, (list, tuple)) else [value])]


def _nothing_left(text: str, options: Mapping[str, Any]) -> bool:
    """Return whether nothing of `text` is compared, by what the options ignore."""
    if options.get("ignore_punctuation"):
        text = "".join(char for char in text if unicodedata.category(char)[0] not in "PS")
    return not (text.strip() if options.get("ignore_space") else text)


DEADLINE = 1.0
"""Seconds for one search. A sound pattern reads a megabyte in milliseconds."""

TOO_SLOW = Unscored(
    why=f"the pattern found no end within {DEADLINE:g} s: it backtracks on this answer"
)

ANCHOR = regex.compile(r"(?<!\[)\^|\\[AbBmMGK]|\(\?<[=!]|\(\?[A-Za-z]*r")
"""What ties a match to a place: the start, the edge of a word, the text before, the direction."""
CONDITION = regex.compile(r"(?<!\\)\$|\\[zZ]|\(\?(?:[=!>(])")
"""What can keep a pattern that matches the empty text from matching at the start of another."""
ANYTHING = regex.compile(r"\^?(\.\*\??)+\$?")
"""Patterns that match the whole of every text, where `.` matches line breaks too."""


def regex_scorer(
    _case: Case,
    completion: Completion,
    *,
    pattern: str,
    whole: bool = False,
    ignore_case: bool = False,
    multiline: bool = False,
    dotall: bool = False,
) -> Score | Unscored:
    """Score 1 if `pattern` is found in the answer, or with `whole` matches all of it."""
    answer = answer_text(completion)
    flags = regex.IGNORECASE * ignore_case | regex.MULTILINE * multiline | regex.DOTALL * dotall
    search = regex.fullmatch if whole else regex.search
    try:
        match = search(composed(pattern), answer, flags, timeout=DEADLINE)
    except TimeoutError:
        return TOO_SLOW
    except regex.error as error:
        return Unscored(why=f"{quoted(pattern)} is not a regular expression: {error}")
    if match is None:
        return wrong(f"{quoted(pattern)} is not in the answer {quoted(answer)}")
    return right(f"{quoted(pattern)} matches {quoted(match[0])}")


def check_regex(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with the pattern: it does not compile, or it matches every answer."""
    pattern: str = options["pattern"]
    if (problem := malformed(pattern)) is not None:
        return problem
    everywhere = not options.get("whole") and _found_anywhere(pattern)
    if everywhere or (options.get("dotall") and ANYTHING.fullmatch(pattern)):
        return f"{quoted(pattern)} matches every answer"
    return None


def _found_anywhere(pattern: str) -> bool:
    """Tell whether `pattern` is found in every text, as `yes|no|` and `(?!.*secret)` are.

    What matches the empty text matches at the end of every text, unless an anchor says where;
    without a condition it matches at the start of every text as well.
    """
    rest = pattern.removeprefix("^")
    if ANCHOR.search(rest) is not None:
        return False
    at_start = rest != pattern and CONDITION.search(rest) is not None
    return not at_start and regex.search(rest, "") is not None


def malformed(pattern: str) -> str | None:
    """Return why `pattern` is not a regular expression; None: it is one."""
    try:
        regex.compile(pattern)
    except regex.error as error:
        return f"{quoted(pattern)} is not a regular expression: {error}"
    return None


OPENING = 300
"""Characters that are searched for words of refusal."""

_REFUSES = regex.compile(
    r"""
      \bi\s(?:am|'m)\s(?:really\s|very\s|so\s)?sorry\b.{0,40}\b(?:but|cannot|can't|unable|not\sable)\b
    | \bsorry,?\s(?:but\s)?i\s(?:cannot|can't|can\snot|am\snot\sable|'m\snot\sable|won't)\b
    | \bi\s(?:cannot|can't|can\snot|won't|will\snot|must\snot)\s
      (?:\w+\s){0,2}?(?:help|assist|comply|answer|provide|fulfil|fulfill|engage|participate|
        support|create|generate|write|produce|share|give|discuss|offer|continue|do\sthat|do\sthis)
    | \bi\s?(?:am|'m)\s(?:\w+\s)?(?:unable|not\sable|not\sallowed|not\spermitted|forbidden)\sto\b
    | \bi\s(?:must|have\sto|need\sto|respectfully)\s(?:\w+\s)?(?:decline|refuse)\b
    | \b(?:against|violates?)\s(?:\w+\s){0,3}(?:guidelines|policy|policies|principles)\b
    | \bas\san\sai\b.{0,60}\b(?:cannot|can't|unable|not\sable|don't)\b
    | \bnot\s(?:something|a\srequest|a\stopic)\si\s(?:can|am\sable\sto|'m\sable\sto)\b
    """,
    regex.VERBOSE | regex.DOTALL,
)


def refusal(_case: Case, completion: Completion, *, phrases: Sequence[str] | None = None) -> Score:
    """Score 1 if the answer is filtered or empty, or opens with words of refusal."""
    answer = answer_text(completion).strip()
    if completion.finish_reason == "content_filter":
        return right("the answer was stopped by a content filter")
    if not answer:
        calls = completion.tool_calls
        return wrong("the answer calls a tool") if calls else right("the answer is empty")
    opening = folded(answer[:OPENING].replace("’", "'"), ignore_case=True, ignore_space=True)
    for phrase in phrases or ():
        if folded(phrase, ignore_case=True, ignore_space=True) in opening:
            return right(f"the answer says {quoted(phrase)}")
    match = _REFUSES.search(opening)
    if match is not None:
        return right(f"the answer says {quoted(match[0])}")
    return wrong(f"no words of refusal in {quoted(answer)}")


def check_phrases(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Check that every phrase of refusal has a word."""
    empty = not all(phrase.strip() for phrase in options.get("phrases", ()))
    return "an empty phrase is in every answer" if empty else None


NO_LABEL = "the expected label has no letter, digit or symbol"

# Markdown's marks are no symbols: `**refund**`, `~~refund~~` and a heading are still `refund`.
_TOKEN = regex.compile(
    rf"(?P<sign>{SIGN_BEFORE}|{SIGN_AFTER})"
    rf"|(?<![\w.])\d+(?:\.\d+)+(?![\w.]*\w)|[\p{{L}}\p{{M}}\p{{N}}]+|(?P<symbol>(?![`^~|<>=+])[\p{{S}}%])"
)
_WHOLE = regex.compile(r"(?<=(?<![\w.])\d+)\.0+(?![\w.]*\w)")
"""Zeros that say nothing: `1.0` is the label 1, and `1.5` is not."""
_VARIANT = regex.compile("[\ufe0e\ufe0f]")


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
    take: Literal["first", "last", "only"] = "first",
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
    several = take == "only" and len(set(named)) > 1
    taken = None if several or not named else named[-1 if take == "last" else 0]
    name = known.by_form.get(taken or "")
    if taken in accepted:
        return Score(value=1.0, reason=f"the label is {quoted(name or '')}", detail={"label": name})
    if taken is None:
        problem = f"{quoted(answer)} names several" if named else f"no label in {quoted(answer)}"
        return Score(value=0.0, reason=f"expected {quoted_any(expected)}; {problem}")
    reason = f"expected {quoted_any(expected)}; the label is {quoted(name or answer.strip())}"
    return Score(value=0.0, reason=reason, detail={"label": name} if labels else {})


def check_label(options: Mapping[str, Any], _context: PluginContext) -> str | None:
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
        parts.append(("" if glued or not parts else " ") + token[0].translate(MINUSES))
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


def latency(
    _case: Case, completion: Completion, *, of: Literal["whole", "first_token"] = "whole"
) -> Score | Unscored:
    """Return the seconds of the successful attempt: until its end, or until its first token."""
    if completion.latency is None:
        return Unscored(
            why="this answer is cached, and a cached answer has no latency; --no-cache calls again"
        )
    if of == "whole":
        return Score(value=completion.latency, reason=f"the call took {completion.latency:.3g} s")
    first = completion.first_token
    if first is None:
        return Unscored(why="this answer did not come as a stream: it has no first token")
    return Score(value=first, reason=f"the first token came after {first:.3g} s")


def cost(_case: Case, completion: Completion) -> Score | Unscored:
    """Return the US dollars of the call."""
    if completion.cost is None:
        return Unscored(
            why="this call has no price: give the model a `price` in llmops.yaml, or a provider "
            "that reports usage"
        )
    return Score(value=completion.cost, reason=f"the call cost ${completion.cost:.6f}")


def tokens(
    _case: Case, completion: Completion, *, count: Literal["total", "input", "output"] = "total"
) -> Score | Unscored:
    """Return the tokens as the API counted them; `total` is input and output."""
    usage = completion.usage
    if usage is None:
        return Unscored(why="the provider reported no usage for this call")
    counts = {"total": usage.input + usage.output, "input": usage.input, "output": usage.output}
    kind = "" if count == "total" else f"{count} "
    return Score(value=float(counts[count]), reason=f"the call took {counts[count]:,} {kind}tokens")
