"""Clean up completions as they arrive: secrets, invalid Unicode, tool arguments.

No secret of this machine is in it. Every string is Unicode that can be written (a model can send
half a surrogate pair, which no file, database or digest takes) and every tool's arguments have a
digest (a model can send a nesting that canonical JSON cannot carry).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from llmops_cli.core.digest import Json, NotCanonical, canonical
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, ToolCall


def sanitized(completion: Completion, redact: Redactor) -> Completion:
    """Return `completion` with its time, without secrets, and such that it can be stored."""
    return replace(
        completion,
        at=completion.at or datetime.now(UTC).isoformat(timespec="milliseconds"),
        text=None if completion.text is None else _clean(completion.text, redact),
        tool_calls=tuple(_clean_call(call, redact) for call in completion.tool_calls),
        finish_reason=_clean(completion.finish_reason, redact),
        contexts=_clean_all(completion.contexts, redact),
        ids=_clean_all(completion.ids, redact),
        served_model=completion.served_model and _clean(completion.served_model, redact),
        fingerprint=completion.fingerprint and _clean(completion.fingerprint, redact),
    )


def sanitized_failure(failure: Failure, redact: Redactor) -> Failure:
    """Return `failure` with a message that may be shown."""
    return replace(failure, message=_clean(failure.message, redact))


def without_surrogates(text: str) -> str:
    """Return `text` with U+FFFD for every lone surrogate; nearly always the same object."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _clean(text: str, redact: Redactor) -> str:
    return redact(without_surrogates(text))


def _clean_all(texts: tuple[str, ...] | None, redact: Redactor) -> tuple[str, ...] | None:
    return None if texts is None else tuple(_clean(text, redact) for text in texts)


def _clean_call(call: ToolCall, redact: Redactor) -> ToolCall:
    try:
        arguments = redact.plain(_deep(call.arguments))
        canonical(arguments)
    except (NotCanonical, RecursionError):
        arguments = _clean(json.dumps(call.arguments), redact)
    return ToolCall(name=_clean(call.name, redact), arguments=arguments)


def _deep(value: Json) -> Json:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, Mapping):
        return {without_surrogates(key): _deep(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_deep(item) for item in value]
    return value
