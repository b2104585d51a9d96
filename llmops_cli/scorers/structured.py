"""Scorers of structured answers: JSON and tool calls.

JSON is RFC 8259, read strictly: NaN, infinities and numbers that overflow are not JSON. 1 is 1.0,
true is not 1, the order of keys does not count, text is compared in its composed form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, Literal, NoReturn, TypeAlias

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, ToolCall, Unscored
from llmops_cli.scorers.scoring import answer_text, quoted, right, same_json, wrong

Match: TypeAlias = Literal["subset", "exact"]

SHAPE = "write its name, {name, arguments}, or a list of these"


class NotJson(ValueError):
    """Text that is not JSON, with the reason."""


class NotACall(ValueError):
    """An expectation that isn't a tool call, with the reason."""


def json_scorer(
    case: Case,
    completion: Completion,
    *,
    fence: bool = True,
    equals: Json | EllipsisType = ...,
    expected: bool = False,
) -> Score | Unscored:
    """Score 1 if the answer is JSON, and equal to what it must equal (null is a value, too).

    `fence` accepts JSON that is the whole content of one Markdown code fence.
    """
    if expected and case.expected is None:
        return Unscored(why=f"case {case.id!r} has no `expected`")
    value = case.expected if expected else equals
    try:
        answer = parsed(answer_text(completion), fence=fence)
    except NotJson as error:
        return wrong(str(error))
    if isinstance(value, EllipsisType):
        return right("the answer is JSON")
    if same_json(answer, value):
        return right("the answer is the expected JSON")
    return wrong(f"expected {_shown(value)}; the answer is {_shown(answer)}")


def tool_call(
    case: Case,
    completion: Completion,
    *,
    tool: Json = None,
    arguments: Mapping[str, Json] | None = None,
    match: Match = "subset",
) -> Score | Unscored:
    """Score 1 if each expected call is one of the calls that the model made, in any order.

    `match: subset` allows further arguments and further calls, `exact` neither. An empty list
    expects that no tool is called.
    """
    try:
        expected = expected_calls(case.expected if tool is None else tool, arguments)
    except NotACall as error:
        return Unscored(why=str(error))
    made = completion.tool_calls
    missing = _unmatched(expected, made, match)
    if missing is not None:
        return wrong(f"expected {_call(missing)}; {_made(made)}")
    if len(made) > len(expected) and (match == "exact" or not expected):
        number = len(expected) or "no"
        return wrong(f"expected {number} call{'s' * (number != 1)}; {_made(made)}")
    names = ", ".join(call.name for call in expected)
    return right(f"the model called {names}" if names else "the model called no tool")


def check_tool(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with the calls that are expected, if anything."""
    if "tool" not in options:
        return None
    try:
        expected_calls(options["tool"], options.get("arguments"))
    except NotACall as error:
        return str(error)
    return None


def expected_calls(expected: Json, arguments: Mapping[str, Json] | None = None) -> list[ToolCall]:
    """Return the calls in an expectation. Raises `NotACall` for what names no tool.

    It is a name, a call or a list of these, or the JSON text of a call or a list. `arguments` are
    those of an expectation that is a bare name.
    """
    if isinstance(expected, str) and expected.lstrip()[:1] in ("{", "["):
        text = expected
        try:
            expected = parsed(text, fence=False)
        except NotJson:
            raise NotACall(f"{quoted(text)} is no tool and not JSON: {SHAPE}") from None
    if arguments is not None:
        if not isinstance(expected, str):
            raise NotACall("`arguments` are those of one tool that is named by `tool`")
        expected = {"name": expected, "arguments": arguments}
    calls = expected if isinstance(expected, (list, tuple)) else [expected]
    return [_expected_call(call) for call in calls]


def _expected_call(call: Json) -> ToolCall:
    """Return the call in our shape or in OpenAI's, `{"type": "function", "function": {…}}`."""
    if isinstance(call, str):
        call = {"name": call}
    if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping):
        around = sorted(call.keys() - {"type", "id", "index", "function"})
        if around:
            raise NotACall(f"{quoted(around[0])} stands beside `function`: put it into it")
        call = call["function"]
    name = call.get("name") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(name, str) or not name:
        raise NotACall(f"what is expected names no tool: {SHAPE}")
    unknown = sorted(call.keys() - {"name", "arguments"})
    if unknown:
        raise NotACall(f"the expected call of {quoted(name, 60)} has {quoted(unknown[0])}: {SHAPE}")
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = parsed(arguments, fence=False)
        except NotJson:
            raise NotACall(f"the arguments of {quoted(name, 60)} are not JSON") from None
    if arguments is not None and not isinstance(arguments, Mapping):
        raise NotACall(f"the arguments of {quoted(name, 60)} are no object of names and values")
    return ToolCall(name=name, arguments=arguments or {})


def parsed(text: str, *, fence: bool = True, once: bool = False) -> Json:
    """Return the JSON value that `text` is. Raises `NotJson`.

    `once`: no key may stand twice in an object, where otherwise the last one counts.
    """
    body = text.strip()
    if fence and body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body.partition("\n")[2].removesuffix("```")
    try:
        value: Json = json.loads(
            body,
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_distinct_keys if once else None,
        )
    except RecursionError:
        raise NotJson("the answer is nested too deeply to be read as JSON") from None
    except ValueError as error:
        raise NotJson(f"the answer is not JSON: {error}: {quoted(text)}") from error
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _distinct_keys(pairs: list[tuple[str, Json]]) -> Json:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands twice")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{quoted(digits, 40)} is beyond a double")
    return number


def _unmatched(
    expected: Sequence[ToolCall], made: Sequence[ToolCall], match: Match
) -> ToolCall | None:
    """Return an expected call that no call is left for; None: each has one of its own.

    A matching in a bipartite graph by augmenting paths (Kuhn): a call that fits two expectations
    must not be used up by the one that another call fits as well.
    """
    owner: dict[int, int] = {}

    def claim(at: int, tried: set[int]) -> bool:
        for place, call in enumerate(made):
            if place in tried or not _fits(call, expected[at], match):
                continue
            tried.add(place)
            if place not in owner or claim(owner[place], tried):
                owner[place] = at
                return True
        return False

    return next((call for at, call in enumerate(expected) if not claim(at, set())), None)


def _fits(made: ToolCall, expected: ToolCall, match: Match) -> bool:
    if made.name != expected.name:
        return False
    if match == "exact":
        return same_json(made.arguments, expected.arguments)
    assert isinstance(expected.arguments, Mapping)
    actual = made.arguments
    return not expected.arguments or (
        isinstance(actual, Mapping)
        and all(
            name in actual and same_json(actual[name], value)
            for name, value in expected.arguments.items()
        )
    )


def _made(calls: Sequence[ToolCall]) -> str:
    shown = ", ".join(map(_call, calls[:3])) + (" …" if len(calls) > 3 else "")
    return f"the model called {shown}" if calls else "the model called no tool"


def _call(call: ToolCall) -> str:
    return f"{quoted(call.name, 60)}({_shown(call.arguments, 60)})"


def _shown(value: Json, limit: int = 120) -> str:
    text = json.dumps(value)
    return text if len(text) <= limit else f"{text[:limit]} …"
