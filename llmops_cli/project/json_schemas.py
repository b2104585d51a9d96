"""JSON Schemas for editors: the shapes of `schema.py` with the catalog's options filled in.

What is checked when loading and cannot be said in a schema (names that must exist, templates)
is left to `llmops check`; whatever loads is valid here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from llmops_cli.core.ports import Catalog, Option, ScorerKind
from llmops_cli.project.models import model_shape
from llmops_cli.project.policy import bare_option
from llmops_cli.project.schema import (
    RULE_OPTIONS,
    ModelParameters,
    WrittenCase,
    WrittenEvalset,
    WrittenProject,
    WrittenPrompt,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCES = "#/$defs/{model}"

Schema = dict[str, Any]


def json_schemas(catalog: Catalog) -> dict[str, Schema]:
    """Return schemas by the name of the file they describe: project, prompt, evalset, case."""
    return {
        "project": _project(catalog),
        "prompt": _finished("prompt", _both_spellings(WrittenPrompt.model_json_schema())),
        "evalset": _with_scorers("evalset", WrittenEvalset.model_json_schema(), catalog),
        "case": _with_scorers("case", WrittenCase.model_json_schema(), catalog),
    }


def _finished(name: str, schema: Schema) -> Schema:
    """Return a schema with its dialect and title, and without pydantic's titles of fields."""
    return {"$schema": DIALECT, "title": f"llmops {name}", **_untitled(schema)}


def _untitled(value: Any, *, names: bool = False) -> Any:
    """Return `value` without `title` keywords; a property that is named title stays."""
    if isinstance(value, list):
        return list(map(_untitled, value))
    if not isinstance(value, dict):
        return value
    return {
        key: _untitled(inner, names=key in ("properties", "$defs") and not names)
        for key, inner in value.items()
        if names or key != "title" or not isinstance(inner, str)
    }


def _both_spellings(schema: Schema) -> Schema:
    """Return `schema` with `max_tokens` beside `maxTokens`, and `model` beside `modelId`."""
    definitions = schema["$defs"]
    parameters = definitions["ModelParameters"]["properties"]
    for name, declared in ModelParameters.model_fields.items():
        parameters.setdefault(name, parameters[declared.alias or name])
    if "LlmEvaluator" in definitions:
        evaluator = definitions["LlmEvaluator"]
        evaluator["properties"]["model"] = evaluator["properties"]["modelId"]
        evaluator["required"].remove("modelId")
    return schema


def _project(catalog: Catalog) -> Schema:
    schema = WrittenProject.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for kind in catalog.providers.values():
        shape = _both_spellings(model_shape(kind).model_json_schema(ref_template=REFERENCES))
        definitions.update(shape.pop("$defs", {}))
        shape["properties"]["provider"] = {"const": kind.name, "description": kind.summary}
        for name, option in kind.options.items():
            shape["properties"][name]["description"] = option.help
        definitions[f"model_{kind.name}"] = shape
    schema["properties"]["models"] = {
        "type": "object",
        "description": "Models by the name that prompts ask for",
        "additionalProperties": {
            "type": "object",
            "required": ["provider"],
            "properties": {"provider": {"enum": list(catalog.providers)}},
            "oneOf": [{"$ref": f"#/$defs/model_{name}"} for name in catalog.providers],
        },
    }
    _with_rules(schema)
    return _finished("project", schema)


def _with_scorers(name: str, schema: Schema, catalog: Catalog) -> Schema:
    definitions = schema.setdefault("$defs", {})
    kinds = {kind.name: _scorer(kind, definitions) for kind in catalog.scorers.values()}
    bare = [
        kind.name
        for kind in catalog.scorers.values()
        if not any(option.required for option in kind.options.values())
    ]
    definitions["scorer"] = _named(bare, {**kinds, "not": {"$ref": "#/$defs/scorer"}})
    for shape in (schema, *filter(None, [definitions.get("WrittenCase")])):
        shape["properties"]["scorers"]["items"] = {"$ref": "#/$defs/scorer"}
    if "Gate" in definitions:
        _with_rules(schema)
    return _finished(name, schema)


def _scorer(kind: ScorerKind, definitions: Schema) -> Schema:
    """Return a scorer's options as a mapping, or the one bare value that it takes."""
    properties: Schema = {
        name: _option(option, definitions) for name, option in kind.options.items()
    }
    options: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "description": "Label of its metric"},
            "min": {"type": "number", "description": "Passes from here"},
            "max": {"type": "number", "description": "Passes up to here"},
            "advisory": {"type": "boolean", "description": "Shown, never gates"},
            **properties,
        },
        "required": [name for name, option in kind.options.items() if option.required],
    }
    described = {"description": kind.summary}
    if kind.shorthand is None:
        return described | options
    return described | {"anyOf": [options["properties"][kind.shorthand], options]}


def _option(option: Option, definitions: Schema) -> Schema:
    try:
        schema = TypeAdapter(option.type).json_schema(ref_template=REFERENCES)
    except PydanticInvalidForJsonSchema:
        schema = {}
    definitions.update(schema.pop("$defs", {}))
    if option.template and schema and schema.get("type") != "string":
        schema = {"anyOf": [schema, {"type": "string", "pattern": r"\{\{"}]}
    return {**schema, "description": option.help}


def _with_rules(schema: Schema) -> None:
    """Add the spellings of a rule, wherever a gate can be written."""
    definitions = schema["$defs"]
    rules: Schema = {}
    bare: list[str] = []
    for name, shape in RULE_OPTIONS.items():
        options = shape.model_json_schema(ref_template=REFERENCES)
        definitions.update(options.pop("$defs", {}))
        options.pop("description", None)
        value: Mapping[str, Any] = options.get("properties", {}).get(bare_option(name) or "", {})
        rules[name] = {"anyOf": [options, value]} if value else options
        if not options.get("required"):
            bare.append(name)
    definitions["rule"] = _named(bare, rules)
    definitions["Gate"]["properties"]["rules"]["anyOf"][0]["items"] = {"$ref": "#/$defs/rule"}


def _named(bare: list[str], options: Schema) -> Schema:
    """Return the schema of something written as a name alone, or as one name with its options."""
    mapping = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": options,
    }
    return {"anyOf": [{"type": "string", "enum": bare}, mapping]}
