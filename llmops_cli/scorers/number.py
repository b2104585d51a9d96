r"""The `number` scorer: a number in the answer is the expected one.

Numbers are read as people and models write them: `1,234.50`, `1 000 000`, `$3`, `−5`, `50%`, `3/4`,
`2½`, `1.5e6`, `6.02 × 10^23`, `\frac{3}{4}`. Each is read as a whole or not at all: of a date, a
range, a version, or a number in the other decimal mark, no part is taken for the whole. Comparison
is exact in decimals: 18.01 is within 0.01 of 18.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeAlias

import regex

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.scoring import MINUS, answer_text, composed, quoted, right, wrong
from llmops_cli.scorers.text import DEADLINE, TOO_SLOW, malformed

Take: TypeAlias = Literal["first", "last"]

DIGITS = 400
"""Longer runs of digits aren't read as numbers."""

SPACES = " \u00a0\u2007\u2009\u202f"
"""Between thousands: plain, no-break, figure and thin spaces."""
DASHES = rf"—{MINUS}"
UNKNOWN = "\ue000"
"""Stands for a LaTeX command or a symbol that changes the number beside it: a root, π, ±."""

CLUSTER = regex.compile(
    rf"""
    (?P<sign>(?<![^\W_]|[.)\]}}{DASHES}])[+{MINUS}](?=\p{{Sc}}?[.,]?\d))?
    (?:\p{{Sc}}\s?)?(?P<sign_inside>(?<=\p{{Sc}})[{MINUS}](?=\d))?
    (?P<body>
      (?:(?<![\w.,])[.,])?\d++
      (?:(?:
          [.,:/⁄^'’_]++[{MINUS}]?                             # 1,000  1:30  1/2/2025  10^-5
        | [{DASHES}]++                                        # 3-5  2020-01-31
        | [eE][+{MINUS}]?
        | (?<=(?<![\d.,])\d{{1,3}})[{SPACES}](?=\d{{3}}(?!\d))  # 1 000 000
        | [ ](?=\d++[/⁄]\d)                                   # 3 1/2
        | [ ]?[×xX*·⋅][ ]?(?=10\^)                            # 6.02 × 10^23
      )\d++)*+
    )
    (?P<percent>\s?%)?
    """,
    regex.VERBOSE,
)
"""A run of text around digits, whether it is a number or not."""

TOUCHED_BEFORE = regex.compile(
    rf"(?:[/⁄√^{UNKNOWN}{DASHES}]|[±∓][ ]?|}}\s?{{|{UNKNOWN}\s|\d[A-Za-z]+|[^\W_]_+{{?"
    rf"|\d[ ]?[+*×·⋅÷][ ]?|\d[.,]\()\Z"
)
TOUCHED_AFTER = regex.compile(rf"[\^√π]|[ ]?{UNKNOWN}|[A-Za-z]+\d|⁄|/\s?[({{]|[+*×·⋅÷]\d|[.,]\(\d")
UNGROUPED = regex.compile(rf"\d[{SPACES}]\Z")
"""Before a number that starts with 00: the rest of one with spaces in other places, `1000 000`."""


def _number(mark: str, comma: str) -> regex.Pattern[str]:
    """Return the grammar of numbers with `mark` before decimals and `comma` between thousands."""
    return regex.compile(
        rf"""
        (?:
            10\^(?P<raised>[+\-]?\d{{1,3}})
          | (?P<whole>
                [1-9]\d{{0,2}}(?P<gap>[{comma}'’_{SPACES}])\d{{3}}(?:(?P=gap)\d{{3}})*
              | [1-9]\d?(?:{comma}\d\d)+{comma}\d{{3}}                         # 12,34,567
              | \d+
            )?
            (?:{mark}(?P<part>\d+))?
            (?:[eE](?P<power>[+\-]?\d{{1,3}})|[ ]?[×xX*·⋅][ ]?10\^(?P<times>[+\-]?\d{{1,3}}))?
        )
        (?:(?:[ ](?P<above>\d{{1,9}}))?[/⁄](?P<below>\d{{1,9}}))?
        """,
        regex.VERBOSE,
    )


GRAMMAR: Mapping[str, regex.Pattern[str]] = {".": _number(r"\.", ","), ",": _number(",", r"\.")}
"""By decimal mark."""


class Reading(NamedTuple):
    """A number in a text, and its value; None: it can't be read as a number."""

    text: str
    value: Decimal | None


