"""Read an answer and its metadata, from an application or a record.

An answer is a text, or an object with `text` and the fields in `BESIDE`, in our words or in those
of the two APIs. Where an application answers in a shape of its own, `response` says by JMESPath
where each field is. An invalid answer is `Malformed`, never a partial one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jmespath
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import suggestion
from llmops_cli.core.limits import DeadlineExceeded, limited, weight
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, ToolCall, Usage
from llmops_cli.providers.http.responses import (
    anthropic_usage,
    at,
    openai_usage,
    token_count,
    tool_arguments,
)
from llmops_cli.workers.process import CodeFailure

BESIDE = ("finish_reason", "tool_calls", "contexts", "ids", "usage", "cost", "served_model")
FIELDS = ("text", *BESIDE)
"""What an answer may report."""

JMESPATH_ERRORS = (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError)
"""What JMESPath raises over an answer: its own errors, and those of Python that it lets through."""

_KINDS: Mapping[str, FailureKind] = {
    "large": FailureKind.TOO_LARGE,
    "slow": FailureKind.TIMEOUT,
}


_COUNTS: tuple[tuple[tuple[str, str], Callable[[object], Usage | None]], ...] = (
    (("input", "output"), lambda _reported: None),
    (("prompt_tokens", "completion_tokens"), openai_usage),
    (("input_tokens", "output_tokens"), anthropic_usage),
)
"""Our words for the two counts of a usage, OpenAI's and Anthropic's, and who reads the rest."""


class Malformed(ValueError):
    """An invalid answer; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Application:
    """An application as a provider."""

    call: Callable[[Request], Awaitable[Completion | Failure]]

    async def complete(self, request: Request) -> Completion | Failure:
        """Return what it answers, or why there is no answer."""
        return await self.call(request)


MAX_VALUE = 32_000_000
"""Characters that a value of a query may make: twice the largest answer."""


