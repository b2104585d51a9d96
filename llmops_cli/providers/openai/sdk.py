"""OpenAI itself, as its SDK reaches it: the URL, credentials, organization and user agent.

A module of its own because importing the SDK takes 0.4 s, which a compatible server need not cost.
"""

from __future__ import annotations

from openai import AsyncOpenAI

from llmops_cli.core.ports import PluginContext
from llmops_cli.providers.http.access import Access

BASE_URL = "https://api.openai.com/v1"


async def endpoint(access: Access, context: PluginContext) -> tuple[str, dict[str, str]]:
    """Return where the SDK posts chat completions to, and with which headers."""
    async with AsyncOpenAI(
        api_key=access.key,
        organization=context.environ.get("OPENAI_ORG_ID"),
        project=context.environ.get("OPENAI_PROJECT_ID"),
        base_url=access.base_url or BASE_URL,
        default_headers=access.headers,
    ) as sdk:
        named = {**sdk.auth_headers, **sdk.default_headers}
        headers = {name: value for name, value in named.items() if isinstance(value, str)}
        return f"{sdk.base_url}chat/completions", headers
