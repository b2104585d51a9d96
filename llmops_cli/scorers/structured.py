"""Scorers of structured answers: JSON, and the tools that the model asked for.

JSON is RFC 8259, read strictly: NaN, infinities and numbers that overflow are not JSON. Values are
equal when their canonical forms are: 1 is 1.0, true is not 1, the order of keys does not count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NoReturn

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json, NotCanonical, canonical
from llmops_cli.core.result import Completion, Score, ToolCall, Unscored
from llmops_cli.scorers.answers import answer, quoted, right, wrong


class NotJson(ValueError):
    """Text that is not JSON, with the reason."""


def json_scorer(
    case: Case,
    completion: Completion,
    *,
    fence: bool = True,
    equals: Json = None,
    expected: bool = False,
) -> Score | Unscored:
    """1 where the answer is JSON, and equal to what it must equal.

    `fence` accepts JSON that is the whole content of one Markdown code fence.
    """
    wanted = case.expected if expected else equals
    if expected and wanted is None:
        return Unscored(why=f"case {case.id!r} has no `expected`")
    try:
        given = parsed(answer(completion.text), fence=fence)
    except NotJson as error:
        return wrong(str(error))
    if wanted is None:
        return right("the answer is JSON")
    if equal(given, wanted):
        return right("the answer is the expected JSON")
    return wrong(f"expected {_shown(wanted)}; the answer is {_shown(given)}")


def tool_call(
    case: Case,
    completion: Completion,
    *,
    tool: str | None = None,
    arguments: Mapping[str, Json] | None = None,
    match: Literal["subset", "exact"] = "subset",
) -> Score | Unscored:
    """1 where every expected call is among the calls that the model made, in any order.

    `match: subset` asks for the named arguments only, `exact` for no others.
    """
    if tool is None:
        wanted = _calls(case.expected)
        if wanted is None:
            return Unscored(why="what is expected names no tool: {name, arguments} or a list")
    else:
        wanted = [ToolCall(name=tool, arguments=arguments or {})]
    made = list(completion.tool_calls)
    for call in wanted:
        position = next((at for at, each in enumerate(made) if _is(each, call, match)), None)
        if position is None:
            return wrong(f"expected {_call(call)}; {_made(completion.tool_calls)}")
        del made[position]
    return right(f"the model called {', '.join(each.name for each in wanted)}")


def parsed(text: str, *, fence: bool = True, once: bool = False) -> Json:
    """The JSON value that `text` is. Raises `NotJson`.

    `once`: no key may stand twice in an object, where otherwise the last one rules.
    """
    body = text.strip()
    if fence and body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body.partition("\n")[2].removesuffix("```")
    try:
        value: Json = json.loads(
            body,
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_each_once if once else None,
        )
    except RecursionError:
        raise NotJson("the answer is nested too deeply to be read as JSON") from None
    except ValueError as error:
        raise NotJson(f"the answer is not JSON: {error}: {quoted(text)}") from error
    return value


def equal(one: Json, other: Json) -> bool:
    """Whether two JSON values are the same."""
    try:
        return canonical(one) == canonical(other)
    except NotCanonical:
        return False  # a lone surrogate or a huge number: nobody expects one


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _each_once(pairs: list[tuple[str, Json]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{quoted(digits, 40)} is beyond a double")
    return number


def _calls(expected: Json) -> list[ToolCall] | None:
    """`name`, `{name, arguments}` or a list of these, as calls; None: it is none of them."""
    several: Sequence[Json] = expected if isinstance(expected, (list, tuple)) else [expected]
    calls = []
    for each in several:
        row = {"name": each} if isinstance(each, str) else each
        if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
            return None
        calls.append(ToolCall(name=str(row["name"]), arguments=row.get("arguments") or {}))
    return calls or None


def _is(made: ToolCall, wanted: ToolCall, match: Literal["subset", "exact"]) -> bool:
    if made.name != wanted.name:
        return False
    if match == "exact":
        return equal(made.arguments, wanted.arguments)
    if not isinstance(wanted.arguments, Mapping) or not wanted.arguments:
        return True
    given = made.arguments
    return isinstance(given, Mapping) and all(
        name in given and equal(given[name], value) for name, value in wanted.arguments.items()
    )


def _made(calls: Sequence[ToolCall]) -> str:
    shown = ", ".join(map(_call, calls[:3])) + (" …" if len(calls) > 3 else "")
    return f"the model called {shown}" if calls else "the model called no tool"


def _call(call: ToolCall) -> str:
    return f"{quoted(call.name, 60)}({_shown(call.arguments, 60)})"


def _shown(value: Json, limit: int = 120) -> str:
    text = json.dumps(value)
    return text if len(text) <= limit else f"{text[:limit]} …"
