"""What is said of one answer besides its text, whoever says it: a record, or an application.

`finish_reason`, `tool_calls`, `contexts`, `ids`, `usage`, `cost` and `served_model`, in our words
or in those of the two APIs. What makes no sense is `Malformed`, and never half an answer.

What the three ways to reach an application have in common: how its answers are read.

An answer is a text, or an object with `text` and what else is known of it (`said`). Where an
application answers in a shape of its own, `response` says by JMESPath where each part stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

import jmespath
from jmespath.parser import ParsedResult

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import suggestion
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, ToolCall, Usage
from llmops_cli.providers.http.errors import arguments, count
from llmops_cli.workers.process import Trouble

BESIDE = ("finish_reason", "tool_calls", "contexts", "ids", "usage", "cost", "served_model")

_COUNTS = (
    ("input", "output"),
    ("prompt_tokens", "completion_tokens"),
    ("input_tokens", "output_tokens"),
)
"""Our words for the two counts of a usage, OpenAI's and Anthropic's."""


class Malformed(ValueError):
    """An answer that cannot be taken at its word; the message says what is wrong with it."""


def completed(said: Mapping[str, Json]) -> Completion:
    """The completion that `text` and those of `BESIDE` in `said` make. Raises `Malformed`."""
    text = said["text"]
    assert isinstance(text, str)
    return Completion(
        text=text,
        tool_calls=tuple(_tool_call(each) for each in _list(said, "tool_calls")),
        finish_reason=_word(said, "finish_reason") or "stop",
        contexts=_texts(said, "contexts"),
        ids=_texts(said, "ids"),
        usage=_usage(said.get("usage")),
        cost=_cost(said.get("cost")),
        served_model=_word(said, "served_model"),
    )


def _word(said: Mapping[str, Json], name: str) -> str | None:
    value = said.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Malformed(f"{name} is not a text")


def _list(said: Mapping[str, Json], name: str) -> list[Json]:
    value = said.get(name, [])
    if isinstance(value, list):
        return value
    raise Malformed(f"{name} is not a list")


def _texts(said: Mapping[str, Json], name: str) -> tuple[str, ...] | None:
    if name not in said:
        return None
    values = _list(said, name)
    if name == "ids":  # 17 and "17" name the same page
        values = [str(each) if type(each) is int else each for each in values]
    texts = tuple(each for each in values if isinstance(each, str))
    if len(texts) < len(values):
        raise Malformed(f"{name} is not a list of texts")
    return texts


def _usage(said: Json) -> Usage | None:
    if said is None:
        return None
    if isinstance(said, Mapping):
        for names in _COUNTS:
            read, written = (count(said.get(name)) for name in names)
            if read is not None and written is not None:
                return Usage(input=read, output=written)
    raise Malformed("usage has no counts of input and output tokens")


def _cost(said: Json) -> float | None:
    if said is None:
        return None
    if isinstance(said, (int, float)) and not isinstance(said, bool):
        with suppress(OverflowError):
            cost = float(said)
            if math.isfinite(cost) and cost >= 0:
                return cost
    raise Malformed("cost is not an amount of US dollars")


def _tool_call(said: Json) -> ToolCall:
    """Our shape, or OpenAI's: `{"function": {"name": …, "arguments": "…"}}`."""
    call = said.get("function", said) if isinstance(said, Mapping) else None
    name = call.get("name") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(name, str):
        raise Malformed("a tool call has no name")
    return ToolCall(name=name, arguments=arguments(call.get("arguments")))


PARTS = ("text", *BESIDE)
"""What an answer may say."""

UNANSWERABLE = (ArithmeticError, RecursionError, TypeError, ValueError)
"""What JMESPath raises over an answer: its own errors, and those of Python that it lets through."""

_KINDS: Mapping[str, FailureKind] = {
    "large": FailureKind.TOO_LARGE,
    "slow": FailureKind.TIMEOUT,
}


class Reading:
    """How the answers of one application are read."""

    def __init__(self, model: Model, *, strict: bool) -> None:
        """`strict`: an object without `response` says nothing that is not in `PARTS`."""
        paths = cast("Mapping[str, str]", model.options.get("response") or {})
        self._paths: Mapping[str, ParsedResult] = {
            part: jmespath.compile(path) for part, path in paths.items()
        }
        self._strict = strict

    def completion(self, answer: Json) -> Completion:
        """What `answer` says. Raises `Malformed`."""
        if self._paths:
            said = {part: self._at(part, answer) for part in self._paths}
        elif isinstance(answer, str):
            said = {"text": answer}
        elif isinstance(answer, Mapping):
            said = self._parts(answer)
        else:
            raise Malformed(f"it is {_called(answer)}, not a text and not an object")
        found = {part: value for part, value in said.items() if value is not None}
        return completed({**found, "text": self._text(found)})

    def _at(self, part: str, answer: Json) -> Json:
        path = self._paths[part]
        try:
            return cast("Json", path.search(answer))
        except UNANSWERABLE as error:
            raise Malformed(f"`response.{part}`: {error}") from error

    def _parts(self, answer: Mapping[str, Json]) -> dict[str, Json]:
        strange = next((name for name in answer if name not in PARTS), None)
        if self._strict and strange is not None:
            hint = suggestion(str(strange), PARTS)
            raise Malformed(f"it says {str(strange)[:40]!r}, which no answer does ({hint})")
        return {part: answer[part] for part in PARTS if part in answer}

    def _text(self, said: Mapping[str, Json]) -> str:
        """The text; empty where an application only retrieves."""
        text = said.get("text")
        if isinstance(text, str):
            return text
        if isinstance(text, (dict, list)):
            return json.dumps(text, ensure_ascii=False)
        if text is None and "text" not in self._paths and ("ids" in said or "contexts" in said):
            return ""
        where = self._paths.get("text")
        place = f" at `{where.expression}`" if where is not None else ""
        raise Malformed(f"there is no text{place}, but {_called(text)}")


def handed(request: Request) -> Mapping[str, Json]:
    """What an application is handed."""
    if request.document is not None:
        return request.document
    return {"inputs": {}, "messages": _plain(request.messages), "parameters": request.parameters}


def unreadable(why: Malformed) -> Failure:
    """An answer that says nothing usable: another would not either."""
    return Failure(kind=FailureKind.BAD_ANSWER, message=f"the answer is not a whole one: {why}")


def failed(trouble: Trouble) -> Failure:
    """What became of code that gave no answer. It is not tried again: code does as it does."""
    kind = _KINDS.get(trouble.cause, FailureKind.SERVER)
    return Failure(kind=kind, message=trouble.why)


def _plain(messages: tuple[Message, ...]) -> list[Json]:
    return [each.plain() for each in messages]


def _called(value: Json) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "an object" if isinstance(value, Mapping) else "a list"
