"""Convert answers, failures, scores and cases to plain JSON and back, for files and tables.

Only what differs from the default is written, so a record stays small and an old one stays
readable when a field is added. Reading is strict: an unknown or wrongly typed field is an
`InvalidRecord`, never a guess. `latency` is written as it was measured, and read as None unless the
reader made the call itself. A case is one object with arrays over its trials:

    {"evalset": "support", "case": "refund-7", "facts": "sha256:…", "critical": true,
     "sides": {"candidate": {"request": "sha256:…", "planned": 1, "n": 1,
                             "output": ["sha256:…"], "scores": {"contains": [1.0]},
                             "cost": [0.0002]}}}

Evidence holds the measured values; a run file also holds the case's inputs and the scorers'
explanations. Texts are stored apart from it, by output digest. Output digests are written in full,
because they are keys of the scores that later runs use again (record 0005).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from llmops_cli.core.digest import InvalidRecord, Json, NotCanonical
from llmops_cli.core.records import Calibration, Event, Version
from llmops_cli.core.result import (
    BASELINE,
    CANDIDATE,
    Brief,
    CaseResult,
    Completion,
    Failure,
    FailureKind,
    NotAScore,
    Score,
    SideResult,
    ToolCall,
    Trial,
    Usage,
)

T = TypeVar("T", Calibration, Event, Version)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):  # readers disagree about which value counts
        raise ValueError("a key is here twice")
    return record


_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_DECODE = json.JSONDecoder().decode
_DECODE_STRICTLY = json.JSONDecoder(object_pairs_hook=_without_duplicates).decode
_NUMBER = (float, int)
_COLUMNS: Mapping[str, tuple[type, ...]] = {
    "output": (str,),
    "cost": _NUMBER,
    "input_tokens": (int,),
    "output_tokens": (int,),
    "latency": _NUMBER,
    "first_token": _NUMBER,
    "served_model": (str,),
}
"""Fields of `Trial` that are written as they are, with the types that may be read."""
_CASE_FIELDS: Mapping[str, type] = {
    "evalset": str,
    "case": str,
    "critical": bool,
    "group": str,
    "known_failing": str,
    "tags": list,
    "scorers": dict,
}
_DETAIL_FIELDS: Mapping[str, type] = {
    "prompt": str,
    "position": int,
    "inputs": dict,
    "expected": object,
    "contexts": list,
    "messages": list,
}
"""Additional fields in a run file, for reports."""
_TRIAL_FIELDS = {"planned", "n", "failure", "finish_reason", "scores", "reasons", *_COLUMNS}
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_MOST_TRIALS = 10**6
_LIMITS = {int: 2**63, float: math.inf}
"""Numbers that are read are smaller: finite, and integers that arrays hold. NaN is not."""


def _defaults(kind: type[Any], *without: str) -> Mapping[str, Any]:
    return {field.name: field.default for field in fields(kind) if field.name not in without}


_COUNTS = tuple(field.name for field in fields(Usage))
OLDEST_COUNTS = 3
"""Counts of a usage that every record has; the later ones may be left out."""
_COMPLETION_DEFAULTS = _defaults(Completion, "text", "tool_calls", "usage")
_FAILURE_DEFAULTS = _defaults(Failure, "kind", "message")


def to_bytes(record: Mapping[str, Json]) -> bytes:
    """Return compact ASCII JSON with sorted keys, which lone surrogates and NULs survive."""
    return _ENCODE(record).encode()


def from_bytes(content: bytes, *, own: bool = False) -> dict[str, Any]:
    """Return the record in `content`. Raises `InvalidRecord` if it is not a JSON object.

    Duplicate keys are not looked for in a record of the store's `own`, which is read often.
    """
    decode = _DECODE if own else _DECODE_STRICTLY
    try:
        record = decode(content.decode())  # faster than bytes, whose encoding json guesses
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"not JSON: {error}") from error
    if type(record) is not dict:
        raise InvalidRecord(f"a {type(record).__name__} where an object belongs")
    return record


def checksum(key: Iterable[bytes | str | int], value: bytes) -> bytes:
    """Return 16 bytes over a row's key and value: a flipped bit in either does not match."""
    parts = [part if type(part) is bytes else str(part).encode() for part in key]
    return hashlib.blake2b(b"\0".join([*parts, value]), digest_size=16).digest()


