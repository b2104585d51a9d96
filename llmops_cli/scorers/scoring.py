"""Call a scorer, and what scorers share: read an answer as text, compare it, quote it.

Text that looks equal is equal: both sides are put into Unicode's composed form (NFC). Model output
is untrusted, so reasons show it shortened and escaped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from typing import Any, TypeAlias

import regex

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import LlmopsError
from llmops_cli.core.limits import DeadlineExceeded, LimitedSteps, limited, never
from llmops_cli.core.ports import Ask, Scorer
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored

QUOTED = 120
"""Characters of model output that a reason shows at most."""

LONGEST_COMPARED = 20_000
"""Characters compared by distances that take time in the product of both lengths."""

Scalar: TypeAlias = str | int | float | bool
"""YAML scalars accepted as text: `exact: 42`, `exact: true`."""

# No script stacks so many marks on one letter (UAX 15, stream-safe text), and composing them takes
# quadratic time: such text stays as it is.
_TOO_MANY_MARKS = regex.compile(r"\p{M}{31}")

MINUS = "−‐‑–﹣－-"
"""Characters used as a minus sign: hyphens, U+2212 and the en dash."""

_LETTERS = r"\p{L}\p{M}\p{N}"
_COMPARISON = (
    rf"(?<![{_LETTERS}<!\"'/])<=?|(?<![{_LETTERS}<=!\"'/-])>=?"
    rf"|(?<![{_LETTERS}~])(?:!=|[≠≤≥≈]|~(?!~))"
)
SIGN_BEFORE = (
    rf"(?:(?:{_COMPARISON})[±+{MINUS}]?|(?<![{_LETTERS}+{MINUS}])[±+{MINUS}]++)(?=\p{{Sc}}?[.,]?\d)"
    rf"|(?<![{_LETTERS}])\.(?=\d)"
)
"""A sign or a decimal point directly before a number: `-5`, `<18`, `.5`. Not the dash in `16-3`,
nor the end of a tag (`<answer>18`) or of an arrow (`->18`)."""
SIGN_AFTER = r"(?<=[\p{L}\p{N}])[+#]+(?![\p{L}\p{N}+#])|(?<=\p{L})[-−](?=[\s.,;:!?)\"'*_`<]|$)"
"""A sign directly after a word or a number: `A+`, `A-`, `C++`, `C#`, `18+`."""

# Of punctuation, what is part of a number stays: dropping it would make 3.14 and 314 one text. A
# comma between groups of three digits says nothing and goes.
_PUNCTUATION = regex.compile(
    rf"""
    (?<=\d),(?=\d{{3}}(?!\d))
    | (?P<kept>{SIGN_BEFORE}|{SIGN_AFTER}|(?<=\d)[\p{{P}}\p{{S}}]+(?=\d)|(?<=\d[eE])[-−+](?=\d))
    | [\p{{P}}\p{{S}}]
    """,
    regex.VERBOSE,
)
MINUSES = str.maketrans(dict.fromkeys(MINUS, "-"))


async def score(
    scorer: Scorer,
    options: Mapping[str, Any],
    *,
    case: Case,
    completion: Completion,
    ask: Ask | None = None,
    stopped: Callable[[], bool] = never,
) -> Score | Unscored:
    """Score one completion; `ask` is passed to judged scorers, and to no other.

    A scorer that raises, answers NaN, returns something else or takes too long has not measured
    anything: that is `Unscored`, never a pass, a 0 or the end of a run. Raises `LlmopsError` only:
    what the user has to fix.
    """
    if completion.text is None:
        return Unscored(why="the text of this answer is not stored here")
    if stopped():
        return Unscored(why="not scored: interrupted")
    extra = {} if ask is None else {"ask": ask}
    try:
        called = partial(scorer, case, completion, **options, **extra)
        result: object = limited(called, stopped)
        if isawaitable(result):
            result = await LimitedSteps(result)
    except DeadlineExceeded as error:
        return Unscored(why=f"not scored: {error}")
    except LlmopsError:
        raise
    except Exception as error:  # noqa: BLE001 - a scorer may be anyone's code; its bug is data here
        lines = str(error).strip().splitlines()
        message = f": {quoted(lines[0])}" if lines else ""
        return Unscored(why=f"the scorer raised {type(error).__name__}{message}")
    if isinstance(result, (Score, Unscored)):
        return result
    return Unscored(why=f"the scorer returned a {type(result).__name__}, not a Score")


def answer_text(completion: Completion) -> str:
    """Return the text of an answer, composed; an answer known by its digest only is not scored."""
    assert completion.text is not None
    return composed(completion.text)


def composed(text: str) -> str:
    """Return `text` in Unicode's composed form (NFC)."""
    if text.isascii() or _TOO_MANY_MARKS.search(text) is not None:
        return text
    return unicodedata.normalize("NFC", text)