def number(  # noqa: PLR0913 - one keyword for each option of the scorer
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    tolerance: float = 0.0,
    relative: float = 0.0,
    take: Take = "last",
    after: str | None = None,
    occurrence: Take = "last",
    pattern: str | None = None,
    decimal: Literal[".", ","] = ".",
    percent: bool = False,
) -> Score | Unscored:
    """Score 1 if the number differs from the expected by at most the larger of the tolerances.

    `tolerance` is absolute, `relative` a share of the expected number. `after` (at its first or
    last `occurrence`) and `pattern` narrow the text that is read: what they do not find has no
    number in it. With `percent`, 50% is 0.5.
    """
    expected = expected_number(case.expected if value is None else value, decimal, percent=percent)
    if expected is None:
        return Unscored(why="no number is expected: give `value`, or a case with a number")
    answer = answer_text(completion)
    try:
        text = _part(answer, after, occurrence, pattern)
    except TimeoutError:
        return TOO_SLOW
    if text is None:
        place = quoted(pattern or after or "")
        return wrong(f"expected {_shown(expected)}; {place} is not in {quoted(answer)}")
    reading = read_number(text, take=take, decimal=decimal, percent=percent)
    if reading is None:
        return wrong(f"expected {_shown(expected)}; no number in {quoted(text.strip())}")
    if reading.value is None:
        return wrong(f"expected {_shown(expected)}; {quoted(reading.text)} is not a number")
    allowed = max(Decimal(str(tolerance)), Decimal(str(relative)) * abs(expected))
    if abs(reading.value - expected) <= allowed:
        return right(f"the answer's number is {_shown(reading.value)}")
    within = f" within {_shown(allowed)}" if allowed else ""
    return wrong(f"expected {_shown(expected)}{within}; the number is {_shown(reading.value)}")