class Query(TreeInterpreter):
    """Evaluates JMESPath; `[@, @] | [@, @] | …` makes a tree that nothing could write."""

    def visit(self, node: Any, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - jmespath's nodes
        """Return the value of a part of the query."""
        value = super().visit(node, *args, **more)
        if weight(value, MAX_VALUE) > MAX_VALUE:
            raise ValueError("it makes too much of the answer")
        return value

    def visit_function_expression(self, node: Any, value: Any) -> Any:  # noqa: ANN401
        """Return what a function makes of its arguments; `join` repeats its first one."""
        if node["value"] == "join" and len(node["children"]) == 2:
            separator, texts = (self.visit(child, value) for child in node["children"])
            repeated = isinstance(separator, str) and isinstance(texts, list)
            if repeated and len(separator) * len(texts) > MAX_VALUE:
                raise ValueError("it makes too much of the answer")
        return super().visit_function_expression(node, value)


class AnswerReader:
    """Reads the answers of one application."""

    def __init__(self, model: Model, *, strict: bool) -> None:
        """`strict`: an object without `response` has no keys that are not in `FIELDS`."""
        paths = cast("Mapping[str, str]", model.options.get("response") or {})
        self._paths: Mapping[str, ParsedResult] = {
            name: jmespath.compile(path) for name, path in paths.items()
        }
        self._strict = strict

    def outcome(self, answer: Json) -> Completion | Failure:
        """Return the completion in `answer`, or the failure that says why there is none."""
        try:
            return self.completion(answer)
        except Malformed as why:
            return malformed(why)

    def completion(self, answer: Json) -> Completion:
        """Return the completion in `answer`. Raises `Malformed`."""
        try:
            return limited(partial(self._completion, answer))
        except DeadlineExceeded as error:
            raise Malformed(f"`response`: {error}") from error

    def _completion(self, answer: Json) -> Completion:
        if self._paths:
            fields = {name: self._at(name, answer) for name in self._paths}
        elif isinstance(answer, str):
            fields = {"text": answer}
        elif isinstance(answer, Mapping):
            unknown = next((name for name in answer if name not in FIELDS), None)
            if self._strict and unknown is not None:
                hint = suggestion(str(unknown), FIELDS)
                raise Malformed(f"it has {str(unknown)[:40]!r}, which no answer has ({hint})")
            fields = {name: answer[name] for name in FIELDS if name in answer}
        else:
            raise Malformed(f"it is {_kind(answer)}, not a text and not an object")
        fields = {name: value for name, value in fields.items() if value is not None}
        return completion_of({**fields, "text": self._text(fields)})

    def _at(self, name: str, answer: Json) -> Json:
        try:
            return cast("Json", Query().visit(self._paths[name].parsed, answer))
        except JMESPATH_ERRORS as error:
            raise Malformed(f"`response.{name}`: {error}") from error

    def _text(self, fields: Mapping[str, Json]) -> str:
        """Return the text; empty if an application only retrieves."""
        text = fields.get("text")
        if isinstance(text, str):
            return text
        if isinstance(text, (dict, list)):
            return json.dumps(text, ensure_ascii=False)
        retrieves = "ids" in fields or "contexts" in fields
        if text is None and "text" not in self._paths and retrieves:
            return ""
        path = self._paths.get("text")
        place = f" at `{path.expression}`" if path is not None else ""
        raise Malformed(f"there is no text{place}, but {_kind(text)}")


def completion_of(fields: Mapping[str, Json]) -> Completion:
    """Return the completion that `text` and those of `BESIDE` make. Raises `Malformed`."""
    text = fields["text"]
    assert isinstance(text, str)
    return Completion(
        text=text,
        tool_calls=tuple(_tool_call(call) for call in _list(fields, "tool_calls")),
        finish_reason=_word(fields, "finish_reason") or "stop",
        contexts=_texts(fields, "contexts"),
        ids=_texts(fields, "ids"),
        usage=_usage(fields.get("usage")),
        cost=_cost(fields.get("cost")),
        served_model=_word(fields, "served_model"),
    )


def document_of(request: Request) -> Mapping[str, Json]:
    """Return what an application is called with."""
    if request.document is not None:
        return request.document
    messages: list[Json] = [message.plain() for message in request.messages]
    return {"inputs": {}, "messages": messages, "parameters": request.parameters}


def malformed(why: Malformed) -> Failure:
    """Return the failure of an unusable answer, which isn't retried."""
    return Failure(kind=FailureKind.BAD_ANSWER, message=f"the answer is not a whole one: {why}")


def failed(failure: CodeFailure) -> Failure:
    """Return the failure of code that gave no answer. It isn't retried, because code is usually
    deterministic.
    """
    kind = _KINDS.get(failure.cause, FailureKind.SERVER)
    return Failure(kind=kind, message=failure.why)


def _word(fields: Mapping[str, Json], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Malformed(f"{name} is not a text")


def _list(fields: Mapping[str, Json], name: str) -> list[Json]:
    value = fields.get(name, [])
    if isinstance(value, list):
        return value
    raise Malformed(f"{name} is not a list")


def _texts(fields: Mapping[str, Json], name: str) -> tuple[str, ...] | None:
    if name not in fields:
        return None
    values = _list(fields, name)
    if name == "ids":  # 17 and "17" name the same page
        values = [str(value) if type(value) is int else value for value in values]
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) < len(values):
        raise Malformed(f"{name} is not a list of texts")
    return texts


def _usage(reported: Json) -> Usage | None:
    """Return the tokens of a call. Raises `Malformed` for what counts none."""
    if reported is None:
        return None
    for names, read in _COUNTS:
        input_tokens, output_tokens = (token_count(at(reported, name)) for name in names)
        if input_tokens is not None and output_tokens is not None:
            return read(reported) or Usage(input=input_tokens, output=output_tokens)
    raise Malformed("usage has no counts of input and output tokens")


def _cost(reported: Json) -> float | None:
    if reported is None:
        return None
    if isinstance(reported, (int, float)) and not isinstance(reported, bool):
        with suppress(OverflowError):
            cost = float(reported)
            if math.isfinite(cost) and cost >= 0:
                return cost
    raise Malformed("cost is not an amount of US dollars")


def _tool_call(reported: Json) -> ToolCall:
    """Return a call in our shape, or in OpenAI's: `{"function": {"name": …, "arguments": "…"}}`."""
    call = reported.get("function", reported) if isinstance(reported, Mapping) else None
    name = at(call, "name")
    if not isinstance(name, str):
        raise Malformed("a tool call has no name")
    return ToolCall(name=name, arguments=tool_arguments(at(call, "arguments")))


def _kind(value: Json) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "an object" if isinstance(value, Mapping) else "a list"
