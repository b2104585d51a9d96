"""OpenAI itself, as its SDK reaches it: the endpoint, credentials, organisation and user agent.

A module of its own because importing the SDK takes 0.4 s, which a compatible server need not cost.

Chat completions and embeddings of OpenAI and of every server that speaks like it.

OpenAI itself is reached as its SDK says (`sdk`). A server with a `base_url` gets what all
of them share, a bearer key and JSON, and the SDK is not loaded for it; on a machine of one's own
it needs no key. Either way the call goes over the wire, and tests hold what is sent to be what the
SDK sends (record 0004).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import cast

import anyio
from openai import AsyncOpenAI

from llmops_cli.core.ports import World
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.http.access import Access, access, known_parameters
from llmops_cli.providers.http.exchange import Filtered, Wire, open_wire
from llmops_cli.providers.http.streams import ChatAccumulator
from llmops_cli.providers.openai.messages import (
    PARAMETERS,
    body,
    completion,
    embedding,
    embedding_body,
    filtered,
)


async def endpoint(given: Access, world: World) -> tuple[str, dict[str, str]]:
    """Where the SDK posts chat completions to, and with which headers."""
    async with AsyncOpenAI(
        api_key=given.key,
        organization=world.environ.get("OPENAI_ORG_ID"),
        project=world.environ.get("OPENAI_PROJECT_ID"),
        base_url=given.base_url,
        default_headers=given.headers,
    ) as sdk:
        named = {**sdk.auth_headers, **sdk.default_headers}
        headers = {name: value for name, value in named.items() if isinstance(value, str)}
        return f"{sdk.base_url}chat/completions", headers


BASE_URL = "https://api.openai.com/v1"
OURS = frozenset({"model", "messages", "tools", "response_format", "stream", "stream_options", "n"})
"""What the prompt or the engine decides; a parameter of that name would contradict it."""
KNOWN = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation",
    "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "safety_identifier",
    "seed", "service_tier", "stop", "store", "temperature", "tool_choice", "top_logprobs",
    "top_p", "user", "verbosity", "web_search_options",
})  # fmt: skip
"""The SDK's other parameters; a test compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one vendor's version of the API has of its own."""

    vendor: str
    key_env: str
    """Where the key stands, unless the model says otherwise."""
    known: frozenset[str]
    """Parameters that it takes."""


OPENAI = Dialect(vendor="openai", key_env="OPENAI_API_KEY", known=KNOWN)


class OpenAI:
    """One model behind `/chat/completions`, or behind `/embeddings`."""

    __slots__ = ("_counts", "_dialect", "_embeddings", "_name", "_streams", "_wire")

    def __init__(self, name: str, wire: Wire, dialect: Dialect = OPENAI) -> None:
        self._name = name
        self._wire = wire
        self._embeddings = wire.beside("/chat/completions", "/embeddings")
        self._dialect = dialect
        self._streams = self._counts = True  # until the server refuses

    def check(self, request: Request) -> None:
        """Raises `Refused` for parameters that the API does not have."""
        known = PARAMETERS if request.response_format == "embedding" else self._dialect.known
        known_parameters(self._name, request.parameters, known, vendor=self._dialect.vendor)

    async def complete(self, request: Request) -> Completion | Failure:
        """One attempt at one call."""
        if request.response_format == "embedding":
            vector = await self._embeddings.post(embedding_body(request))
            return vector if isinstance(vector, Failure) else embedding(vector)
        if request.timed and self._streams:
            return await self._streamed(request)
        answer = await self._wire.post(body(request))
        if isinstance(answer, Filtered):
            return filtered()
        return answer if isinstance(answer, Failure) else completion(answer)

    async def _streamed(self, request: Request) -> Completion | Failure:
        """One attempt that times the first token; without usage, or a stream, where one of them
        is refused.
        """
        started, pieces = anyio.current_time(), ChatAccumulator()
        counted = {"stream_options": {"include_usage": True}} if self._counts else {}
        answer = await self._wire.stream({**body(request), "stream": True, **counted}, pieces)
        if isinstance(answer, Filtered):
            return filtered()
        if not isinstance(answer, Failure):
            made = completion(answer)
            if isinstance(made, Failure) or pieces.first is None:
                return made
            return replace(made, first_token=pieces.first - started)
        if answer.kind is FailureKind.BAD_REQUEST and "stream" in answer.message:
            if self._counts and "stream_options" in answer.message:
                self._counts = False
            else:
                self._streams = False
            return await self.complete(request)
        return answer


def check_parameters(name: str, given: Iterable[str], dialect: Dialect) -> None:
    """Raises `Refused` for a parameter that is none in `dialect`, whatever the model is asked for.

    `name` is the model's.
    """
    known_parameters(name, given, dialect.known | PARAMETERS, vendor=dialect.vendor)


@asynccontextmanager
async def open_openai(
    model: Model, world: World, *, dialect: Dialect = OPENAI
) -> AsyncIterator[OpenAI]:
    """A client of `model`. Raises `Refused` where its configuration can never work."""
    check_parameters(model.name, model.parameters, dialect)
    given = access(model, world, key_env=dialect.key_env)
    url, headers = await _endpoint(given, world)
    async with open_wire(url, headers, world.environ, about_key=given.about_key) as wire:
        yield OpenAI(model.name, wire, dialect)


async def _endpoint(given: Access, world: World) -> tuple[str, dict[str, str]]:
    """Where to post to, and with which headers."""
    if given.base_url is None:
        sdk = import_module("llmops_cli.providers.openai.model")
        official = replace(given, base_url=BASE_URL)
        return cast("tuple[str, dict[str, str]]", await sdk.endpoint(official, world))
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": "llmops",
        "Authorization": f"Bearer {given.key}",
        **given.headers,
    }
    return f"{given.base_url.rstrip('/')}/chat/completions", headers