def check(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with the value, the tolerances and the pattern, if anything."""
    value, decimal = options.get("value"), options.get("decimal", ".")
    if value is not None and expected_number(value, decimal) is None:
        return f"{quoted(str(value))} is not a number"
    if min(options.get("tolerance", 0), options.get("relative", 0)) < 0:
        return "a tolerance is not below 0"
    if "after" in options and "pattern" in options:
        return "`after` and `pattern` both say where the number stands: give one of them"
    if options.get("after") == "":
        return "`after` is empty: name the text that stands before the number"
    if "occurrence" in options and "after" not in options:
        return "`occurrence` says which of the places of `after` counts: give `after`, too"
    return malformed(options["pattern"]) if "pattern" in options else None


def expected_number(value: Json, decimal: str = ".", *, percent: bool = False) -> Decimal | None:
    """Return `value` as a number: a JSON number, or a text that is a number and nothing else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        number = Decimal(int(value)) if isinstance(value, int) else Decimal(str(value))
        return number if number.is_finite() else None
    if not isinstance(value, str):
        return None
    text = _plain(value).strip()
    reading = read_number(text, take="first", decimal=decimal, percent=percent)
    return reading.value if reading is not None and reading.text == text else None


def read_number(
    text: str, *, take: Take = "last", decimal: str = ".", percent: bool = False
) -> Reading | None:
    """Return the first or last number in `text`, or the text there that isn't one.

    None where there is no digit.
    """
    text = _plain(text)
    cluster = CLUSTER.search(text) if take == "first" else _last(CLUSTER.finditer(text))
    if cluster is None:
        return None
    before = text[max(0, cluster.start() - 40) : cluster.start()]
    rest = cluster["body"][:2] == "00" and UNGROUPED.search(before)
    touched = rest or TOUCHED_BEFORE.search(before) or TOUCHED_AFTER.match(text, cluster.end())
    value = None if touched else _value(cluster, decimal, percent=percent)
    return Reading(cluster[0].strip(), value)


def _value(cluster: regex.Match[str], decimal: str, *, percent: bool) -> Decimal | None:
    body = cluster["body"].translate(_MINUSES)
    match = GRAMMAR[decimal].fullmatch(body) if len(body) <= DIGITS else None
    if match is None:
        return None
    whole = "1" if match["raised"] else regex.sub(r"\D", "", match["whole"] or "0")
    power = match["raised"] or match["power"] or match["times"] or "0"
    value = Decimal(f"{whole}.{match['part'] or 0}e{power}")
    if match["below"]:
        below = int(match["below"])
        if not below:
            return None
        value = value + Decimal(match["above"]) / below if match["above"] else value / below
    if percent and cluster["percent"]:
        value /= 100
    negative = (cluster["sign"] or "+") != "+" or cluster["sign_inside"]
    return -value if negative else value


# LaTeX as models write it, turned into what the grammar reads. In math mode a space says nothing.
_ARGUMENT = r"\s*+(?:\{([^{}\\]{0,60}+)\}|(\d))"
_SEPARATORS = (
    "approx|sim|simeq|leq?|geq?|lt|gt|neq?|equiv|to|in|and|mid|cdots?|times|div|"
    "(?:long)?(?:left|right)arrow|(?:Long)?(?:Left|Right)arrow|implies|iff|therefore|because|q?quad|"
    "[ld]?dots|left|right|[bB]igg?[lr]?|displaystyle|text[a-z]*|math[a-z]+|mbox|operatorname|"
    "f?boxed|fbox|begin|end|hline|item|bf|rm|it|cr|hspace|vspace|phantom|degree|circ"
)
_SCRIPTS = r"(?:\s*+[_^]\s*+(?:\{[^{}]{0,20}+\}|\w))*+"
_LATEX: tuple[tuple[regex.Pattern[str], str], ...] = tuple(
    (regex.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\!\s*+", ""),
        (r"\{,\}", ","),
        (r"(?<=\d)(?:\\[,;: ]|~)\s*+(?=\d)", "\u2009"),
        (r"\\([%$#&_{}])", r"\1"),
        (r"(?<=\d)\s*+\\(?:times|cdot)\s*+10\s*+(?=\^)", "×10"),
        (r"\^\s*+(?:\\circ|\{\s*+\\circ\s*+\})", "°"),
        (r"\^\s*+\{\s*+([-−+]?\d+)\s*+\}", r"^\1"),
        (rf"\\(?:{_SEPARATORS})(?![A-Za-z])", " ; "),
        (rf"\\[A-Za-z]+{_SCRIPTS}\s*+(?:\[[^\]]{{0,20}}\])?\s*+(?:\{{|(?=\d))?", UNKNOWN),
    )
)
_FRACTION = regex.compile(rf"(?:(?<=\d)\s*+())?\\[dtc]?frac{_ARGUMENT}{_ARGUMENT}")
_SUPERSCRIPT = regex.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_VULGAR = regex.compile(r"(?:(?<=\d)[ ]?+())?([¼-¾⅐-⅞↉])")
_RAISED = regex.compile(r"(?<!\s)[ ]?\^[ ]?(?=[-−\d])")
_MINUSES = str.maketrans(dict.fromkeys(MINUS, "-"))
_POWER = regex.compile(r"(?<=\d)\*\*(?=[-−]?\d)")
_UNIT_POWER = regex.compile(
    r"(?<![A-Za-z])((?:[kcdmµμn]?m|in|inch(?:es)?|ft|feet|yd|yards?|mi|miles?|met(?:er|re)s?|s|sec|"
    r"h|units?)\s*\}?)\^[-−]?[1-4](?!\d)"
)
"""A unit with an exponent, as in `5 m^2` and `9.8 m/s^2`: no part of the number."""
_SPACED_FRACTION = regex.compile(r"(?<=\d)[ ]/[ ](?=\d)")
_MINUS_IN_WORDS = regex.compile(
    r"(?<![\d)\]}%][ ]?)(?<![\w-]|or )(?:minus|negative)\s(?=\p{Sc}?\d)"
    r"|(?<=[=({\[][ ]?)[-−][ ](?=\p{Sc}?\d)",
    regex.IGNORECASE,
)
"""A sign that stands apart: `minus 5`, and `x = - 5`; not the one of `10 minus 5`."""


def _plain(text: str) -> str:
    """Return `text` with LaTeX, Unicode's fractions and superscripts written out in plain marks."""
    if "\\" in text or "{" in text or "~" in text:
        text = _FRACTION.sub(_fraction, text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    if not text.isascii():
        text = _VULGAR.sub(_vulgar, text)
        text = _SUPERSCRIPT.sub(lambda match: "^" + match[0].translate(_SUPERSCRIPTS), text)
    text = _RAISED.sub("^", _POWER.sub("^", text))
    text = _SPACED_FRACTION.sub("/", _UNIT_POWER.sub(r"\1", text))
    return _MINUS_IN_WORDS.sub("-", text)


def _fraction(match: regex.Match[str]) -> str:
    above, below = match[2] or match[3] or "", match[4] or match[5] or ""
    return f"{'' if match[1] is None else ' '}{above.strip()}⁄{below.strip()} "


def _vulgar(match: regex.Match[str]) -> str:
    return f"{'' if match[1] is None else ' '}{unicodedata.normalize('NFKC', match[2])}"


def _part(text: str, after: str | None, occurrence: Take, pattern: str | None) -> str | None:
    """Return what of `text` is read; None if the place is not in it. Raises `TimeoutError`."""
    if after is not None:
        split = text.partition if occurrence == "first" else text.rpartition
        _, marker, rest = split(composed(after))
        return rest if marker else None
    if pattern is None:
        return text
    last = _last(regex.finditer(composed(pattern), text, timeout=DEADLINE))
    if last is None:
        return None
    return last[1] or "" if last.re.groups else last[0]


def _last(matches: Iterable[regex.Match[str]]) -> regex.Match[str] | None:
    """Return the last of any number of matches; one is kept at a time."""
    return next(iter(deque(matches, maxlen=1)), None)


def _shown(number: Decimal) -> str:
    """Return `18`, `0.5`, `1E+30`: without zeros that say nothing."""
    plain = number.normalize()
    return f"{plain:f}" if -12 < plain.adjusted() < 18 else str(plain)
