"""What is said of one answer besides its text, whoever says it: a record, or an application.

`finish_reason`, `tool_calls`, `contexts`, `ids`, `usage`, `cost` and `served_model`, in our words
or in those of the two APIs. What makes no sense is `Malformed`, and never half an answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress

from llmops_cli.core.digest import Json
from llmops_cli.core.result import Completion, ToolCall, Usage
from llmops_cli.providers.wire.values import arguments, count

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
