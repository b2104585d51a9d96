"""A local model behind vLLM: a running server, or one that is started for the command.

vLLM is a program here and never a library: `vllm serve` is started and then called over OpenAI's
API, by the same code as every other server. Calls to this machine go past any proxy. Where an
engine has ended, that is the reason of every call that fails on it.

Engines are started when first needed, and end with the command. One serves every model that is
started in the same way, whichever of its adapters they ask for. It listens on loopback only, at a
port of its own, and answers only calls with a key that is made for it. It sees no key of the
project. Its output is stored as `vllm-….log` in the store's folder. Engines start one after the
other: a second one would disturb what the first measures of the memory.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Self

import aiohttp
import anyio
from anyio import to_thread

from llmops_cli.core.ci import store_folder
from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Model, Request, host_of
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.http.addresses import is_loopback
from llmops_cli.providers.openai.model import Dialect, OpenAI, check_model, open_openai
from llmops_cli.providers.vllm.options import (
    adapters,
    arguments,
    program,
    served_name,
    startup_seconds,
)
from llmops_cli.workers.process import Server, new_log

KEY_ENV = "VLLM_API_KEY"
"""Where `vllm serve` looks for its key."""
POLL = 0.25
"""Seconds between two readiness checks."""
KEPT_LOGS = 9
HUGGING_FACE = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
"""Keys that the engine itself needs, to fetch a model."""
_PREFIX = re.compile(r"^(\([\w-]+ pid=\d+\) ?)?((INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
_SHOWN = 3
"""Lines of the log in a message."""
_LONGEST = 240
"""Characters of each."""


def command_of(model: Model, context: PluginContext) -> tuple[str, ...]:
    """Return what starts the engine of `model`, all but host and port. Raises `Refused`."""
    lora = [f"{name}={path}" for name, path in adapters(model.options).items()]
    return (
        *program(model, context),
        "serve",
        model.model,
        *arguments(model.options),
        *("--served-model-name", model.model),
        *(("--enable-lora", "--lora-modules", *lora) if lora else ()),
    )


class Engine:
    """One `vllm serve` and how to reach it."""

    def __init__(self, model: str, command: Sequence[str], context: PluginContext) -> None:
        """Start it. Raises `OSError` if that is not possible."""
        self.key = secrets.token_urlsafe(24)
        self.ready = False
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self._model = model
        self._late: str | None = None
        store = store_folder(context.root, context.environ)
        store.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9]+", "-", model).strip("-")[-40:]
        log = new_log(store, f"vllm-{name}", keep=KEPT_LOGS)
        within = log.is_relative_to(context.root)
        self._log = (log.relative_to(context.root) if within else log).as_posix()
        own_key = Redactor([self.key])
        self.server = Server(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            folder=context.root,
            environ=_environment(context, self.key, offline=(context.root / model).is_dir()),
            log=log,
            redact=lambda line: own_key(context.redact(line)),
        )

    @property
    def failure(self) -> Failure | None:
        """Why it does not answer and never will; None while it runs."""
        ended = self._late or self.server.ended
        if ended is None:
            return None
        when = "while it answered" if self.ready else "before it was ready"
        lines = " / ".join(last_words(self.server.last(100)))
        message = f"`vllm serve {self._model}` ended {when}: {ended}"
        message += f"; it said: {lines}" if lines else ""
        return Failure(kind=FailureKind.CONNECTION, message=f"{message} (all of it: {self._log})")

    async def wait(self, seconds: float) -> None:
        """Wait until it answers a call with its key or has ended; after `seconds` it is stopped."""
        with anyio.move_on_after(seconds):
            async with aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=aiohttp.ClientTimeout(total=5.0),
            ) as session:
                while self.failure is None:
                    with suppress(aiohttp.ClientError, OSError):
                        async with session.get(f"{self.url}/models") as response:
                            if response.status == 200:
                                self.ready = True
                                return
                    await anyio.sleep(POLL)
            return
        self._late = f"it took more than {seconds:g} s (`startup_timeout` in llmops.yaml)"
        await to_thread.run_sync(self.server.stop)

    async def gone(self, within: float) -> Failure | None:
        """Return why it does not answer any more, which may take a moment to show."""
        with anyio.move_on_after(within):
            while self.failure is None:  # noqa: ASYNC110 - a process, which wakes nobody
                await anyio.sleep(POLL / 5)
        return self.failure


class Engines:
    """The engines of one command. Use as `with Engines()`."""

    def __init__(self) -> None:
        self._engines: dict[tuple[str, ...], Engine] = {}
        self._turn = anyio.Lock()

    async def of(self, model: Model, context: PluginContext) -> Engine | Failure:
        """Return the engine that answers for `model`, ready, or why it does not."""
        command = command_of(model, context)
        async with self._turn:
            engine = self._engines.get(command)
            if engine is None:
                try:
                    engine = Engine(model.model, command, context)
                except OSError as error:
                    message = f"`vllm serve {model.model}` cannot be started: {error}"
                    return Failure(kind=FailureKind.CONNECTION, message=message)
                self._engines[command] = engine
            if not engine.ready and engine.failure is None:
                context.tell(f"starting vllm serve {model.model}")
                try:
                    await engine.wait(startup_seconds(model.options))
                finally:
                    context.tell("")
            return engine.failure or engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for engine in self._engines.values():
            engine.server.ask_to_end()
        for engine in self._engines.values():
            engine.server.stop()


def last_words(lines: Iterable[str]) -> list[str]:
    """Return a log's last errors, else its last lines, without prefixes."""
    plain = list(dict.fromkeys(_PREFIX.sub("", line).strip() for line in lines))
    shown = [line[:_LONGEST] for line in plain if line]
    errors = [line for line in shown if re.search(r"error\b|killed", line, re.IGNORECASE)]
    return (errors or shown)[-_SHOWN:]


def _environment(context: PluginContext, key: str, *, offline: bool) -> Mapping[str, str]:
    """Return what the engine sees: all but secrets. It makes no calls of its own.

    `offline`: the weights are on this machine, so nothing is downloaded.
    """
    kept = {
        name: value
        for name, value in context.environ.items()
        if context.redact(value) == value or name in HUGGING_FACE or name.lower().endswith("_proxy")
    }
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONSAFEPATH": "1"}
    default = {"VLLM_HOST_IP": "127.0.0.1", **({"HF_HUB_OFFLINE": "1"} if offline else {})}
    return {**default, **kept, **quiet, KEY_ENV: key}


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
    served, environ, url = served_name(model), dict(context.environ), model.base_url
    engine: Engine | None = None
    if url is None:
        started = await context.resources.take("vllm", Engines).of(model, context)
        if isinstance(started, Failure):
            yield NotStarted(started)
            return
        engine = started
        url, environ[KEY_ENV] = engine.url, engine.key
        model = replace(model, base_url=url, api_key_env=KEY_ENV)
    if is_loopback(host_of(url)):
        environ = {name: environ[name] for name in environ if not name.lower().endswith("_proxy")}
    async with open_openai(model, replace(context, environ=environ), dialect=DIALECT) as api:
        yield Vllm(api, model.model, served, engine)
