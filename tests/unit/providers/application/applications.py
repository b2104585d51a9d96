"""Applications for the tests: what they are asked, and one call of them through the engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Limits, Model, Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Outcome
from llmops_cli.engine.call import Engine
from llmops_cli.plugins.catalog import open_provider
from llmops_cli.plugins.providers import PROVIDERS


def model(provider: str, *, limits: Limits | None = None, **more: Any) -> Model:
    """An application that is asked once and given five seconds, unless `limits` say otherwise."""
    base_url = more.pop("base_url", None)
    headers = more.pop("headers", {})
    return Model(
        name="app",
        provider=provider,
        model="app",
        base_url=base_url,
        headers=headers,
        options=more,
        limits=limits or Limits(timeout=5.0, retries=0, max_concurrency=4),
    )


def request(provider: str = "python", **inputs: Any) -> Request:
    document: dict[str, Json] = {
        "inputs": inputs,
        "messages": [{"role": "user", "content": "hello"}],
        "parameters": {"temperature": 0},
    }
    return Request(provider=provider, model="app", messages=(), document=document)


def ask(
    of: Model, *asked: Request, root: Path, environ: Mapping[str, str] | None = None
) -> list[Outcome]:
    """The outcomes of `asked`, one after the other."""

    async def main() -> list[Outcome]:
        context = PluginContext(
            root=root, environ=environ or {}, redact=Redactor.of(environ or {}), trust=["**"]
        )
        opens = open_provider(PROVIDERS[of.provider])
        engine = Engine(
            providers=lambda each: opens(each, context),
            redact=Redactor.of(environ or {}),
            jitter=lambda: 0.0,
        )
        async with engine as ours:
            return [await ours.ask(of, each) for each in asked]

    return anyio.run(main)
