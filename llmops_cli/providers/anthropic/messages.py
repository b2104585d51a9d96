"""A request as the JSON of Anthropic's messages, made in the same way by `eval` and applications.

System turns are separate, tools and schemas have a shape of their own. No SDK is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Message, Request

MAX_TOKENS = 4096
"""The API demands a maximum. A model of llmops.yaml has one, in the key of every request; this one
is for a request that names none, a version that was frozen before: it never changes."""
SAME = {"stop": "stop_sequences", "max_completion_tokens": "max_tokens"}
"""OpenAI's name for a parameter to the one it has here."""
CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def body(request: Request) -> dict[str, Any]:
    """Return the JSON that asks for `request`."""
    named = {SAME.get(name, name): value for name, value in request.parameters.items()}
    sent: dict[str, Any] = {"model": request.model, "max_tokens": MAX_TOKENS, **named}
    if isinstance(sent.get("stop_sequences"), str):
        sent["stop_sequences"] = [sent["stop_sequences"]]
    if isinstance(choice := sent.get("tool_choice"), str):
        sent["tool_choice"] = {"type": CHOICES.get(choice, choice)}
    system = [turn for turn in request.messages if turn.role in {"system", "developer"}]
    if system:
        sent["system"] = [block for turn in system for block in _blocks(turn)]
    sent["messages"] = [
        {
            "role": "assistant" if turn.role == "assistant" else "user",
            "content": turn.content if isinstance(turn.content, str) else _blocks(turn),
        }
        for turn in request.messages
        if turn not in system
    ]
    if request.tools:
        sent["tools"] = [_tool(tool) for tool in request.tools]
    if request.response_format == "json_schema":
        schema = request.json_schema or {}
        inner = schema.get("schema")
        form = {"type": "json_schema", "schema": inner if isinstance(inner, Mapping) else schema}
        sent["output_config"] = {**sent.get("output_config", {}), "format": form}
    return {**sent, **request.extra_body}


def _blocks(message: Message) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    return [_block(part) for part in message.content]


def _block(part: Mapping[str, Json]) -> dict[str, Any]:
    """Return a part in OpenAI's shape as a content block; one that is a block already stays."""
    image = part.get("image_url")
    if part.get("type") != "image_url" or image is None:
        return dict(part)
    url = str(image["url"] if isinstance(image, Mapping) else image)
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def _tool(tool: Mapping[str, Json]) -> dict[str, Any]:
    """Return a tool in OpenAI's shape as Claude wants it; one in Claude's own shape stays."""
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)
    named = {key: function[key] for key in ("name", "description", "strict") if key in function}
    return {**named, "input_schema": function.get("parameters") or {"type": "object"}}
