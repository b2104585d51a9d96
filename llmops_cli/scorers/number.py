"""The `number` scorer: a number in the answer is the expected one.

Numbers are read as people write them: `1,234.50`, `$3`, `−5`, `50%`, `3/4`, `1.5e6`, with
thousands set apart by commas, apostrophes or no-break blanks. Currency and per cent signs are not
part of the number: 50% is 50. Comparison is exact in decimals: 18.01 is within 0.01 of 18.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import regex

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.ports import World
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer, quoted, right, wrong
from llmops_cli.scorers.pattern import DEADLINE, TOO_SLOW, malformed

DIGITS = 400
"""A longer row of digits is not a number that anyone expects."""

Found: TypeAlias = "regex.Match[str]"


def _numbers(mark: str, comma: str) -> regex.Pattern[str]:
    """What a number looks like, with `mark` before decimals and `comma` between thousands."""
    between = comma + r"'’\u00a0\u2009\u202f"
    return regex.compile(
        rf"""
        (?P<minus>(?<![\w.)\]])[-−](?=\p{{Sc}}?{mark}?\d))?       # not the one in 16-3 or GPT-3
        \p{{Sc}}?\s?
        (?P<whole>
            \d{{1,3}}(?:[{between}]\d{{2,3}}){{0,40}}[{between}]\d{{3}}(?!\d)   # 1,234  12,34,567
          | \d+
          | (?<![\w.])(?={mark}\d)                                # .5
        )
        (?:{mark}(?P<part>\d+))?
        (?:[eE](?P<power>[-+]?\d{{1,3}})(?!\w))?
        (?:/(?P<below>\d{{1,9}})(?![\d/])(?<!/\d{{1,9}}/\d{{1,9}}))?   # 3/4, but not 3/4/2025
        """,
        regex.VERBOSE,
    )


READ: Mapping[str, regex.Pattern[str]] = {".": _numbers(r"\.", ","), ",": _numbers(",", r"\.")}
"""By decimal mark."""


def number(  # noqa: PLR0913 - one keyword for each option of the scorer
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    tolerance: float = 0.0,
    relative: float = 0.0,
    take: Literal["first", "last"] = "last",
    after: str | None = None,
    pattern: str | None = None,
    decimal: Literal[".", ","] = ".",
) -> Score | Unscored:
    """1 where the number differs from the expected by at most the larger of the tolerances.

    `tolerance` is absolute, `relative` a share of the expected number. `after` and `pattern`
    narrow the text that is read: what they do not find has no number in it.
    """
    wanted = expected_number(case.expected if value is None else value, decimal)
    if wanted is None:
        return Unscored(why="no number is expected: give `value`, or a case with a number")
    given = answer(completion.text)
    try:
        text = _part(given, after, pattern)
    except TimeoutError:
        return TOO_SLOW
    if text is None:
        place = quoted(pattern or after or "")
        return wrong(f"expected {_shown(wanted)}; {place} is not in {quoted(given)}")
    found = number_in(text, take=take, decimal=decimal)
    if found is None:
        return wrong(f"expected {_shown(wanted)}; no number in {quoted(text.strip())}")
    room = max(Decimal(str(tolerance)), Decimal(str(relative)) * abs(wanted))
    if abs(found - wanted) <= room:
        return right(f"the answer's number is {_shown(found)}")
    within = f" within {_shown(room)}" if room else ""
    return wrong(f"expected {_shown(wanted)}{within}; the number is {_shown(found)}")


def expected_number(value: Json, decimal: str = ".") -> Decimal | None:
    """`value` as a number: a JSON number, or a text that is a number and nothing else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        read = Decimal(int(value)) if isinstance(value, int) else Decimal(str(value))
        return read if read.is_finite() else None
    if not isinstance(value, str):
        return None
    found = READ[decimal].fullmatch(value.strip().rstrip("%").rstrip())
    return None if found is None else _decimal(found)


def number_in(
    text: str, *, take: Literal["first", "last"] = "last", decimal: str = "."
) -> Decimal | None:
    """The first or last number in `text`; None where there is none."""
    read = READ[decimal]
    found = read.search(text) if take == "first" else _last(read.finditer(text))
    return None if found is None else _decimal(found)


def check(options: Mapping[str, Any], _world: World) -> str | None:
    """Whether the value is a number, the tolerances are none below 0, and the pattern compiles."""
    value, decimal = options.get("value"), options.get("decimal", ".")
    if value is not None and expected_number(value, decimal) is None:
        return f"{quoted(str(value))} is not a number"
    if min(options.get("tolerance", 0), options.get("relative", 0)) < 0:
        return "a tolerance is not below 0"
    if "after" in options and "pattern" in options:
        return "`after` and `pattern` both say where the number stands: give one of them"
    return malformed(options["pattern"]) if "pattern" in options else None


def _part(text: str, after: str | None, pattern: str | None) -> str | None:
    """What of `text` is read; None where the place is not in it. Raises `TimeoutError`."""
    if after is not None:
        _, marker, text = text.rpartition(after)
        return text if marker else None
    if pattern is None:
        return text
    found = _last(regex.finditer(pattern, text, timeout=DEADLINE))
    if found is None:
        return None
    return found[1] or "" if found.re.groups else found[0]


def _last(found: Iterable[Found]) -> Found | None:
    """The last of any number of matches, one held at a time."""
    newest = deque(found, maxlen=1)
    return newest[0] if newest else None


def _decimal(found: regex.Match[str]) -> Decimal | None:
    if found.end() - found.start() > DIGITS:
        return None
    whole = regex.sub(r"\D", "", found["whole"]) or "0"
    read = Decimal(f"{whole}.{found['part'] or 0}e{found['power'] or 0}")
    if found["below"]:
        if not int(found["below"]):
            return None
        read /= int(found["below"])
    return -read if found["minus"] else read


def _shown(number: Decimal) -> str:
    """`18`, `0.5`, `1E+30`: no zeros that say nothing."""
    plain = number.normalize()
    return f"{plain:f}" if -12 < plain.adjusted() < 18 else str(plain)
