"""A request as the JSON of OpenAI's chat completions: said alike by `eval` and by applications.

No SDK is needed to say it.

What counts as the answer in a chat completion, whichever server made it.

The answer is what the server calls `content`, as an application would get it. What it calls
reasoning is not part of it; thoughts that a server leaves in the text are, because users would
see them too. Words for why a model stopped and places for token counts differ between servers and
become one here (docs/servers.md, record 0019).

Embeddings as OpenAI's API has them: one text in, one vector out.

Asked for as plain numbers, which every compatible server can send; the SDK's own base64 cannot be
had everywhere. The vector becomes the text of a completion, as JSON, so that it is keyed, kept and
paid for like any answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Request
from llmops_cli.core.result import Completion, Failure, FailureKind, ToolCall, Usage
from llmops_cli.providers.http.errors import arguments, complaint, count, unusable


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


FINISH = {
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
}
"""Why a model stopped, in OpenAI's words, where a server has its own."""
BROKEN_OFF = frozenset({"error", "abort", "aborted", "cancelled"})
"""It did not stop, it was stopped: what there is of a text is no answer."""


SAYING = frozenset({"content", "refusal", "tool_calls", "reasoning", "reasoning_content"})
"""What a message may say; Gemini leaves all of it out where it was stopped before it began."""


def completion(answer: Mapping[str, Any]) -> Completion | Failure:
    """The first choice of an answer, or why there is none."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return unusable("it has no choices")
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or not finish:
        return unusable("it has no finish_reason")
    if finish.lower() in BROKEN_OFF:
        return _broken_off(finish, choice)
    if finish == "stop" and not message.keys() & SAYING:
        return unusable("its message says nothing")
    text, refused = _text(message)
    if text is None:
        return unusable(f"its content is a {type(message.get('content')).__name__}")
    try:
        calls = _tool_calls(message.get("tool_calls"))
    except (KeyError, TypeError, AttributeError):
        return unusable("its tool calls are not those of the API")
    return Completion(
        text=text,
        tool_calls=calls,
        finish_reason=_finish(finish, called=bool(calls), refused=refused),
        usage=usage_of(answer.get("usage")),
        served_model=_named(answer.get("model")),
        fingerprint=_named(answer.get("system_fingerprint")),
    )


def filtered() -> Completion:
    """The answer where a filter stopped the prompt: none, and it says why."""
    return Completion(text="", finish_reason="content_filter")


def _broken_off(finish: str, choice: Mapping[str, Any]) -> Failure:
    """A server that lost its model amid an answer has said 200 already."""
    said = complaint({"error": choice.get("error")})
    words = f": {said.words}" if said and said.words else ""
    return Failure(
        kind=FailureKind.SERVER,
        message=f"the server broke the answer off ({finish}){words}",
        status=200,
        retryable=True,
    )


def _finish(word: str, *, called: bool, refused: bool) -> str:
    """Gemini and others say `stop` of an answer that asks for tools."""
    said = FINISH.get(word.lower(), word.lower())
    if said == "stop" and called:
        return "tool_calls"
    return "refusal" if refused and said == "stop" else said


def _text(message: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The answer's text, and whether it is a refusal; None: it is nothing the API has."""
    refusal, content = message.get("refusal"), message.get("content")
    if isinstance(refusal, str) and refusal:
        return refusal, True
    if content is None or isinstance(content, str):
        return content or "", False
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None, False
    declined = [_part(part, "refusal") for part in content if part.get("type") == "refusal"]
    if declined:
        return "".join(declined), True
    return "".join(_part(part, "text") for part in content if part.get("type") == "text"), False


def _part(part: Mapping[str, Any], name: str) -> str:
    text = part.get(name)
    return text if isinstance(text, str) else ""


def _tool_calls(given: Any) -> tuple[ToolCall, ...]:  # noqa: ANN401 - whatever the server sent
    """Raises where they are not those of the API. Ids are not kept; no arguments are `{}`."""
    calls = [given] if isinstance(given, dict) else given or ()
    return tuple(_tool_call(call["function"]) for call in calls)


def _tool_call(function: Mapping[str, Any]) -> ToolCall:
    name = function["name"]
    if not isinstance(name, str):
        raise TypeError("a name that is no text")
    return ToolCall(name=name, arguments=_arguments(function.get("arguments")))


def _arguments(given: object) -> Json:
    return {} if given is None or given == "" else arguments(given)


def usage_of(reported: object) -> Usage | None:
    """The tokens of a call; None where the server does not know them.

    A request has tokens: 0 is a server that did not count. Where the total is more than its parts
    (Gemini, Grok), the rest was reasoning, which is paid for as output.
    """
    if not isinstance(reported, Mapping):
        return None
    into, total = count(reported.get("prompt_tokens")), count(reported.get("total_tokens"))
    out = count(reported.get("completion_tokens"))
    if not into or (out is None and total is None):
        return None
    output = max(out or 0, (total or 0) - into)
    return Usage(input=into, output=output, cached_input=min(_cached(reported), into))


def _cached(reported: Mapping[str, Any]) -> int:
    """Tokens served from a cache, by OpenAI's, LiteLLM's, DeepSeek's and Moonshot's name."""
    details = reported.get("prompt_tokens_details")
    places = (
        details.get("cached_tokens") if isinstance(details, Mapping) else None,
        reported.get("cache_read_input_tokens"),
        reported.get("prompt_cache_hit_tokens"),
        reported.get("cached_tokens"),
    )
    return next((found for place in places if (found := count(place))), 0)


def _named(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


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
