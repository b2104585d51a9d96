"""Trace files as production's exporters write them, with what happens in them decided by a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

START = 1_764_500_400
"""2025-11-30 11:00 UTC."""
HOUR = 3600


def attribute(key: str, value: object) -> dict[str, Any]:
    """One attribute as OTLP JSON has it."""
    if isinstance(value, bool):
        return {"key": key, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": key, "value": {"doubleValue": value}}
    if isinstance(value, list):
        values = [attribute("", item)["value"] for item in value]
        return {"key": key, "value": {"arrayValue": {"values": values}}}
    return {"key": key, "value": {"stringValue": value}}


def span(number: int, at: float, seconds: float = 1.0, **attributes: object) -> dict[str, Any]:
    """One call of a model; `_` in a name stands for `.`, `__` for `_`."""
    known: dict[str, object] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": "tiny",
    }
    named = {
        name.replace("__", "\0").replace("_", ".").replace("\0", "_"): value
        for name, value in attributes.items()
    }
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat tiny",
        "startTimeUnixNano": str(int(at * 1e9)),
        "endTimeUnixNano": str(int((at + seconds) * 1e9)),
        "attributes": [attribute(*item) for item in {**known, **named}.items()],
    }


def request(spans: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": list(spans)}]}]}


def write_hours(
    file: Path,
    hours: int,
    per_hour: int,
    attributes: Callable[[int, int], Mapping[str, Any]],
    *,
    start: float = START,
) -> None:
    """A line for each hour; `attributes` says what the call `n` of hour `h` has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        for hour in range(hours):
            spans = [
                span(
                    hour * per_hour + n + 1,
                    start + hour * HOUR + n * HOUR / per_hour,
                    **attributes(hour, n),
                )
                for n in range(per_hour)
            ]
            stream.write(json.dumps(request(spans)) + "\n")
