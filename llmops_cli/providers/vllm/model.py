"""A local model behind vLLM: a running server, or one that is started for the command.

vLLM is a program here and never a library: it is started (`engine`) and then called over OpenAI's
API, by the same code as every other server. Calls to this machine go past any proxy. Where an
engine has ended, that is the reason of every call that fails on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address

from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Model, Request, host_of
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.openai.model import Dialect, OpenAI, check_model, open_openai
from llmops_cli.providers.vllm.engine import KEY_ENV, Engine, Engines
from llmops_cli.providers.vllm.options import served_name

KNOWN = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens",
    "parallel_tool_calls", "presence_penalty", "reasoning_effort", "seed", "stop", "temperature",
    "tool_choice", "top_k", "top_logprobs", "top_p", "user",
})  # fmt: skip
"""It ignores parameters that it does not know; a test asks a real one which it knows."""
DIALECT = Dialect(vendor="vllm", key_env=KEY_ENV, known=KNOWN)
NOTICED = 2.0
"""Seconds in which an engine that dropped a connection is noticed to have ended."""


class Vllm:
    """A model, or one of its adapters, on a server; `engine` where it is our own."""

    def __init__(self, api: OpenAI, name: str, served: str, engine: Engine | None = None) -> None:
        self._api = api
        self._name = name
        self._served = served
        self._engine = engine

    def check(self, request: Request) -> None:
        """Raise `Refused` for parameters that the API does not have."""
        self._api.check(request)

    async def complete(self, request: Request) -> Completion | Failure:
        """Make one attempt at one call."""
        outcome = await self._api.complete(replace(request, model=self._served))
        if isinstance(outcome, Completion):
            if outcome.served_model != self._served:
                return outcome
            return replace(outcome, served_model=self._name)  # another name is no other model
        if self._engine is not None and outcome.kind is FailureKind.CONNECTION:
            return await self._engine.gone(within=NOTICED) or outcome
        return outcome


class NotStarted:
    """A model whose engine did not start."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    async def complete(self, _request: Request) -> Completion | Failure:
        """Return why there is no answer."""
        return self._failure


@asynccontextmanager
async def open_vllm(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Open the server of `model`, started where none is named.

    Raises `Refused` if its configuration can never work, or where there is no vllm to start.
    """
    check_model(model.name, model.parameters, DIALECT)
    served = served_name(model)
    if model.base_url is not None:
        near = context if not _loopback(model.base_url) else _past_proxies(context)
        async with open_openai(model, near, dialect=DIALECT) as api:
            yield Vllm(api, model.model, served)
        return
    engine = await context.resources.take("vllm", Engines).of(model, context)
    if isinstance(engine, Failure):
        yield NotStarted(engine)
        return
    ours = replace(model, base_url=engine.url, api_key_env=KEY_ENV)
    keyed = {**_past_proxies(context).environ, KEY_ENV: engine.key}
    async with open_openai(ours, replace(context, environ=keyed), dialect=DIALECT) as api:
        yield Vllm(api, model.model, served, engine)


def _past_proxies(context: PluginContext) -> PluginContext:
    environ = {
        name: value
        for name, value in context.environ.items()
        if not name.lower().endswith("_proxy")
    }
    return replace(context, environ=environ)


def _loopback(url: str) -> bool:
    host = host_of(url)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
