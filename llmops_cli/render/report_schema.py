"""The JSON Schema of `--json`, derived from the types of the report, so that it cannot go stale."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from llmops_cli.core.report import Report
from llmops_cli.render.json import SCHEMA

_PLAIN: Mapping[object, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what `json_report` writes."""
    definitions: dict[str, Any] = {}
    report = _schema(Report, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmops report",
        "type": "object",
        "properties": {"schema": {"const": SCHEMA}, "report": report},
        "required": ["schema", "report"],
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a type form
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_dataclass(kind):
        return _object(kind, definitions)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    inner = get_args(kind)
    match get_origin(kind):
        case origin if origin is Literal:
            return {"enum": list(inner)}
        case origin if origin in (Union, types.UnionType):
            return {"anyOf": [_schema(alternative, definitions) for alternative in inner]}
        case origin if origin is tuple:
            return {"type": "array", "items": _schema(inner[0], definitions)}
        case _:
            return {"type": "object", "additionalProperties": _schema(inner[1], definitions)}


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # a placeholder, in case a type contains itself
        hints = get_type_hints(kind, localns={"Json": Any})
        names = [item.name for item in fields(kind)]
        definitions[name] = {
            "description": (kind.__doc__ or "").split("\n")[0],
            "type": "object",
            "properties": {name: _schema(hints[name], definitions) for name in names},
            "required": names,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}
