"""A trajectory: the messages of an agent's conversation, with what each model call used.

The JSON form is that of OpenTelemetry GenAI's `gen_ai.input.messages` and `gen_ai.output.messages`:
`{"role": …, "parts": [{"type": "text", "content": …}], "finish_reason": …}`, with the parts `text`,
`tool_call` and `tool_call_response`. What a model call used stands beside the parts of its
assistant message, in the field `call`. Reading is strict: what a scorer would not see is an
`InvalidRecord` that names the message and the part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from llmops_cli.core.digest import InvalidRecord, Json
from llmops_cli.core.result import Completion, ToolCall, Usage

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A part that is text."""

    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallResponse:
    """What a tool answered to the call with this `id`."""

    response: Json
    id: str | None = None


Part: TypeAlias = Text | ToolCall | ToolCallResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """What one model call used. None: not known."""

    usage: Usage | None = None
    cost: float | None = None
    """US dollars."""
    latency: float | None = None
    """Seconds."""
    first_token: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryMessage:
    """One message; an assistant's also says why it ended and what its model call used."""

    role: str
    parts: tuple[Part, ...]
    finish_reason: str | None = None
    call: ModelCall | None = None

    def plain(self) -> dict[str, Json]:
        """Return the message as plain JSON, without what is not known."""
        record: dict[str, Json] = {
            "role": self.role,
            "parts": [_plain(part) for part in self.parts],
        }
        if self.finish_reason is not None:
            record["finish_reason"] = self.finish_reason
        if self.call is not None:
            record["call"] = _call_record(self.call)
        return record


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The messages of a conversation, in order."""

    messages: tuple[TrajectoryMessage, ...]

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls of all messages, in order."""
        return tuple(
            part
            for message in self.messages
            for part in message.parts
            if isinstance(part, ToolCall)
        )

    @property
    def cost(self) -> float | None:
        """Return the US dollars of all model calls; None if the cost of one is not known."""
        costs = [
            message.call.cost if message.call else None
            for message in self.messages
            if message.role == "assistant"
        ]
        known = [cost for cost in costs if cost is not None]
        return math.fsum(known) if len(known) == len(costs) else None

    def plain(self) -> list[Json]:
        """Return the messages as plain JSON."""
        return [message.plain() for message in self.messages]


def trajectory_of_completion(completion: Completion) -> Trajectory:
    """Return the trajectory of one assistant message that `completion` is."""
    parts: list[Part] = [Text(content=completion.text)] if completion.text else []
    call = ModelCall(
        usage=completion.usage,
        cost=completion.cost,
        latency=completion.latency,
        first_token=completion.first_token,
    )
    message = TrajectoryMessage(
        role="assistant",
        parts=(*parts, *completion.tool_calls),
        finish_reason=completion.finish_reason,
        call=None if call == ModelCall() else call,
    )
    return Trajectory((message,))


def trajectory_of(record: object) -> Trajectory:
    """Return the trajectory in a list of plain messages. Raises `InvalidRecord`."""
    if not isinstance(record, list):
        raise InvalidRecord(f"messages is a {type(record).__name__}, not a list")
    return Trajectory(tuple(_message_of(item, f"messages[{at}]") for at, item in enumerate(record)))


def _message_of(record: object, where: str) -> TrajectoryMessage:
    values = _object(record, where, needs=("role", "parts"), may=("finish_reason", "call"))
    role, parts, finish = values["role"], values["parts"], values.get("finish_reason")
    if role not in ROLES:
        raise InvalidRecord(f"{where}.role is {role!r}, not one of {', '.join(ROLES)}")
    if not isinstance(parts, list):
        raise InvalidRecord(f"{where}.parts is a {type(parts).__name__}, not a list")
    if finish is not None and not isinstance(finish, str):
        raise InvalidRecord(f"{where}.finish_reason is {finish!r}, not a text")
    call = values.get("call")
    return TrajectoryMessage(
        role=role,
        parts=tuple(_part_of(part, f"{where}.parts[{at}]") for at, part in enumerate(parts)),
        finish_reason=finish,
        call=None if call is None else _call_of(call, f"{where}.call"),
    )


def _part_of(record: object, where: str) -> Part:
    kind = record.get("type") if isinstance(record, Mapping) else None
    if kind == "text":
        values = _object(record, where, needs=("type", "content"))
        return Text(content=_text(values["content"], f"{where}.content"))
    if kind == "tool_call":
        values = _object(record, where, needs=("type", "name"), may=("id", "arguments"))
        name = _text(values["name"], f"{where}.name")
        return ToolCall(name=name, arguments=values.get("arguments"), id=_id(values, where))
    if kind == "tool_call_response":
        values = _object(record, where, needs=("type", "response"), may=("id",))
        return ToolCallResponse(response=values["response"], id=_id(values, where))
    raise InvalidRecord(f"{where} has type {kind!r}, not text, tool_call or tool_call_response")


def _call_of(record: object, where: str) -> ModelCall:
    values = _object(record, where, may=tuple(field.name for field in fields(ModelCall)))
    usage = values.pop("usage", None)
    for name, value in values.items():
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise InvalidRecord(f"{where}.{name} is {value!r}, not a number of at least 0")
    if usage is None:
        return ModelCall(**values)
    counts = tuple(field.name for field in fields(Usage))
    usage = _object(usage, f"{where}.usage", needs=counts[:2], may=counts[2:])
    for name, value in usage.items():
        if type(value) is not int or not 0 <= value < 2**63:
            raise InvalidRecord(f"{where}.usage.{name} is {value!r}, not a number of tokens")
    return ModelCall(usage=Usage(**usage), **values)


def _object(
    record: object, where: str, needs: Sequence[str] = (), may: Sequence[str] = ()
) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise InvalidRecord(f"{where} is a {type(record).__name__}, not an object")
    for name in needs:
        if name not in record:
            raise InvalidRecord(f"{where} has no {name}")
    for name in record:
        if name not in needs and name not in may:
            raise InvalidRecord(f"{where} has an unknown field {name!r}")
    return dict(record)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidRecord(f"{where} is {value!r}, not a text")
    return value


def _id(values: Mapping[str, Any], where: str) -> str | None:
    return None if values.get("id") is None else _text(values["id"], f"{where}.id")


def _plain(part: Part) -> dict[str, Json]:
    if isinstance(part, Text):
        return {"type": "text", "content": part.content}
    known: dict[str, Json] = {} if part.id is None else {"id": part.id}
    if isinstance(part, ToolCall):
        return {"type": "tool_call", **known, "name": part.name, "arguments": part.arguments}
    return {"type": "tool_call_response", **known, "response": part.response}


def _call_record(call: ModelCall) -> dict[str, Json]:
    record: dict[str, Json] = {
        name: getattr(call, name)
        for name in ("cost", "latency", "first_token")
        if getattr(call, name) is not None
    }
    if call.usage is not None:
        counts = {field.name: getattr(call.usage, field.name) for field in fields(Usage)}
        record["usage"] = {
            name: count for name, count in counts.items() if count or name in ("input", "output")
        }
    return record
