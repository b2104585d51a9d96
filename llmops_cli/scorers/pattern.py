"""Regular expressions over hostile text: the `regex` scorer, and searching with a deadline.

A pattern that backtracks without end would hang the run, and no pattern can be proven harmless.
The `regex` package has the syntax of Python's `re` and stops at a deadline: what could not be
decided in time is Unscored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer_text, composed, quoted, right, wrong

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


def check(options: Mapping[str, Any], _context: PluginContext) -> str | None:
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
