"""A request as the JSON of OpenAI's chat completions, and what counts as the answer to it.

Requests are made in the same way by `eval` and by applications; no SDK is needed.

The answer is what the server calls `content`, as an application would get it. What it calls
reasoning is not part of it; thoughts that a server leaves in the text are, because users would
see them too. Words for why a model stopped and places for token counts differ between servers and
become one here (docs/servers.md, record 0019).

Embeddings are asked for as plain numbers, which every compatible server can send; the SDK's own
base64 is not available everywhere. The vector becomes the text of a completion, as JSON, so that it
is keyed, cached and paid for like any answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmops_cli.core.prompt import Request
from llmops_cli.core.result import Completion, Failure, FailureKind, ToolCall, Usage
from llmops_cli.providers.http.responses import (
    at,
    error_in,
    incomplete,
    openai_usage,
    token_count,
    tool_arguments,
)


def body(request: Request) -> dict[str, Any]:
    """Return the JSON that asks for `request`."""
    sent: dict[str, Any] = {
        "model": request.model,
        "messages": [message.plain() for message in request.messages],
        **request.parameters,
    }
    if request.tools:
        sent["tools"] = list(request.tools)
    match request.response_format:
        case "json_schema":
            sent["response_format"] = {"type": "json_schema", "json_schema": request.named_schema}
        case "json_object" | "text" as kind:
            sent["response_format"] = {"type": kind}
    return {**sent, **request.extra_body}


FINISH = {
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
}
"""Why a model stopped, in OpenAI's words, where a server has its own."""
BROKEN_OFF = frozenset({"error", "abort", "aborted", "cancelled"})
"""Finish reasons of an aborted answer, whose text is incomplete."""
ANSWERING = frozenset({"content", "refusal", "tool_calls", "reasoning", "reasoning_content"})
"""Parts of a message; Gemini leaves all of them out where it was stopped before it began."""


def completion(answer: Mapping[str, Any]) -> Completion | Failure:
    """Return the first choice of an answer, or why there is none."""
    message, finish = (at(answer, "choices", 0, name) for name in ("message", "finish_reason"))
    if not isinstance(message, dict):
        return incomplete("it has no choices")
    if not isinstance(finish, str) or not finish:
        return incomplete("it has no finish_reason")
    if finish.lower() in BROKEN_OFF:
        error = error_in({"error": at(answer, "choices", 0, "error")})
        words = f": {error.message}" if error and error.message else ""
        return Failure(
            kind=FailureKind.SERVER,
            message=f"the server broke the answer off ({finish}){words}",
            status=200,
            retryable=True,
        )
    if finish == "stop" and not message.keys() & ANSWERING:
        return incomplete("its message says nothing")
    text, refused = _text(message)
    if text is None:
        return incomplete(f"its content is a {type(message.get('content')).__name__}")
    calls = message.get("tool_calls") or ()
    try:
        calls = tuple(map(_tool_call, [calls] if isinstance(calls, dict) else calls))
    except (KeyError, TypeError, AttributeError):
        return incomplete("its tool calls are not those of the API")
    reason = FINISH.get(finish.lower(), finish.lower())
    if reason == "stop" and calls:
        reason = "tool_calls"  # Gemini and others say `stop` of an answer that asks for tools
    return Completion(
        text=text,
        tool_calls=calls,
        finish_reason="refusal" if refused and reason == "stop" else reason,
        usage=openai_usage(answer.get("usage")),
        served_model=_name(answer.get("model")),
        fingerprint=_name(answer.get("system_fingerprint")),
    )


def _text(message: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Return the answer's text, and whether it is a refusal; None: it is nothing the API has."""
    refusal, content = message.get("refusal"), message.get("content")
    if isinstance(refusal, str) and refusal:
        return refusal, True
    if content is None or isinstance(content, str):
        return content or "", False
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None, False
    for kind in ("refusal", "text"):
        parts = [part.get(kind) for part in content if part.get("type") == kind]
        if parts:
            texts = (part for part in parts if isinstance(part, str))
            return "".join(texts), kind == "refusal"
    return "", False


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    """Return a tool call; raises where it is none of the API's. No arguments are `{}`."""
    name, arguments = call["function"]["name"], call["function"].get("arguments")
    if not isinstance(name, str):
        raise TypeError("a name that is no text")
    return ToolCall(
        name=name, arguments={} if arguments in (None, "") else tool_arguments(arguments)
    )


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


PARAMETERS = frozenset({"dimensions", "user"})
"""The SDK's parameters for embeddings, except those that llmops sets; a test compares."""
LARGEST = 1e100
"""In absolute terms; a vector's length is made of the squares of its numbers."""


def embedding_body(request: Request) -> dict[str, Any]:
    """Return the JSON that asks for the embedding of a request's one turn."""
    (turn,) = request.messages
    return {
        "model": request.model,
        "input": turn.content,
        "encoding_format": "float",
        **request.parameters,
        **request.extra_body,
    }


def embedding(answer: Mapping[str, Any]) -> Completion | Failure:
    """Return the one embedding of an answer as the JSON of its numbers, or why there is none."""
    vector = at(answer, "data", 0, "embedding")
    if not isinstance(vector, list) or not vector or not all(map(_is_number, vector)):
        return incomplete("it has no embedding")
    count = token_count(at(answer, "usage", "prompt_tokens"))
    return Completion(
        text=json.dumps(vector, separators=(",", ":")),
        usage=None if count is None else Usage(input=count, output=0),
        served_model=_name(answer.get("model")),
    )


def _is_number(value: object) -> bool:
    """Return whether `value` is a finite number whose square doesn't overflow."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return -LARGEST <= value <= LARGEST