def seal(value: Version | Event) -> dict[str, Json]:
    """Return the record of `value` with its digest."""
    return {**value.record(), "digest": value.digest}


def unseal(
    record: Mapping[str, Json], parse: Callable[[Mapping[str, Any]], T], *, was: str = "written"
) -> T:
    """Return what `parse` makes of `record`, whose digest is checked. Raises `InvalidRecord`."""
    value = parse({name: field for name, field in record.items() if name != "digest"})
    if value.digest != record.get("digest"):
        raise InvalidRecord(f"its content is not what was {was}")
    return value


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


def completion_of(record: Mapping[str, Any], *, live: bool = False) -> Completion:
    """Return the completion in `record`, with its times only if `live`. Raises `InvalidRecord`."""
    try:
        values = dict(record)
        if "tool_calls" in values:
            values["tool_calls"] = tuple(
                ToolCall(name=name, arguments=arguments) for name, arguments in values["tool_calls"]
            )
        if "usage" in values:
            counts = values["usage"]
            if not OLDEST_COUNTS <= len(counts) <= len(_COUNTS):
                raise InvalidRecord(f"{len(counts)} counts of a usage")
            values["usage"] = Usage(**dict(zip(_COUNTS, counts, strict=False)))
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


def case_record(case: CaseResult, *, details: bool) -> dict[str, Json]:
    """Return `case` as plain JSON.

    With `details`, inputs and the explanations of all scores; without them, only why a score is
    missing.
    """
    record: dict[str, Json] = {"case": case.case, "facts": case.facts}
    for name in (*_CASE_FIELDS, *(_DETAIL_FIELDS if details else ())):
        value = getattr(case, name)
        if value or (name == "expected" and value is not None):
            record[name] = list(value) if isinstance(value, tuple) else value
    sides: dict[str, Json] = {}
    for role, side in case.sides.items():
        trials = _trials_record(side.planned, side.trials, details=details)
        sides[role] = side_record = {"request": side.request, **trials}
        if side.confirm:
            confirm = _trials_record(len(side.confirm), side.confirm, details=details)
            side_record["confirm"] = confirm
    return {**record, "sides": sides}


def case_of(record: dict[str, Any]) -> CaseResult:
    """Return the case that `record` holds. Raises `InvalidRecord`."""
    try:
        values = dict(record)
        for name, kind in {**_CASE_FIELDS, **_DETAIL_FIELDS}.items():
            if name in values and kind is not object and type(values[name]) is not kind:
                raise InvalidRecord(f"{name} is {values[name]!r}")
        facts = values.pop("facts")
        _demand_digest(facts)
        sides = {role: _side_of(side, facts) for role, side in values.pop("sides").items()}
        for name in ("tags", "contexts"):
            values[name] = tuple(values.get(name, ()))
        return CaseResult(
            candidate=sides.pop(CANDIDATE, None),
            baseline=sides.pop(BASELINE, None),
            others=sides,
            **values,
        )
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise InvalidRecord(f"not the result of a case: {error!r}") from error


def _side_of(record: Mapping[str, Any], facts: str) -> SideResult:
    _demand_digest(record["request"])
    confirm = record.get("confirm")
    return SideResult(
        request=record["request"],
        facts=facts,
        planned=_count(record["planned"]),
        trials=_trials_of(record, beside={"request", "confirm"}),
        confirm=() if confirm is None else _trials_of(confirm),
    )


