"""Claude, through the messages API: system turns separate, tools and schemas in its own shape.

The SDK decides the URL, the API version and which parameters there are; it has no `temperature`,
`top_p` or `top_k` any more, so a deterministic Claude is never assumed. The call itself is made by
`http.client`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, ToolCall
from llmops_cli.providers.anthropic.messages import SAME, body
from llmops_cli.providers.http.access import access, check_parameters
from llmops_cli.providers.http.client import JsonClient, open_client
from llmops_cli.providers.http.responses import anthropic_usage, incomplete, tool_arguments
from llmops_cli.providers.http.streams import MessageAccumulator

BASE_URL = "https://api.anthropic.com"
OURS = frozenset({"model", "messages", "system", "tools", "stream"})
"""What the prompt or the engine decides; a parameter of that name would contradict it."""
KNOWN = (frozenset(MessageCreateParamsNonStreaming.__annotations__) | SAME.keys()) - OURS
SAMPLING = frozenset({"temperature", "top_p", "top_k", "seed"})
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Anthropic's stop reasons as finish reasons of `Completion`; others are unchanged."""


class Anthropic:
    """One Claude model behind `/v1/messages`."""

    def __init__(self, name: str, client: JsonClient) -> None:
        self._name = name
        self._client = client

    def check(self, request: Request) -> None:
        """Raise `Refused` for parameters and formats that the API does not have."""
        _check_model(self._name, request.parameters)
        if request.response_format == "embedding":
            raise Refused(
                f"{self._name}: anthropic has no embeddings",
                hint="name a model of a provider that has: openai, vllm or embedded",
            )
        if request.response_format == "json_object":
            raise Refused(
                f"{self._name}: anthropic has no response format json_object",
                hint="give the shape of the answer: `responseFormat: json_schema`",
            )

    async def complete(self, request: Request) -> Completion | Failure:
        """Make one attempt at one call."""
        if not request.timed:
            return await self._client.complete(body(request), completion)
        streamed = {**body(request), "stream": True}
        return await self._client.complete(streamed, completion, MessageAccumulator())


@asynccontextmanager
async def open_anthropic(model: Model, context: PluginContext) -> AsyncIterator[Anthropic]:
    """Open a client of `model`. Raises `Refused` if its configuration can never work."""
    _check_model(model.name, model.parameters)
    reached = access(model, context, key_env="ANTHROPIC_API_KEY")
    base = (reached.base_url or BASE_URL).rstrip("/").removesuffix("/v1")
    async with AsyncAnthropic(
        api_key=reached.key, base_url=base, default_headers=reached.headers
    ) as sdk:
        named = {**sdk.auth_headers, **sdk.default_headers}
        headers = {name: value for name, value in named.items() if isinstance(value, str)}
    url = f"{base}/v1/messages"
    async with open_client(url, headers, context.environ, about_key=reached.about_key) as client:
        yield Anthropic(model.name, client)


def _check_model(name: str, parameters: Mapping[str, Json]) -> None:
    for sampling in sorted(SAMPLING & parameters.keys()):
        raise Refused(
            f"{name}: anthropic takes no {sampling!r} any more",
            hint=f"remove {sampling} from its modelParameters; repeats measure the spread",
        )
    check_parameters(name, parameters, KNOWN, vendor="anthropic")


def completion(answer: Mapping[str, Any]) -> Completion | Failure:
    """Return an answer's text, tools and usage, or why it is none."""
    content, finish = answer.get("content"), answer.get("stop_reason")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return incomplete("it has no content")
    if not isinstance(finish, str) or not finish:
        return incomplete("it has no stop_reason")
    if not all(map(_is_whole, content)):
        return incomplete("a block of its content says nothing")
    served = answer.get("model")
    return Completion(
        text="".join(block["text"] for block in content if block.get("type") == "text"),
        tool_calls=tuple(
            ToolCall(name=block["name"], arguments=tool_arguments(block.get("input")))
            for block in content
            if block.get("type") == "tool_use"
        ),
        finish_reason=FINISH.get(finish, finish),
        usage=anthropic_usage(answer.get("usage")),
        served_model=served if isinstance(served, str) else None,
    )


def _is_whole(block: Mapping[str, Any]) -> bool:
    """Return whether a block has what its type promises; other types promise nothing."""
    match block:
        case {"type": "text", "text": str()} | {"type": "tool_use", "name": str()}:
            return True
        case {"type": "text" | "tool_use"}:
            return False
        case _:
            return isinstance(block.get("type"), str)
