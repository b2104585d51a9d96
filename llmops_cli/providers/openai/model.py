"""Chat completions and embeddings of OpenAI and of every server that has its API.

OpenAI itself is reached as its SDK says: the URL, credentials, organization and user agent. A
server with a `base_url` gets what all of them share, a bearer key and JSON, and the SDK is not
loaded for it; on one's own machine it needs no key. Tests compare what is sent with what the SDK
sends (record 0004).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.http.access import Access, access, check_parameters
from llmops_cli.providers.http.client import Filtered, JsonClient, open_client
from llmops_cli.providers.http.streams import ChatAccumulator
from llmops_cli.providers.openai.messages import (
    PARAMETERS,
    body,
    completion,
    embedding,
    embedding_body,
)

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
    """One vendor's version of the API."""

    vendor: str
    key_env: str
    """The variable that has the key, unless the model names another."""
    known: frozenset[str]
    """Parameters that it takes."""


OPENAI = Dialect(vendor="openai", key_env="OPENAI_API_KEY", known=KNOWN)


class OpenAI:
    """One model behind `/chat/completions`, or behind `/embeddings`."""

    def __init__(self, name: str, client: JsonClient, dialect: Dialect = OPENAI) -> None:
        self._name = name
        self._client = client
        url = client.url.removesuffix("/chat/completions") + "/embeddings"
        self._embeddings = replace(client, url=url)
        self._dialect = dialect
        self._streams = self._counts = True  # until the server refuses

    def check(self, request: Request) -> None:
        """Raise `Refused` for parameters that the API does not have."""
        known = PARAMETERS if request.response_format == "embedding" else self._dialect.known
        check_parameters(self._name, request.parameters, known, vendor=self._dialect.vendor)

    async def complete(self, request: Request) -> Completion | Failure:
        """Make one attempt at one call; where it is timed, as a stream that counts its tokens.

        Without usage, or without a stream, where the server refuses one of them.
        """
        if request.response_format == "embedding":
            return await self._embeddings.complete(embedding_body(request), embedding)
        sent = body(request)
        if streams := request.timed and self._streams:
            counted = {"stream_options": {"include_usage": True}} if self._counts else {}
            sent |= {"stream": True, **counted}
        outcome = await self._client.complete(
            sent, completion, ChatAccumulator() if streams else None
        )
        if isinstance(outcome, Filtered):
            return Completion(text="", finish_reason="content_filter")
        if not isinstance(outcome, Failure) or outcome.kind is not FailureKind.BAD_REQUEST:
            return outcome
        if not streams or "stream" not in outcome.message:
            return outcome
        if self._counts and "stream_options" in outcome.message:
            self._counts = False
        else:
            self._streams = False
        return await self.complete(request)


def check_model(name: str, parameters: Iterable[str], dialect: Dialect) -> None:
    """Raise `Refused` for a parameter of the model `name` that `dialect` does not have at all."""
    check_parameters(name, parameters, dialect.known | PARAMETERS, vendor=dialect.vendor)


@asynccontextmanager
async def open_openai(
    model: Model, context: PluginContext, *, dialect: Dialect = OPENAI
) -> AsyncIterator[OpenAI]:
    """Open a client of `model`. Raises `Refused` if its configuration can never work."""
    check_model(model.name, model.parameters, dialect)
    reached = access(model, context, key_env=dialect.key_env)
    url, headers = await endpoint(reached, context)
    async with open_client(url, headers, context.environ, about_key=reached.about_key) as client:
        yield OpenAI(model.name, client, dialect)


async def endpoint(reached: Access, context: PluginContext) -> tuple[str, dict[str, str]]:
    """Return where chat completions are posted to, and with which headers."""
    if reached.base_url is None:
        from openai import AsyncOpenAI  # noqa: PLC0415 - takes 0.4 s

        async with AsyncOpenAI(
            api_key=reached.key,
            organization=context.environ.get("OPENAI_ORG_ID"),
            project=context.environ.get("OPENAI_PROJECT_ID"),
            base_url=BASE_URL,
            default_headers=reached.headers,
        ) as sdk:
            named = {**sdk.auth_headers, **sdk.default_headers}
            headers = {name: value for name, value in named.items() if isinstance(value, str)}
            return f"{sdk.base_url}chat/completions", headers
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": "llmops",
        "Authorization": f"Bearer {reached.key}",
        **reached.headers,
    }
    return f"{reached.base_url.rstrip('/')}/chat/completions", headers