def _trials_record(planned: int, trials: Sequence[Trial], *, details: bool) -> dict[str, Json]:
    record: dict[str, Json] = {"planned": planned, "n": len(trials)}
    for name in _COLUMNS:
        column = [getattr(trial, name) for trial in trials]
        if not details:  # evidence is committed: what a clock says beyond this is noise
            column = [round(value, 9) if isinstance(value, float) else value for value in column]
        if any(value is not None for value in column):
            record[name] = column
    if any(trial.failure is not None for trial in trials):
        record["failure"] = [
            None if trial.failure is None else failure_record(trial.failure) for trial in trials
        ]
    if any(trial.finish_reason != _usual_finish(trial.output) for trial in trials):
        record["finish_reason"] = [trial.finish_reason for trial in trials]
    labels = list(dict.fromkeys(label for trial in trials for label in trial.scores))
    if labels:
        record["scores"] = {
            label: [trial.scores.get(label) for trial in trials] for label in labels
        }
    reasons = [
        {
            label: reason
            for label, reason in trial.reasons.items()
            if reason and (details or trial.scores.get(label) is None)
        }
        for trial in trials
    ]
    if any(reasons):
        record["reasons"] = reasons
    return record


def _trials_of(record: Mapping[str, Any], beside: set[str] | None = None) -> tuple[Trial, ...]:
    count = _count(record["n"])
    if unknown := set(record) - _TRIAL_FIELDS - (beside or set()):
        raise InvalidRecord(f"unknown field {min(unknown)!r} in a side")
    columns = {name: _column(record, name, count, kinds) for name, kinds in _COLUMNS.items()}
    outputs = columns["output"]
    for output in outputs:
        _demand_digest(output or "")
    failures = _column(record, "failure", count, (dict,))
    finish = [_usual_finish(output) for output in outputs]
    if "finish_reason" in record:
        finish = [*_column(record, "finish_reason", count, (str,))]
    reasons = _column(record, "reasons", count, (dict,), default={})
    labels = record.get("scores", {})
    scores = {label: _column(labels, label, count, _NUMBER) for label in labels}
    return tuple(
        Trial(
            failure=failures[at] and failure_of(failures[at]),
            finish_reason=finish[at],
            scores={label: column[at] for label, column in scores.items()},
            reasons=reasons[at],
            **{name: column[at] for name, column in columns.items()},
        )
        for at in range(count)
    )


def _column(
    record: Mapping[str, Any],
    name: str,
    count: int,
    kinds: Sequence[type],
    default: Json = None,
) -> Sequence[Any]:
    """Return `name` trial by trial: values of one of `kinds` and, if numbers, finite."""
    column: Sequence[Any] = record.get(name) or [default] * count
    if not isinstance(column, list):
        raise InvalidRecord(f"{name} is {column!r}")
    if len(column) != count:
        raise InvalidRecord(f"{name} holds {len(column)} values for {count} trials")
    for value in column:
        if value is default:
            continue
        limit = _LIMITS.get(type(value))
        if type(value) not in kinds or (limit is not None and not abs(value) < limit):
            raise InvalidRecord(f"{name} is {value!r}")
    return column


def _demand_digest(text: object) -> None:
    """Digests are keys of the store; a case that only the baseline has is about nothing, ``."""
    if text != "" and not (isinstance(text, str) and _DIGEST.fullmatch(text)):
        raise InvalidRecord(f"{text!r} is no digest")


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_TRIALS:
        raise InvalidRecord(f"{value!r} is no number of trials")
    return value


def _usual_finish(output: str | None) -> str | None:
    return None if output is None else "stop"


def _changed_fields(value: Completion | Failure, defaults: Mapping[str, Any]) -> dict[str, Json]:
    record: dict[str, Json] = {}
    for name, default in defaults.items():
        content = getattr(value, name)
        if content != default:
            record[name] = list(content) if isinstance(content, tuple) else content
    return record
