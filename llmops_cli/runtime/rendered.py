"""What an application sends: the messages of one rendering, with all that goes along with them.

Every attribute is the caller's own copy, as the SDKs take it: changing it changes nothing here.
To go on with the conversation, send `[*rendered.messages, …]`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_cli.core.prompt import Request
from llmops_cli.providers.anthropic import messages
from llmops_cli.providers.openai import chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One request, exactly as `llmops eval` measured it."""

    name: str
    """Of the prompt."""
    version: int
    digest: str
    """Of the target: what evidence and `llmops status` know the version by."""
    request: Request = field(repr=False)

    @property
    def provider(self) -> str:
        """`openai`, `anthropic`, `vllm` …"""
        return self.request.provider

    @property
    def model(self) -> str:
        """The provider's name for the model."""
        return self.request.model

    @property
    def messages(self) -> list[dict[str, Any]]:
        """`[{"role": …, "content": …}, …]`."""
        return deepcopy([dict(each.plain()) for each in self.request.messages])

    @property
    def parameters(self) -> dict[str, Any]:
        """`temperature`, `max_tokens` …: the model's defaults under the prompt's own."""
        return deepcopy(dict(self.request.parameters))

    @property
    def response_format(self) -> dict[str, Any] | None:
        """As chat completions take it; None where the prompt asks for none."""
        found: dict[str, Any] | None = deepcopy(chat.body(self.request).get("response_format"))
        return found

    @property
    def tools(self) -> list[dict[str, Any]]:
        """In OpenAI's shape."""
        return deepcopy([dict(each) for each in self.request.tools])

    def openai(self) -> dict[str, Any]:
        """The arguments of `client.chat.completions.create(**…)`."""
        return self._arguments(chat.body)

    def anthropic(self) -> dict[str, Any]:
        """The arguments of `client.messages.create(**…)`."""
        return self._arguments(messages.body)

    def _arguments(self, body: Callable[[Request], dict[str, Any]]) -> dict[str, Any]:
        """What the API takes and the SDK does not know goes along as `extra_body`."""
        sent = body(replace(self.request, extra_body={}))
        if self.request.extra_body:
            sent["extra_body"] = dict(self.request.extra_body)
        return deepcopy(sent)
