"""What judged scorers share: quoting what is judged, and reading what a judge answers.

A judge's answer counts only where it is the JSON that was asked for. Prose, another shape, an
answer that was refused or cut off have measured nothing: that is `Unscored`, never a pass or a 0.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json, digest
from llmops_cli.core.number import dump_json
from llmops_cli.core.result import Completion, Failure, Outcome, Unscored
from llmops_cli.scorers.answers import quoted
from llmops_cli.scorers.structured import NotJson, parsed

T = TypeVar("T")

REASKS = 2
"""Further calls in one run where a judge answers with something else than what was asked for."""
MARK = 12
"""Hexadecimal digits of the mark around quoted parts."""
LONGEST_REASON = 2_000
"""Characters of a judge's reason that are stored."""
NOTHING_RETRIEVED = "(the application retrieved no passage)"


class WrongForm(ValueError):
    """JSON that is not what the judge was asked for."""


def mark(*texts: str) -> str:
    """Return a name for the quoted parts of a judge's prompt that none of `texts` can foresee.

    From a digest, so that the same question to a judge is the same request.
    """
    return "#" + digest("llmops/mark/v1", list(texts)).removeprefix("sha256:")[:MARK]


def question_of(case: Case) -> str:
    """Return what the application was asked: its one text, or inputs and earlier turns as JSON."""
    values = list(case.inputs.values())
    if len(values) == 1 and isinstance(values[0], str) and not case.messages:
        return values[0]
    inputs = dict(case.inputs)
    if not case.messages:
        return dump_json(inputs)
    turns = [message.plain() for message in case.messages]
    return dump_json({"earlier": turns, "inputs": inputs})


def passages(case: Case, completion: Completion) -> Sequence[str] | None:
    """Return what was answered from: what the application retrieved, else what the case gives.

    Empty: the application retrieved nothing. None: there are no passages to compare with.
    """
    return (case.contexts or None) if completion.contexts is None else completion.contexts


def schema(name: str, values: Sequence[str] | Sequence[int], *, reason: bool) -> Mapping[str, Json]:
    """Return the JSON Schema of a judge's answer: its reason first, then one of `values`."""
    kind = "string" if isinstance(values[0], str) else "integer"
    properties: dict[str, Json] = {"reason": {"type": "string"}} if reason else {}
    properties[name] = {"type": kind, "enum": list(values)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def form(name: str, values: Sequence[str] | Sequence[int], *, reason: bool) -> str:
    """Return the same for a reader: `{"reason": "…", "verdict": "pass" | "fail"}`."""
    listed = " | ".join(json.dumps(value, ensure_ascii=False) for value in values)
    return "{" + ('"reason": "…", ' if reason else "") + f'"{name}": {listed}' + "}"


def chosen(answer: Json, name: str, values: Sequence[str] | Sequence[int]) -> tuple[str | int, str]:
    """Return the value under `name` and the reason. Raises `WrongForm`.

    Names are compared without regard to case; nothing else is forgiven.
    """
    if not isinstance(answer, Mapping) or name not in answer:
        raise WrongForm(f"the judge's JSON has no {name!r}")
    choice = answer[name]
    for value in values:
        if isinstance(choice, str) and isinstance(value, str):
            same = choice.casefold() == value.casefold()
        else:
            same = choice == value and isinstance(choice, bool) is isinstance(value, bool)
        if same:
            return value, str(answer.get("reason") or "")[:LONGEST_REASON]
    raise WrongForm(f"the judge answered {quoted(json.dumps(choice))}, which is none of the values")


async def answer_of(
    ask: Callable[[], Awaitable[Outcome]], read: Callable[[Json], T]
) -> tuple[T, Completion] | Unscored:
    """Return what `read` makes of the judge's answer; each call of `ask` asks once more.

    A stored answer that cannot be read is passed over: it costs nothing, and the next one may be
    better. Of answers called in this run, at most `REASKS` more are asked for.
    """
    live = 0
    while True:
        outcome = await ask()
        if isinstance(outcome, Failure):
            return Unscored(why=f"the judge gave no answer: {outcome.message}")
        why = _unusable(outcome)
        if why is None:
            try:
                return read(parsed(outcome.text or "", once=True)), outcome
            except (NotJson, WrongForm) as error:
                why = str(error).replace("the answer is", "the judge's answer is", 1)
        elif outcome.latency is not None:
            return Unscored(why=why)
        live += outcome.latency is not None
        if live > REASKS:
            return Unscored(why=f"{why} (asked {live} times)")


def _unusable(outcome: Completion) -> str | None:
    match outcome.finish_reason:
        case "content_filter" | "refusal":
            return "the judge refused to answer"
        case "length":
            return "the judge's answer was cut off: give its model a higher maxTokens"
        case _ if outcome.text is None:
            return "the judge's answer is not stored here"
        case _:
            return None
