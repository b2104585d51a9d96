"""Whatever stands at any place of an answer: it is kept, or it is a failure, never a crash.

Every place of a good answer, or of the events of one, holds every hostile value once. What comes
of it goes the way of an answer: through the door, to its price, its digest and the store's record.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import anyio
import pytest

from llmops_cli.core.prompt import Model, Price
from llmops_cli.core.redact import Redactor, sanitized
from llmops_cli.core.result import Completion, Failure
from llmops_cli.engine.budget import tariff
from llmops_cli.providers.anthropic.model import completion as claude
from llmops_cli.providers.application.answer_fields import AnswerReader, Malformed
from llmops_cli.providers.http.streams import (
    ChatAccumulator,
    Garbled,
    MessageAccumulator,
    StreamAccumulator,
)
from llmops_cli.providers.openai.messages import completion as chat
from llmops_cli.providers.openai.messages import embedding
from llmops_cli.stores.codec import completion_of, completion_record, from_bytes, to_bytes

Path: TypeAlias = "tuple[str | int, ...]"
Read: TypeAlias = "Callable[[Any], Completion | Failure | None]"

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
         "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
CALL = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
CHAT = {
    "model": "m",
    "system_fingerprint": "fp",
    "choices": [
        {
            "index": 0,
            "message": {"content": "hi", "refusal": None, "tool_calls": [CALL]},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
CHUNKS = [
    {"model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": USAGE},
]
MESSAGE = {
    "model": "m",
    "content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "name": "f", "input": {}}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 8, "output_tokens": 5, "cache_read_input_tokens": 4},
}
EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "f"}},
    {"type": "content_block_delta", "index": 1, "delta": {"partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]
VECTOR = {"model": "m", "data": [{"index": 0, "embedding": [1.0, 2]}], "usage": USAGE}
SAID = {
    "text": "hi",
    "finish_reason": "stop",
    "tool_calls": [CALL],
    "contexts": ["a"],
    "ids": ["1"],
    "usage": {"input": 1, "output": 2},
    "cost": 0.1,
    "served_model": "m",
}
DEEP = json.loads("[" * 600 + "]" * 600)
HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 5, 1.5, 10**400, -(10**400), 1e308, "", "x", "9" * 5000, "\ud800",
    [], [None], [5], {}, {"x": 1}, {"type": []}, {"type": "text", "text": None}, DEEP,
    {"function": {"name": None}}, {"name": "f", "arguments": "[" * 100_000},
    {"name": "f", "arguments": "NaN"},
)  # fmt: skip


def gathered(pieces: type[StreamAccumulator], read: Read) -> Read:
    def of(events: list[Mapping[str, Any]]) -> Completion | Failure | None:
        gathering = pieces()
        with suppress(Garbled):
            for event in events:
                if isinstance(event, dict) and gathering.add(event):
                    break
            return read(gathering.answer())
        return None

    return of


def application(answer: Any) -> Completion | None:
    with suppress(Malformed):
        return AnswerReader(Model(name="a", provider="http", model="a"), strict=False).completion(
            answer
        )
    return None


SHAPES: Mapping[str, tuple[Any, Read]] = {
    "chat": (CHAT, chat),
    "chunks": (CHUNKS, gathered(ChatAccumulator, chat)),
    "message": (MESSAGE, claude),
    "events": (EVENTS, gathered(MessageAccumulator, claude)),
    "vector": (VECTOR, embedding),
    "application": (SAID, application),
}


def places(node: Any, path: Path = ()) -> Iterator[Path]:
    named = node.items() if isinstance(node, dict) else enumerate(node)
    for name, each in named:
        yield (*path, name)
        if isinstance(each, (dict, list)):
            yield from places(each, (*path, name))


def changed(node: Any, path: Path, value: Any) -> Any:
    made = inner = copy.deepcopy(node)
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_any_answer_is_stored_or_is_a_failure(shape: str) -> None:
    good, read = SHAPES[shape]
    price = tariff(
        Model(name="m", provider="openai", model="m", price=Price(input=1.0, output=1.0))
    )
    assert price is not None

    async def main() -> set[type[Any]]:
        kinds = {type(read(good))}
        assert kinds == {Completion}
        for path in places(good):
            for value in HOSTILE:
                outcome = read(changed(good, path, value))
                kinds.add(type(outcome))
                if not isinstance(outcome, Completion):
                    continue
                kept = sanitized(outcome, Redactor())
                assert "None" not in f"{kept.text} {[each.name for each in kept.tool_calls]}"
                assert kept.usage is None or price(kept.usage) >= 0
                again = completion_of(from_bytes(to_bytes(completion_record(kept))))
                assert again.digest == kept.digest
        return kinds

    assert len(anyio.run(main)) > 1


@pytest.mark.parametrize(
    ("shape", "path", "value"),
    [
        ("chat", ("choices", 0, "message"), {"role": "assistant"}),
        ("chat", ("choices", 0, "message", "tool_calls", 0, "function", "name"), None),
        ("chat", ("choices", 0, "finish_reason"), "ERROR"),
        ("chunks", (0, "choices"), 5),
        ("chunks", (0, "choices", 0, "delta"), ["hi"]),
        ("chunks", (0, "choices", 0, "delta", "content"), 5),
        ("chunks", (1, "choices", 0, "delta", "tool_calls"), True),
        ("message", ("content", 0, "text"), None),
        ("message", ("content", 1, "name"), None),
        ("events", (1,), {"type": "ping"}),
        ("events", (2, "index"), 7),
        ("events", (2, "delta", "text"), ["hi"]),
        ("events", (3, "index"), 0),
        ("vector", ("data", 0, "embedding", 0), 1e200),
    ],
)
def test_an_answer_with_a_hole_in_it_is_none(shape: str, path: Path, value: Any) -> None:
    good, read = SHAPES[shape]

    async def main() -> Completion | Failure | None:
        return read(changed(good, path, value))

    assert not isinstance(anyio.run(main), Completion)
