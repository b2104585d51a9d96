"""What the anthropic provider sends and makes of what comes back, against the SDK itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from anthropic import AsyncAnthropic

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.result import Completion, FailureKind, ToolCall, Usage
from llmops_cli.engine.call import Engine
from llmops_cli.providers.anthropic.messages import MAX_TOKENS, body
from llmops_cli.providers.anthropic.model import completion, open_anthropic
from tests.outcomes import failed
from tests.servers import faulty
from tests.servers.faulty import Behaviour, Exchange

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA},
}
TURNS = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="größe?"),
    Message(role="assistant", content="Which?"),
    Message(role="user", content="mine"),
)


def context(**environ: str) -> PluginContext:
    return PluginContext(root=Path(), environ=environ)


def model(url: str | None, **changes: Any) -> Model:
    return Model(name="c", provider="anthropic", model="claude-haiku-4-5", base_url=url, **changes)


def request(**changes: Any) -> Request:
    given = {"provider": "anthropic", "model": "claude-haiku-4-5", "messages": TURNS}
    return Request(**{**given, **changes})


def exchange(asked: Request, *script: Behaviour) -> tuple[Any, Exchange]:
    async def main() -> tuple[Any, Exchange]:
        async with faulty.serve(*script) as server:
            of = model(server.root)
            async with open_anthropic(of, context(ANTHROPIC_API_KEY="sk-ant")) as provider:
                outcome = await provider.complete(asked)
            assert server.last is not None
            return outcome, server.last

    return anyio.run(main)


def test_an_answer_is_read_and_cached_tokens_are_within_the_input() -> None:
    outcome, _ = exchange(request())
    assert outcome == Completion(
        text="mine",
        usage=Usage(input=12, output=5, cached_input=4),
        served_model="claude-haiku-4-5-0001",
    )


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(parameters={"max_tokens": 7, "stop": "x"}),
        request(tools=(TOOL,), parameters={"tool_choice": "required"}),
        request(response_format="json_schema", json_schema=SCHEMA),
    ],
    ids=["plain", "parameters", "tools", "json_schema"],
)
def test_what_is_sent_is_what_the_sdk_sends(asked: Request) -> None:
    _, ours = exchange(asked)

    async def through_the_sdk() -> Exchange:
        async with (
            faulty.serve() as server,
            AsyncAnthropic(api_key="sk-ant", base_url=server.root) as sdk,
        ):
            await sdk.messages.create(**body(asked))
            assert server.last is not None
            return server.last

    theirs = anyio.run(through_the_sdk)
    assert (ours.path, ours.body) == (theirs.path, theirs.body)
    for header in ("authorization", "anthropic-version", "content-type", "accept", "user-agent"):
        assert ours.headers.get(header) == theirs.headers.get(header)
    assert ours.headers.get("x-api-key") == theirs.headers.get("x-api-key")


def test_system_turns_stand_apart_and_roles_are_claude_s() -> None:
    sent = body(request())
    assert sent["system"] == [{"type": "text", "text": "Be brief."}]
    assert [each["role"] for each in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["max_tokens"] == MAX_TOKENS


def test_tools_and_choices_take_claude_s_shape() -> None:
    sent = body(request(tools=(TOOL,), parameters={"tool_choice": "required"}))
    assert sent["tools"] == [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}]
    assert sent["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("schema", [SCHEMA, {"name": "reply", "strict": True, "schema": SCHEMA}])
def test_a_schema_becomes_an_output_format(schema: dict[str, Any]) -> None:
    sent = body(request(response_format="json_schema", json_schema=schema))
    assert sent["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}


def test_images_become_image_blocks() -> None:
    turn = Message(
        role="user",
        content=(
            {"type": "text", "text": "what?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": "https://example.org/a.png"},
        ),
    )
    assert body(request(messages=(turn,)))["messages"][0]["content"] == [
        {"type": "text", "text": "what?"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        },
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ]


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_why_it_stopped_is_said_in_the_common_words(said: str, means: str) -> None:
    answer = completion({"content": [{"type": "text", "text": "x"}], "stop_reason": said})
    assert isinstance(answer, Completion)
    assert answer.finish_reason == means


def test_tool_calls_are_read() -> None:
    blocks = [
        {"type": "text", "text": "let me "},
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "look"},
        {"type": "tool_use", "id": "1", "name": "look", "input": {"a": "b"}},
    ]
    answer = completion({"content": blocks, "stop_reason": "tool_use"})
    assert answer == Completion(
        text="let me look",
        tool_calls=(ToolCall(name="look", arguments={"a": "b"}),),
        finish_reason="tool_calls",
    )


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"content": "x", "stop_reason": "end_turn"},
        {"content": ["x"], "stop_reason": "end_turn"},
        {"content": [], "stop_reason": None},
    ],
    ids=json.dumps,
)
def test_json_that_is_no_whole_answer_is_a_failure(answer: dict[str, Any]) -> None:
    outcome = failed(completion(answer))
    assert (outcome.kind, outcome.retryable) == (FailureKind.BAD_ANSWER, True)


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k", "seed"])
def test_sampling_parameters_are_refused_with_a_hint_before_any_call(name: str) -> None:
    async def main() -> int:
        async with faulty.serve() as server:
            of = model(server.root, parameters={name: 0})
            with pytest.raises(Refused) as refusal:
                async with open_anthropic(of, context(ANTHROPIC_API_KEY="k")):
                    pass
            assert f"no {name!r}" in refusal.value.message
            assert f"remove {name}" in (refusal.value.hint or "")
            return server.requests

    assert anyio.run(main) == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request(parameters={"temperature": 0}), "takes no 'temperature' any more"),
        (request(parameters={"maxtokens": 5}), "takes no parameter 'maxtokens'"),
        (request(response_format="json_object"), "no response format json_object"),
        (request(response_format="embedding"), "anthropic has no embeddings"),
    ],
    ids=["temperature", "typo", "json_object", "embedding"],
)
def test_what_a_prompt_asks_in_vain_is_refused_before_any_call(
    asked: Request, message: str
) -> None:
    async def main() -> int:
        async with faulty.serve() as server:
            with pytest.raises(Refused, match=message):
                async with Engine(
                    providers=lambda of: open_anthropic(of, context(ANTHROPIC_API_KEY="k"))
                ) as engine:
                    await engine.ask(model(server.root), asked)
            return server.requests

    assert anyio.run(main) == 0


def test_no_key_is_refused_on_opening() -> None:
    async def main() -> None:
        async with open_anthropic(model(None), context()):
            pass

    with pytest.raises(Refused, match="no key, ANTHROPIC_API_KEY is not set"):
        anyio.run(main)
