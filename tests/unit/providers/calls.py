"""Calls through the engine to a server that plays a script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Limits, Message, Model, Request
from llmops_cli.core.result import Outcome
from llmops_cli.engine.call import Engine
from llmops_cli.plugins.catalog import open_provider
from llmops_cli.plugins.providers import PROVIDERS
from tests.servers import faulty
from tests.servers.faulty import Behaviour, Server

CONTEXT = PluginContext(root=Path(), environ={"ANTHROPIC_API_KEY": "sk-ant-x"})


def model(
    url: str,
    *,
    provider: str = "openai",
    timeout: float = 5.0,
    retries: int = 3,
    concurrency: int = 8,
) -> Model:
    limits = Limits(timeout=timeout, retries=retries, max_concurrency=concurrency)
    return Model(name="m", provider=provider, model="tiny", base_url=url, limits=limits)


def request(text: str = "hello", *, timed: bool = False) -> Request:
    turn = Message(role="user", content=text)
    return Request(provider="openai", model="tiny", messages=(turn,), timed=timed)


def engine() -> Engine:
    return Engine(
        providers=lambda of: open_provider(PROVIDERS[of.provider])(of, CONTEXT),
        jitter=lambda: 0.0,
    )


def ask_all(
    *script: Behaviour,
    then: Behaviour | None = None,
    provider: str = "openai",
    questions: Sequence[str] = ("hello",),
    timed: bool = False,
    timeout: float = 5.0,
    retries: int = 3,
    pause: float = 0.0,
) -> tuple[list[Outcome], Server]:
    """What the questions came to, asked one after the other with a pause between."""

    async def main() -> tuple[list[Outcome], Server]:
        outcomes = []
        async with faulty.serve(*script, then=then) as server, engine() as calls:
            url = server.url if provider == "openai" else server.root
            of = model(url, provider=provider, timeout=timeout, retries=retries)
            for question in questions:
                outcomes.append(await calls.ask(of, request(question, timed=timed)))
                await anyio.sleep(pause)
        return outcomes, server

    return anyio.run(main)


def ask(
    *script: Behaviour, then: Behaviour | None = None, timeout: float = 5.0, retries: int = 3
) -> tuple[Outcome, Server]:
    """What one call came to."""
    (outcome,), server = ask_all(*script, then=then, timeout=timeout, retries=retries)
    return outcome, server
