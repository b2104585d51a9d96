"""The door: what a completion must be before the rest of the program sees it.

No secret of this machine stands in it. Every string is Unicode that can be written (a model can
send half a surrogate pair, which no file, database or digest takes) and every tool's arguments
have a digest (a model can send an integer or a nesting that canonical JSON cannot carry).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from llmops_cli.core.digest import Json, NotCanonical, canonical
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, ToolCall


def entered(completion: Completion, redact: Redactor) -> Completion:
    """`completion` with its time, without secrets, and such that it can be stored and named."""
    return replace(
        completion,
        at=completion.at or datetime.now(UTC).isoformat(timespec="milliseconds"),
        text=None if completion.text is None else _clean(completion.text, redact),
        tool_calls=tuple(_called(each, redact) for each in completion.tool_calls),
        finish_reason=_clean(completion.finish_reason, redact),
        contexts=_all_clean(completion.contexts, redact),
        ids=_all_clean(completion.ids, redact),
        served_model=completion.served_model and _clean(completion.served_model, redact),
        fingerprint=completion.fingerprint and _clean(completion.fingerprint, redact),
    )


def failed(failure: Failure, redact: Redactor) -> Failure:
    """`failure` with a message that may be shown."""
    return replace(failure, message=_clean(failure.message, redact))


def _clean(text: str, redact: Redactor) -> str:
    return redact(whole(text))


def _all_clean(texts: tuple[str, ...] | None, redact: Redactor) -> tuple[str, ...] | None:
    return None if texts is None else tuple(_clean(each, redact) for each in texts)


def whole(text: str) -> str:
    """`text` with U+FFFD for every lone surrogate; nearly always the same object."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _called(call: ToolCall, redact: Redactor) -> ToolCall:
    try:
        arguments = redact.plain(_whole(call.arguments))
        canonical(arguments)
    except (NotCanonical, RecursionError):
        arguments = _clean(json.dumps(call.arguments), redact)
    return ToolCall(name=_clean(call.name, redact), arguments=arguments)


def _whole(value: Json) -> Json:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, Mapping):
        return {whole(key): _whole(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(each) for each in value]
    return value
