"""Checks a value against the schema that its input was declared with: a JSON-Schema subset.

Understood are `type`, `enum`, `items`, `properties`, `required` and `default`; nothing else can be
written there (`schema.InputSchema`). `required` is true unless an input says false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import suggestion
from llmops_cli.core.literals import dump_json, restored

Schemas: TypeAlias = Mapping[str, Mapping[str, Json]]

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def is_required(schema: Mapping[str, Json]) -> bool:
    """Tell whether an input must be given: it says no `required: false` and has no default."""
    return schema.get("required") is not False and "default" not in schema


def default_of(schema: Mapping[str, Json]) -> Json:
    """Return the declared default, its numbers spelled as in the file; None if there is none."""
    written = schema.get("literals")
    default = schema.get("default")
    return restored(default, written) if isinstance(written, Mapping) else default


def mismatch(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `value`, in words; None if it fits."""
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        article = "an" if kind[0] in "aeiou" else "a"
        return f"must be {article} {kind}, not {_shown(value)}"
    if "enum" in schema and value not in schema["enum"]:
        hint = suggestion(str(value), list(map(str, schema["enum"])))
        return f"cannot be {_shown(value)} ({hint})"
    if "items" in schema and isinstance(value, list):
        for position, item in enumerate(value):
            if (why := mismatch(item, schema["items"])) is not None:
                return f"item {position + 1} {why}"
    if "properties" in schema and isinstance(value, dict):
        return _object_mismatch(value, schema)
    return None


def _object_mismatch(value: dict[str, Any], schema: Mapping[str, Any]) -> str | None:
    properties = schema["properties"]
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in value:
            return f"lacks '{name}'"
    for name, inner in value.items():
        if name not in properties:
            return f"has an undeclared '{name}'"
        if (why := mismatch(inner, properties[name])) is not None:
            return f"'{name}' {why}"
    return None


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[kind])


def _shown(value: Any) -> str:
    text = dump_json(value)
    return text if len(text) <= 40 else text[:39] + "…"
