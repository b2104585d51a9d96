"""Embeddings as OpenAI's API has them: one text in, one vector out.

Asked for as plain numbers, which every compatible server can send; the SDK's own base64 cannot be
had everywhere. The vector becomes the text of a completion, as JSON, so that it is keyed, kept and
paid for like any answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmops_cli.core.prompt import Request
from llmops_cli.core.result import Completion, Failure, Usage
from llmops_cli.providers.wire.values import count, unusable

PARAMETERS = frozenset({"dimensions", "user"})
"""The SDK's parameters, of those that are not ours; a test compares."""
LARGEST = 1e100
"""In absolute terms; a vector's length is made of the squares of its numbers."""


def embedding_body(request: Request) -> dict[str, Any]:
    """The JSON that asks for the embedding of a request's one turn."""
    (turn,) = request.messages
    return {
        "model": request.model,
        "input": turn.content,
        "encoding_format": "float",
        **request.parameters,
        **request.extra_body,
    }


def embedding(answer: Mapping[str, Any]) -> Completion | Failure:
    """The one embedding of an answer as the JSON of its numbers, or why there is none."""
    data = answer.get("data")
    first = data[0] if isinstance(data, list) and data else None
    vector = first.get("embedding") if isinstance(first, dict) else None
    if not isinstance(vector, list) or not vector or not all(map(_is_number, vector)):
        return unusable("it has no embedding")
    reported, served = answer.get("usage"), answer.get("model")
    read = count(reported.get("prompt_tokens")) if isinstance(reported, Mapping) else None
    return Completion(
        text=json.dumps(vector, separators=(",", ":")),
        usage=None if read is None else Usage(input=read, output=0),
        served_model=served if isinstance(served, str) and served else None,
    )


def _is_number(value: object) -> bool:
    """A number of a size that can be reckoned with."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return -LARGEST <= value <= LARGEST
