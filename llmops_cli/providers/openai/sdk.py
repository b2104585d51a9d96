"""OpenAI itself, as its SDK reaches it: the endpoint, credentials, organisation and user agent.

A module of its own because importing the SDK takes 0.4 s, which a compatible server need not cost.
"""

from __future__ import annotations

from openai import AsyncOpenAI

from llmops_cli.core.ports import World
from llmops_cli.providers.wire.access import Access


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
