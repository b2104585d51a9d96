"""Whether a value fits the schema its input was declared with: a JSON-Schema subset.

Understood are `type`, `enum`, `items`, `properties`, `required` and `default`; nothing else can be
written there (`schema.InputSchema`). `required` is true unless an input says false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import suggestion
from llmops_cli.core.number import dump_json, restored

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
    """An input is required unless it says `required: false` or has a default."""
    return schema.get("required") is not False and "default" not in schema


def default_of(schema: Mapping[str, Json]) -> Json:
    """Return the declared default, its numbers spelled as in the file; None where there is none."""
    written = schema.get("literals")
    default = schema.get("default")
    return restored(default, written) if isinstance(written, Mapping) else default


def mismatch(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with `value`, in words; None if it fits."""
    wanted = schema.get("type")
    if wanted is not None and not _is(value, wanted):
        return f"must be {_article(wanted)}, not {_shown(value)}"
    if "enum" in schema and value not in schema["enum"]:
        hint = suggestion(str(value), [str(each) for each in schema["enum"]])
        return f"cannot be {_shown(value)} ({hint})"
    if "items" in schema and isinstance(value, list):
        for position, each in enumerate(value):
            if (why := mismatch(each, schema["items"])) is not None:
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
    for name, each in value.items():
        if name not in properties:
            return f"has an undeclared '{name}'"
        if (why := mismatch(each, properties[name])) is not None:
            return f"'{name}' {why}"
    return None


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[wanted])


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _shown(value: Any) -> str:
    text = dump_json(value)
    return text if len(text) <= 40 else text[:39] + "…"
