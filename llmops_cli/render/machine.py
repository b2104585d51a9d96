"""Writes a report as JSON that programs can rely on: documented, versioned and reproducible.

The document is `{"schema": "llmops/report/v1", "report": {…}}`. Its fields are those of
`core.report` and `core.verdict` under their own names, all of them always; `report_schema` has
the JSON Schema. Keys are sorted, so that equal reports give equal bytes. The text is plain ASCII
and harmless in a terminal or a CI log; texts in it come back exactly as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum, IntEnum
from typing import Any

from llmops_cli.core.digest import Json
from llmops_cli.core.report import Report

SCHEMA = "llmops/report/v1"


def json_report(report: Report) -> str:
    """The whole report as one JSON document, ending in a newline.

    Raises `ValueError` where a figure is NaN or infinite: that is a bug, and no JSON.
    """
    return _document({"schema": SCHEMA, "report": as_json(report)})


def table_json(rows: Iterable[Mapping[str, Json]]) -> str:
    """A table as a JSON list of objects, ending in a newline."""
    return _document([dict(row) for row in rows])


def as_json(value: Any) -> Any:  # noqa: ANN401 - any core value in, plain JSON data out
    """A core value as plain data: a dataclass as an object, an enum as its value."""
    if is_dataclass(value):
        return {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    return value


def _document(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False)
    # DEL is the one control that JSON leaves as it is; `##[` is a command to a CI runner.
    return text.replace("\x7f", "\\u007f").replace("##[", "#\\u0023[") + "\n"