def folded(
    text: str,
    *,
    ignore_case: bool = False,
    ignore_space: bool = False,
    ignore_punctuation: bool = False,
) -> str:
    """Return `text` in the form that two texts are compared in.

    `ignore_space` makes every run of white space one blank and drops it at both ends;
    `ignore_punctuation` drops punctuation and symbols that are not part of a number or a sign.
    """
    text = composed(text)
    if ignore_case:
        text = text.casefold()
    if ignore_punctuation:
        text = _PUNCTUATION.sub(
            lambda mark: mark[0].translate(MINUSES) if mark["kept"] else "", text
        )
    return " ".join(text.split()) if ignore_space else text


def same_json(actual: Json, expected: Json) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0, true is not 1, text is composed."""
    try:
        return comparable(actual) == comparable(expected)
    except RecursionError:
        return False


def comparable(value: Json) -> Hashable:
    """Return a form of a JSON value that is equal, and hashes alike, where the values are equal."""
    match value:
        case bool():
            return (bool, value)  # equal to no other value: Python's True is 1
        case str():
            return composed(value)
        case Mapping():
            return frozenset((composed(key), comparable(inner)) for key, inner in value.items())
        case list() | tuple():
            return tuple(map(comparable, value))
    return value


def expected_texts(value: Json, case: Case) -> Sequence[str] | Unscored:
    """Return the accepted texts: `value`, or the case's `expected` where no value is given.

    A list means any of them.
    """
    expected = case.expected if value is None else value
    if isinstance(expected, str):
        return (composed(expected),)
    if expected is None:
        return Unscored(why=f"nothing to compare with: case {case.id!r} has no `expected`")
    options = expected if isinstance(expected, (list, tuple)) else [expected]
    texts = [composed(as_text(text)) for text in options if isinstance(text, (str, int, float))]
    if not texts or len(texts) < len(options):
        return Unscored(why="what is expected is neither a text nor a list of texts")
    return texts


def as_text(value: Scalar) -> str:
    """Return a scalar as YAML and JSON write it: `true`, `42`, `0.5`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def quoted(text: str, limit: int = QUOTED) -> str:
    """Return the start of `text` in quotes, control and unprintable characters escaped."""
    return repr(text) if len(text) <= limit else repr(text[:limit]) + " …"


def quoted_any(texts: Sequence[str]) -> str:
    """Return `'a'`, or `one of 'a', 'b', 'c' and 7 more`."""
    if len(texts) == 1:
        return quoted(texts[0])
    shown = ", ".join(quoted(text, 40) for text in texts[:3])
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"one of {shown}{more}"


def right(reason: str) -> Score:
    """Return the score of a right answer."""
    return Score(value=1.0, reason=reason)


def wrong(reason: str) -> Score:
    """Return the score of a wrong answer."""
    return Score(value=0.0, reason=reason)


def not_reported(part: str) -> Unscored:
    """Return the result of an answer that does not report what was retrieved; `part` of it."""
    return Unscored(
        why=f"the answer does not report the {part} of what was retrieved: name their place in "
        f"it with `response.{part}` of the model"
    )
