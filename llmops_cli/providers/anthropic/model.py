"""Claude, through the messages API: system turns apart, tools and schemas in its own shape.

The SDK decides the endpoint, the API version and which parameters there are; it has no
`temperature`, `top_p` or `top_k` any more, so a deterministic Claude is never assumed. The call
itself goes over the wire.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
from anthropic import AsyncAnthropic
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import World
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, ToolCall, Usage
from llmops_cli.providers.anthropic.messages import SAME, body
from llmops_cli.providers.http.access import Access, access, known_parameters
from llmops_cli.providers.http.errors import arguments, count, unusable
from llmops_cli.providers.http.exchange import Wire, open_wire
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
"""Why it stopped, in the words of `Completion`; others stay as they are."""


class Anthropic:
    """One Claude model behind `/v1/messages`."""

    __slots__ = ("_name", "_wire")

    def __init__(self, name: str, wire: Wire) -> None:
        self._name = name
        self._wire = wire

    def check(self, request: Request) -> None:
        """Raises `Refused` for parameters and formats that the API does not have."""
        _check_parameters(self._name, request.parameters)
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
        """One attempt at one call."""
        if request.timed:
            return await self._streamed(request)
        answer = await self._wire.post(body(request))
        return answer if isinstance(answer, Failure) else completion(answer)

    async def _streamed(self, request: Request) -> Completion | Failure:
        """One attempt that times the first token."""
        started, pieces = anyio.current_time(), MessageAccumulator()
        answer = await self._wire.stream({**body(request), "stream": True}, pieces)
        made = answer if isinstance(answer, Failure) else completion(answer)
        if isinstance(made, Failure) or pieces.first is None:
            return made
        return replace(made, first_token=pieces.first - started)


@asynccontextmanager
async def open_anthropic(model: Model, world: World) -> AsyncIterator[Anthropic]:
    """A client of `model`. Raises `Refused` where its configuration can never work."""
    _check_parameters(model.name, model.parameters)
    given = access(model, world, key_env="ANTHROPIC_API_KEY")
    url, headers = await _endpoint(given)
    async with open_wire(url, headers, world.environ, about_key=given.about_key) as wire:
        yield Anthropic(model.name, wire)


def _check_parameters(name: str, parameters: Mapping[str, Json]) -> None:
    for sampling in sorted(SAMPLING & parameters.keys()):
        raise Refused(
            f"{name}: anthropic takes no {sampling!r} any more",
            hint=f"remove {sampling} from its modelParameters; repeats measure the spread",
        )
    known_parameters(name, parameters, KNOWN, vendor="anthropic")


async def _endpoint(given: Access) -> tuple[str, dict[str, str]]:
    """Where the SDK would post to, and with which headers."""
    base = (given.base_url or BASE_URL).rstrip("/").removesuffix("/v1")
    async with AsyncAnthropic(
        api_key=given.key, base_url=base, default_headers=given.headers
    ) as sdk:
        named = {**sdk.auth_headers, **sdk.default_headers}
        headers = {name: value for name, value in named.items() if isinstance(value, str)}
        return f"{base}/v1/messages", headers


def completion(answer: Mapping[str, Any]) -> Completion | Failure:
    """An answer's text, tools and usage, or why it is none."""
    content, finish = answer.get("content"), answer.get("stop_reason")
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        return unusable("it has no content")
    if not isinstance(finish, str) or not finish:
        return unusable("it has no stop_reason")
    if not all(map(_says, content)):
        return unusable("a block of its content says nothing")
    served = answer.get("model")
    return Completion(
        text=_text(content),
        tool_calls=tuple(
            ToolCall(name=each["name"], arguments=arguments(each.get("input")))
            for each in content
            if each.get("type") == "tool_use"
        ),
        finish_reason=FINISH.get(finish, finish),
        usage=_usage(answer.get("usage")),
        served_model=served if isinstance(served, str) else None,
    )


def _says(block: Mapping[str, Any]) -> bool:
    """Whether a block holds what its type promises; of types of its own, nothing is asked."""
    match block:
        case {"type": "text", "text": str()} | {"type": "tool_use", "name": str()}:
            return True
        case {"type": "text" | "tool_use"}:
            return False
        case _:
            return isinstance(block.get("type"), str)


def _text(content: Sequence[Mapping[str, Any]]) -> str:
    return "".join(each["text"] for each in content if each.get("type") == "text")


def _usage(reported: object) -> Usage | None:
    """Cached tokens stand beside `input_tokens` here, and within `input` with us."""
    if not isinstance(reported, Mapping):
        return None
    fresh, out = count(reported.get("input_tokens")), count(reported.get("output_tokens"))
    if fresh is None or out is None:
        return None
    read = count(reported.get("cache_read_input_tokens")) or 0
    written = count(reported.get("cache_creation_input_tokens")) or 0
    return Usage(input=fresh + read + written, output=out, cached_input=read)
