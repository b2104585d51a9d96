"""Completions, failures and scores as plain JSON and back, for every file and table of results.

Only what differs from the default is written, so a record stays small and an old one stays
readable when a field is added. Reading is strict: an unknown or misshapen field is a
`InvalidRecord`, never a guess. `latency` is written as it was measured and read as None where the
reader did not just make the call; that is the reader's choice, not this module's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from llmops_cli.core.codec import InvalidRecord
from llmops_cli.core.digest import Json, NotCanonical
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
    """Compact ASCII JSON with sorted keys: a lone surrogate or a NUL in a text survives it."""
    return _ENCODE(record).encode()


def from_bytes(content: bytes) -> dict[str, Any]:
    """The record in `content`. Raises `InvalidRecord` where it is no JSON object."""
    try:
        record = _DECODE(content.decode())  # quicker than bytes, whose encoding it guesses
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"not JSON: {error}") from error
    if type(record) is not dict:
        raise InvalidRecord(f"a {type(record).__name__} where an object belongs")
    return record


def checksum(key: Iterable[bytes | str | int], value: bytes) -> bytes:
    """16 bytes over a row's key and value: a flipped bit in either does not match."""
    parts = [each if type(each) is bytes else str(each).encode() for each in key]
    return hashlib.blake2b(b"\0".join([*parts, value]), digest_size=16).digest()


def completion_record(completion: Completion) -> dict[str, Json]:
    """`completion` as plain JSON, defaults left out."""
    record = _beside_defaults(completion, _COMPLETION_DEFAULTS)
    record["text"] = completion.text
    if completion.tool_calls:
        record["tool_calls"] = [[each.name, each.arguments] for each in completion.tool_calls]
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
    """The completion in `record`; its times are kept only if `live`."""
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
    """What a verdict needs of `completion`, as a JSON list; None where nothing can name it."""
    try:
        return _ENCODE(completion.brief).encode()
    except NotCanonical:
        return None


def brief_of(content: bytes) -> Brief:
    """The brief in `content`. Raises `InvalidRecord`."""
    try:
        return Brief(*_DECODE(content.decode()))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"not a completion in brief: {error}") from error


def failure_record(failure: Failure) -> dict[str, Json]:
    """`failure` as plain JSON, defaults left out."""
    record = _beside_defaults(failure, _FAILURE_DEFAULTS)
    return {**record, "kind": failure.kind.value, "message": failure.message}


def failure_of(record: Mapping[str, Any]) -> Failure:
    """The failure in `record`."""
    try:
        return Failure(**{**record, "kind": FailureKind(record["kind"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRecord(f"not a failure: {error}") from error


def score_record(score: Score) -> dict[str, Json]:
    """`score` as plain JSON, defaults left out."""
    record: dict[str, Json] = {"value": score.value}
    if score.reason:
        record["reason"] = score.reason
    if score.detail:
        record["detail"] = dict(score.detail)
    return record


def score_of(record: Mapping[str, Any]) -> Score:
    """The score in `record`. A value that is no finite number is a `InvalidRecord`."""
    try:
        if type(record["value"]) not in (int, float):
            raise InvalidRecord(f"{record['value']!r} is not a score")
        return Score(**record)
    except (KeyError, TypeError, NotAScore) as error:
        raise InvalidRecord(f"not a score: {error}") from error


def _beside_defaults(value: Completion | Failure, defaults: Mapping[str, Any]) -> dict[str, Json]:
    record: dict[str, Json] = {}
    for name, default in defaults.items():
        given = getattr(value, name)
        if given != default:
            record[name] = list(given) if isinstance(given, tuple) else given
    return record


def _defaults(kind: type[Any], beside: frozenset[str]) -> Mapping[str, Any]:
    return {each.name: each.default for each in fields(kind) if each.name not in beside}


_COUNTS = tuple(field.name for field in fields(Usage))
OLDEST_COUNTS = 3
"""Counts of a usage that every record has; the later ones may be left out."""
_COMPLETION_DEFAULTS = _defaults(Completion, frozenset({"text", "tool_calls", "usage"}))
_FAILURE_DEFAULTS = _defaults(Failure, frozenset({"kind", "message"}))
