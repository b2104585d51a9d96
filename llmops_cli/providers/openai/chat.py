"""A request as the JSON of OpenAI's chat completions: said alike by `eval` and by applications.

No SDK is needed to say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_cli.core.prompt import Request


def body(request: Request) -> dict[str, Any]:
    """The JSON that asks for `request`."""
    sent: dict[str, Any] = {
        "model": request.model,
        "messages": [message.plain() for message in request.messages],
        **request.parameters,
    }
    if request.tools:
        sent["tools"] = list(request.tools)
    match request.response_format:
        case "json_schema":
            sent["response_format"] = {
                "type": "json_schema",
                "json_schema": _named_schema(request.json_schema or {}),
            }
        case "json_object" | "text" as kind:
            sent["response_format"] = {"type": kind}
        case None:
            pass
    return {**sent, **request.extra_body}


def _named_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """GitHub's and OpenAI's form has a name and `schema` inside; a bare schema gets them."""
    if isinstance(schema.get("schema"), Mapping):
        return {"name": "answer", "strict": True, **schema}
    return {"name": "answer", "strict": True, "schema": dict(schema)}
