"""Answers that arrive piece by piece: the first token is timed, and only the end ends one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from llmops_cli.core.prompt import Message, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome, ToolCall, Usage
from llmops_cli.providers.http import client
from llmops_cli.providers.http.streams import Events
from tests.servers import faulty
from tests.servers.faulty import Behaviour, Server
from tests.servers.streaming import DONE, chunk, claude, event, stream, text
from tests.unit.providers.calls import ask_all


def asked(
    *script: Behaviour, timed: bool = True, calls: int = 1, **options: Any
) -> tuple[list[Outcome], Server]:
    """What calls came to, one after the other."""
    questions = ["hello"] * calls
    return ask_all(*script, timed=timed, questions=questions, **{"retries": 1, **options})


def answer(*script: Behaviour, **more: Any) -> Completion:
    (outcome,), _ = asked(*script, **more)
    assert isinstance(outcome, Completion), outcome
    return outcome


def test_a_streamed_answer_is_the_answer_and_its_first_token_is_timed() -> None:
    outcome = answer(stream(*text("gr", "öß", "e"), pause=0.05, at_once=[2]))
    assert (outcome.text, outcome.finish_reason) == ("größe", "stop")
    assert outcome.usage == Usage(input=12, output=3)
    assert outcome.served_model == "m-1"
    assert outcome.first_token is not None
    assert outcome.latency is not None
    assert 0.04 < outcome.first_token < outcome.latency - 0.1


def test_nothing_is_streamed_unless_the_time_is_wanted() -> None:
    (outcome,), server = asked(timed=False)
    assert isinstance(outcome, Completion)
    assert outcome.first_token is None
    assert server.last is not None
    assert "stream" not in server.last.body


def test_the_time_is_asked_for_in_no_key() -> None:
    turn = Message(role="user", content="hello")
    plain, timed = (
        Request(provider="openai", model="m", messages=(turn,), timed=item)
        for item in (False, True)
    )
    assert plain.digest == timed.digest
    assert Completion(text="a").digest == Completion(text="a", first_token=0.1).digest


def test_what_is_sent_is_what_the_sdk_sends() -> None:
    _, ours = asked(stream(*text("hi")))

    async def through_the_sdk() -> Mapping[str, Any]:
        async with (
            faulty.serve(stream(*text("hi"))) as server,
            AsyncOpenAI(api_key="sk-test", base_url=server.url) as sdk,
        ):
            chunks = await sdk.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": "hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            assert [item.usage.prompt_tokens async for item in chunks if item.usage] == [12]
            assert server.last is not None
            return server.last.body

    assert ours.last is not None
    assert ours.last.body == anyio.run(through_the_sdk)


def test_reasoning_is_not_the_first_token() -> None:
    thoughts = [chunk({"reasoning_content": "hm"}), chunk({"reasoning": "hm", "content": None})]
    outcome = answer(stream(*thoughts, *text("42")[1:], pause=0.05))
    assert outcome.text == "42"
    assert outcome.first_token is not None
    assert outcome.first_token > 0.08


CALL = [{"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": ""}}]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        (  # OpenAI: name first, arguments in pieces, calls told apart by their index
            [
                CALL,
                [{"index": 0, "function": {"arguments": '{"at"'}}],
                [{"index": 1, "function": {"name": "stop", "arguments": "{}"}}],
                [{"index": 0, "function": {"arguments": ": 3}"}}],
            ],
            [ToolCall(name="look", arguments={"at": 3}), ToolCall(name="stop", arguments={})],
        ),
        (  # TGI 2 (huggingface/text-generation-inference issue 2794): an object, no list
            [
                {"index": 0, "function": {"name": "look", "arguments": "{"}},
                {"index": 0, "function": {"name": None, "arguments": '"at": 3}'}},
            ],
            [ToolCall(name="look", arguments={"at": 3})],
        ),
        (  # Ollama and Gemini: whole calls, ids empty, indexes missing
            [
                [{"id": "", "function": {"name": "look", "arguments": '{"at": 3}'}}],
                [{"id": "", "function": {"name": "stop", "arguments": {}}}],
            ],
            [ToolCall(name="look", arguments={"at": 3}), ToolCall(name="stop", arguments={})],
        ),
    ],
    ids=["OpenAI", "TGI", "Ollama"],
)
def test_tool_calls_are_put_together_from_their_pieces(
    pieces: list[Any], calls: list[ToolCall]
) -> None:
    deltas = [chunk({"tool_calls": item}) for item in pieces]
    outcome = answer(stream(*deltas, chunk({}, "tool_calls"), DONE))
    assert list(outcome.tool_calls) == calls
    assert outcome.first_token is not None
    assert outcome.usage is None


@pytest.mark.parametrize(
    "cut",
    [
        stream(*text("half", "an")[:-1]),
        stream(*text("half", "an")[:2]),
        stream(*text("half", "an")[:2], close=True),
        stream(chunk({"content": "half"}), DONE),
        stream(),
        stream(chunk({"content": "half"}), b'data: {"cho\n\n', DONE),
    ],
    ids=["no [DONE]", "no end", "hung up", "no finish_reason", "empty", "torn JSON"],
)
def test_a_stream_that_does_not_say_it_is_finished_is_no_answer(cut: Behaviour) -> None:
    (outcome,), server = asked(then=cut)
    assert isinstance(outcome, Failure)
    assert outcome.kind in {FailureKind.BAD_ANSWER, FailureKind.CONNECTION}
    assert outcome.retryable
    assert server.requests == 2
    outcome = answer(cut, then=stream(*text("whole")))
    assert (outcome.text, outcome.attempts) == ("whole", 2)


@pytest.mark.parametrize(
    "piece",
    [b'{"choices": 5}', b'{"choices": [5]}', b'{"choices": [{"delta": ["gr"]}]}',
     b'{"choices": [{"delta": {"content": 7}}]}', b'{"choices": [{"delta": {"tool_calls": 7}}]}',
     b'{"choices": [{"index": [], "delta": {"tool_calls": [7]}}, {}]}', b"[]", b"7"],
)  # fmt: skip
def test_a_stream_with_a_piece_that_cannot_be_read_is_asked_for_again(piece: bytes) -> None:
    broken = [
        b"data: " + piece + b"\n\n" if n == 1 else item for n, item in enumerate(text("a", "b"))
    ]
    outcome = answer(
        faulty.raw_body(b"".join(broken), kind="text/event-stream"), stream(*text("ab"))
    )
    assert (outcome.text, outcome.attempts) == ("ab", 2)


def test_an_error_amid_a_stream_is_reported_and_retried() -> None:
    trouble = {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}
    (outcome,), server = asked(then=stream(chunk({"content": "ha"}), event(trouble), DONE))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, server.requests) == (FailureKind.SERVER, 2)
    assert "engine died" in outcome.message


def test_comments_blank_lines_and_what_comes_after_the_end_are_passed_over() -> None:
    noise = b": OPENROUTER PROCESSING\r\n\r\n\n\n"
    azure = event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
    portkey = event({"hook_results": {"after_request_hooks": []}})
    outcome = answer(stream(azure, noise, *text("hi"), portkey))
    assert outcome.text == "hi"


@pytest.mark.parametrize(
    ("words", "without"),
    [
        ("Unknown parameter: 'stream_options'.", {"stream_options"}),
        ("'stream' does not support true with this model.", {"stream", "stream_options"}),
    ],
    ids=["no usage in streams", "no streams"],
)
def test_what_a_server_refuses_to_stream_is_asked_for_without_once_and_for_all(
    words: str, without: set[str]
) -> None:
    refused = faulty.status(400, message=words)
    good = stream(*text("hi")) if "stream_options" in words else faulty.answer()
    outcomes, server = asked(refused, then=good, calls=2)
    assert [type(item) for item in outcomes] == [Completion, Completion]
    assert server.requests == 3
    assert server.last is not None
    assert not without & server.last.body.keys()


def test_a_server_that_answers_at_once_all_the_same_has_no_first_token() -> None:
    outcome = answer(faulty.answer())
    assert (outcome.text, outcome.first_token) == ("hello", None)


def test_the_deadline_and_the_cap_hold_for_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = stream(*[chunk({"content": "a"})] * 50, pause=0.1)
    (late,), _ = asked(then=slow, timeout=0.3)
    assert isinstance(late, Failure)
    assert late.kind is FailureKind.TIMEOUT
    monkeypatch.setattr(client, "LARGEST_BODY", 10_000)
    (large,), server = asked(then=stream(*[chunk({"content": "a" * 200})] * 100, DONE))
    assert isinstance(large, Failure)
    assert (large.kind, server.requests) == (FailureKind.TOO_LARGE, 1)


def test_one_connection_serves_stream_after_stream() -> None:
    named = chunk({"role": "assistant"}, id="chatcmpl-1")
    outcomes, server = asked(then=stream(named, *text("hi")), calls=4)
    assert all(isinstance(item, Completion) for item in outcomes)
    assert server.connections == 1


CLAUDE = (
    claude(
        "message_start",
        message={
            "id": "msg_1",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 8, "cache_read_input_tokens": 4, "output_tokens": 1},
        },
    ),
    claude("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
    claude("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
    claude("content_block_stop", index=0),
    claude("ping"),
    claude("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    claude("content_block_delta", index=1, delta={"type": "text_delta", "text": "Let me "}),
    claude("content_block_delta", index=1, delta={"type": "text_delta", "text": "look."}),
    claude("content_block_stop", index=1),
    claude(
        "content_block_start",
        index=2,
        content_block={"type": "tool_use", "id": "t", "name": "look", "input": {}},
    ),
    claude("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": ""}),
    claude(
        "content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"a'}
    ),
    claude(
        "content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": 't": 3}'}
    ),
    claude("content_block_stop", index=2),
    claude(
        "message_delta",
        delta={"stop_reason": "tool_use", "stop_sequence": None},
        usage={"output_tokens": 15},
    ),
    claude("message_stop"),
)


def test_claude_s_events_become_the_message_that_its_sdk_makes_of_them() -> None:
    outcome = answer(stream(*CLAUDE, pause=0.01), provider="anthropic")
    assert outcome.text == "Let me look."
    assert outcome.tool_calls == (ToolCall(name="look", arguments={"at": 3}),)
    assert outcome.finish_reason == "tool_calls"
    assert outcome.usage == Usage(input=12, output=15, cached_input=4)
    assert outcome.first_token is not None
    assert outcome.first_token > 0.04  # not the thoughts

    async def through_the_sdk() -> dict[str, Any]:
        async with (
            faulty.serve(stream(*CLAUDE)) as server,
            AsyncAnthropic(api_key="x", base_url=server.root) as sdk,
            sdk.messages.stream(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
            ) as events,
        ):
            return (await events.get_final_message()).model_dump()

    theirs = anyio.run(through_the_sdk)
    assert theirs["content"][1]["text"] == outcome.text
    assert theirs["content"][2]["input"] == outcome.tool_calls[0].arguments
    assert theirs["usage"]["output_tokens"] == 15


@pytest.mark.parametrize(
    "cut",
    [
        stream(*CLAUDE[:-1]),
        stream(*CLAUDE[:-2], CLAUDE[-1]),
        stream(
            *CLAUDE[:6],
            claude("error", error={"type": "overloaded_error", "message": "Overloaded"}),
        ),
    ],
    ids=["no message_stop", "no stop_reason", "overloaded"],
)
def test_a_message_of_claude_s_that_does_not_end_is_no_answer(cut: Behaviour) -> None:
    (outcome,), server = asked(then=cut, provider="anthropic")
    assert isinstance(outcome, Failure)
    assert outcome.kind in {FailureKind.BAD_ANSWER, FailureKind.OVERLOADED}
    assert server.requests == 2


def test_events_are_found_wherever_the_bytes_are_cut() -> None:
    whole = b'\xef\xbb\xbfdata: {"a":\r\ndata: 1}\r\n\r\n: note\nevent: x\ndata:two\n\nid: 7\n\n'
    expected = [b'{"a":\n1}', b"two"]
    for cut in range(len(whole) + 1):
        events = Events()
        outcome = [*events.feed(whole[:cut]), *events.feed(whole[cut:])]
        assert outcome == expected, cut
    assert json.loads(expected[0]) == {"a": 1}
