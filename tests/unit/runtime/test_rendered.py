"""The arguments for the SDKs, given to the SDKs: they send what `eval` sends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anthropic import Anthropic
from openai import OpenAI

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Message, Request
from llmops_cli.providers.anthropic import messages
from llmops_cli.providers.openai import messages as chat
from llmops_cli.runtime import Rendered
from tests.servers.faulty import FaultServer, Server

TOOL: dict[str, Json] = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
def server() -> Iterator[Server]:
    with FaultServer() as running:
        yield running


def rendered(**changes: object) -> Rendered:
    values: dict[str, object] = {
        "provider": "openai",
        "model": "tiny",
        "parameters": {"max_tokens": 9},
        "extra_body": {"guided": True},
        "messages": (
            Message(role="system", content="Be brief."),
            Message(role="user", content=({"type": "text", "text": "hello"},)),
        ),
        "response_format": "json_schema",
        "json_schema": {"type": "object", "properties": {"z": {}, "a": {}}},
        "tools": (TOOL,),
    }
    request = Request(**{**values, **changes})  # type: ignore[arg-type]  # fields by name
    return Rendered(name="help", version=1, digest="sha256:0", request=request)


def test_the_openai_sdk_sends_what_eval_sends(server: Server) -> None:
    made = rendered()
    with OpenAI(api_key="none", base_url=server.url) as client:
        reply = client.chat.completions.create(**made.openai())
    assert reply.choices[0].message.content == "hello"
    assert server.last is not None
    assert server.last.body == chat.body(made.request)


def test_the_anthropic_sdk_sends_what_eval_sends(server: Server) -> None:
    made = rendered(provider="anthropic")
    with Anthropic(api_key="none", base_url=server.root) as client:
        reply = client.messages.create(**made.anthropic())
    assert reply.content[0].text == "hello"
    assert server.last is not None
    assert server.last.body == messages.body(made.request)


def test_a_prompt_that_asks_for_no_format_and_no_tools_sends_none() -> None:
    made = rendered(response_format=None, json_schema=None, tools=(), extra_body={})
    assert (made.response_format, made.tools) == (None, [])
    assert made.openai().keys() == {"model", "messages", "max_tokens"}
