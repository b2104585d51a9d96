"""Convert completions, failures and scores to plain JSON and back, for files and tables of results.

Only what differs from the default is written, so a record stays small and an old one stays
readable when a field is added. Reading is strict: an unknown or wrongly typed field is an
`InvalidRecord`, never a guess. `latency` is written as it was measured, and read as None unless the
reader made the call itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from llmops_cli.core.digest import InvalidRecord, Json, NotCanonical
from llmops_cli.core.result import (
    Brief,
    Completion,
    Failure,
    FailureKind,
    NotAScore,
    Score,
    ToolCall,
    Usage,
)

_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_DECODE = json.JSONDecoder().decode


def to_bytes(record: Mapping[str, Json]) -> bytes:
    """Return compact ASCII JSON with sorted keys, which lone surrogates and NULs survive."""
    return _ENCODE(record).encode()


def from_bytes(content: bytes) -> dict[str, Any]:
    """Return the record in `content`. Raises `InvalidRecord` if it is not a JSON object."""
    try:
        record = _DECODE(content.decode())  # faster than bytes, whose encoding json guesses
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"not JSON: {error}") from error
    if type(record) is not dict:
        raise InvalidRecord(f"a {type(record).__name__} where an object belongs")
    return record


def checksum(key: Iterable[bytes | str | int], value: bytes) -> bytes:
    """Return 16 bytes over a row's key and value: a flipped bit in either does not match."""
    parts = [part if type(part) is bytes else str(part).encode() for part in key]
    return hashlib.blake2b(b"\0".join([*parts, value]), digest_size=16).digest()


def completion_record(completion: Completion) -> dict[str, Json]:
    """Return `completion` as plain JSON, without defaults."""
    record = _changed_fields(completion, _COMPLETION_DEFAULTS)
    record["text"] = completion.text
    if completion.tool_calls:
        record["tool_calls"] = [[call.name, call.arguments] for call in completion.tool_calls]
    if completion.usage is not None:
        counts = [getattr(completion.usage, name) for name in _COUNTS]
        while len(counts) > OLDEST_COUNTS and not counts[-1]:
            counts.pop()
        record["usage"] = counts
    return record


def _usage(counts: list[int]) -> Usage:
    if not OLDEST_COUNTS <= len(counts) <= len(_COUNTS):
        raise ValueError(f"{len(counts)} counts of a usage")
    return Usage(**dict(zip(_COUNTS, counts, strict=False)))


def completion_of(record: Mapping[str, Any], *, live: bool = False) -> Completion:
    """Return the completion in `record`, with its times only if `live`. Raises `InvalidRecord`."""
    try:
        values = dict(record)
        if "tool_calls" in values:
            values["tool_calls"] = tuple(
                ToolCall(name=name, arguments=arguments) for name, arguments in values["tool_calls"]
            )
        if "usage" in values:
            values["usage"] = _usage(values["usage"])
        for name in ("contexts", "ids"):
            if name in values:
                values[name] = tuple(values[name])
        if not live:
            values.pop("latency", None)
            values.pop("first_token", None)
        completion = Completion(**values)
    except (TypeError, ValueError) as error:
        raise InvalidRecord(f"not a completion: {error}") from error
    if completion.text is None and completion.known_digest is None:
        raise InvalidRecord("a completion with neither text nor digest")
    return completion


def brief_bytes(completion: Completion) -> bytes | None:
    """Return the brief of `completion` as a JSON list; None if its text has no digest."""
    try:
        return _ENCODE(completion.brief).encode()
    except NotCanonical:
        return None


def brief_of(content: bytes) -> Brief:
    """Return the brief in `content`. Raises `InvalidRecord`."""
    try:
        return Brief(*_DECODE(content.decode()))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"not a completion in brief: {error}") from error


def failure_record(failure: Failure) -> dict[str, Json]:
    """Return `failure` as plain JSON, without defaults."""
    record = _changed_fields(failure, _FAILURE_DEFAULTS)
    return {**record, "kind": failure.kind.value, "message": failure.message}


def failure_of(record: Mapping[str, Any]) -> Failure:
    """Return the failure in `record`. Raises `InvalidRecord`."""
    try:
        return Failure(**{**record, "kind": FailureKind(record["kind"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRecord(f"not a failure: {error}") from error


def score_record(score: Score) -> dict[str, Json]:
    """Return `score` as plain JSON, without defaults."""
    record: dict[str, Json] = {"value": score.value}
    if score.reason:
        record["reason"] = score.reason
    if score.detail:
        record["detail"] = dict(score.detail)
    return record


def score_of(record: Mapping[str, Any]) -> Score:
    """Return the score in `record`. Raises `InvalidRecord`, also for a value that is not finite."""
    try:
        if type(record["value"]) not in (int, float):
            raise InvalidRecord(f"{record['value']!r} is not a score")
        return Score(**record)
    except (KeyError, TypeError, NotAScore) as error:
        raise InvalidRecord(f"not a score: {error}") from error


def _changed_fields(value: Completion | Failure, defaults: Mapping[str, Any]) -> dict[str, Json]:
    record: dict[str, Json] = {}
    for name, default in defaults.items():
        content = getattr(value, name)
        if content != default:
            record[name] = list(content) if isinstance(content, tuple) else content
    return record


def _defaults(kind: type[Any], *without: str) -> Mapping[str, Any]:
    return {field.name: field.default for field in fields(kind) if field.name not in without}


_COUNTS = tuple(field.name for field in fields(Usage))
OLDEST_COUNTS = 3
"""Counts of a usage that every record has; the later ones may be left out."""
_COMPLETION_DEFAULTS = _defaults(Completion, "text", "tool_calls", "usage")
_FAILURE_DEFAULTS = _defaults(Failure, "kind", "message")
