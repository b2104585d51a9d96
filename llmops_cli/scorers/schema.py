"""The `json_schema` scorer: the answer is JSON that satisfies a JSON Schema.

The draft is the schema's own `$schema`, 2020-12 by default. Formats are asserted (`formats`).
References to other documents are never fetched, and patterns are searched with a deadline, since
the text is the model's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from typing import Any, Protocol, TypeAlias, cast

import regex
from jsonschema import Draft4Validator, Draft202012Validator, SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.literals import control_character
from llmops_cli.core.ports import PluginContext, Scorer
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer_text, composed, quoted, right, wrong
from llmops_cli.scorers.formats import KNOWN as KNOWN_FORMATS
from llmops_cli.scorers.formats import format_checker
from llmops_cli.scorers.pattern import DEADLINE, TOO_SLOW
from llmops_cli.scorers.structured import NotJson, parsed
from llmops_cli.workers.project_code import project_file

Schema: TypeAlias = str | Mapping[str, Any]
"""The path of a project file, or the schema itself."""

ANNOTATIONS = frozenset({
    "$schema", "$id", "id", "$anchor", "$comment", "$defs", "$vocabulary", "contentEncoding",
    "contentMediaType", "contentSchema", "definitions", "title", "description", "default",
    "examples", "deprecated", "readOnly", "writeOnly",
})  # fmt: skip
"""Keywords that no JSON fails."""
BY_NAME = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
"""Keywords whose value has a schema under each name."""
NESTED = frozenset({
    "items", "prefixItems", "additionalItems", "contains", "additionalProperties", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "not", "if", "then", "else", "allOf", "anyOf",
    "oneOf",
})  # fmt: skip
"""Keywords whose value is a schema, or a list of them."""
OF_OPENAPI = frozenset({"example", "nullable", "discriminator", "externalDocs", "xml"})
KEYWORDS = (
    ANNOTATIONS
    | BY_NAME
    | NESTED
    | OF_OPENAPI
    | Draft202012Validator.VALIDATORS.keys()
    | Draft4Validator.VALIDATORS.keys()
    | {"minContains", "maxContains"}
)
KEYWORDS_BY_CASE = {keyword.lower(): keyword for keyword in sorted(KEYWORDS)}


class Descends(Protocol):
    """What a keyword's function gets: jsonschema's own protocol leaves `descend` out."""

    def descend(
        self, instance: Json, schema: Json, *, path: str, schema_path: str
    ) -> Iterator[ValidationError]: ...


@asynccontextmanager
async def open_json_schema(context: PluginContext) -> AsyncIterator[Scorer]:
    """Open the scorer; each schema is read and compiled once."""
    compiled: dict[str, Validator] = {}

    def json_schema(
        _case: Case, completion: Completion, *, schema: Schema, fence: bool = True
    ) -> Score | Unscored:
        name = schema if isinstance(schema, str) else json.dumps(schema, sort_keys=True)
        if name not in compiled:
            compiled[name] = validator(schema, context)
        return _validated(compiled[name], completion, fence=fence)

    yield cast("Scorer", json_schema)  # its options have names and types


def check(options: Mapping[str, Any], context: PluginContext) -> str | None:
    """Return what is wrong with the schema: invalid, empty, or with an unknown format."""
    try:
        schema = validator(options["schema"], context).schema
    except Refused as error:
        return error.message
    if isinstance(schema, Mapping) and set(schema) <= ANNOTATIONS:
        return "the schema asks for nothing: the scorer `json` says whether the answer is JSON"
    for pattern in _patterns(schema):
        if (control := control_character(pattern)) is not None:
            return f"the pattern {quoted(pattern)} {control[0]}: {control[1]}"
    return next(filter(None, map(_not_asserted, _subschemas(schema))), None)


def _not_asserted(schema: Mapping[str, Any]) -> str | None:
    """Return what looks like an assertion in `schema` but isn't checked."""
    name = schema.get("format")
    if isinstance(name, str) and name not in KNOWN_FORMATS:
        return f"the format {quoted(name)} is not checked: write a `pattern`, or leave it out"
    for keyword in schema.keys() - KEYWORDS:
        near = get_close_matches(keyword.lower(), KEYWORDS_BY_CASE, n=1, cutoff=0.8)
        if near:
            meant = KEYWORDS_BY_CASE[near[0]]
            return f"{quoted(keyword)} is no keyword and asserts nothing: did you mean {meant!r}?"
    return None


def _subschemas(schema: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, list):
        for inner in schema:
            yield from _subschemas(inner)
    elif isinstance(schema, Mapping):
        yield schema
        for keyword, value in schema.items():
            if keyword in BY_NAME and isinstance(value, Mapping):
                yield from _subschemas(list(value.values()))
            elif keyword in NESTED:
                yield from _subschemas(value)


def validator(schema: Schema, context: PluginContext) -> Validator:
    """Return the validator of `schema`, a mapping or the path of a project file.

    Raises `Refused`.
    """
    if isinstance(schema, str):
        source, document = schema, _read(schema, context)
    else:
        source, document = "the schema", dict(schema)
    draft = validator_for(document, default=Draft202012Validator)
    try:
        draft.check_schema(document)
    except SchemaError as error:
        raise Refused(f"{source} is not a JSON Schema: {error.message}") from error
    bounded = extend(draft, OWN_KEYWORDS)  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    made = bounded(_composed(document), registry=Registry(), format_checker=_formats())
    return cast("Validator", made)


def _patterns(schema: object) -> Iterator[str]:
    """Yield the regular expressions in `schema`."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        if isinstance(schema.get("patternProperties"), Mapping):
            yield from schema["patternProperties"]
        schema = list(schema.values())
    for item in schema if isinstance(schema, list) else ():
        yield from _patterns(item)


_formats = cache(format_checker)


def _read(path: str, context: PluginContext) -> dict[str, Any]:
    try:
        document = json.loads(project_file(context, path).read_text("utf-8-sig"))
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refused(f"{path} is not a JSON Schema: it holds no object")
    return document


def _validated(schema: Validator, completion: Completion, *, fence: bool) -> Score | Unscored:
    try:
        answer = _composed(parsed(answer_text(completion), fence=fence))
        problem = next(schema.iter_errors(answer), None)
    except NotJson as error:
        return wrong(str(error))
    except TimeoutError:
        return TOO_SLOW
    except RecursionError:
        return wrong("the answer is nested too deeply")
    except Unresolvable as error:
        return Unscored(why=f"the schema refers to {quoted(error.ref)}, which is not in it")
    if problem is None:
        return right("the answer satisfies the schema")
    return wrong(f"at {quoted(problem.json_path)}: {quoted(problem.message, 200)}")


def _composed(value: Json) -> Json:
    """Return `value` with its texts composed, so that texts that look equal are equal."""
    if isinstance(value, str):
        return composed(value)
    if isinstance(value, Mapping):
        return {composed(name): _composed(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_composed(inner) for inner in value]
    return value


def _pattern(
    _schema: Validator, pattern: str, instance: Json, _whole: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not regex.search(pattern, instance, timeout=DEADLINE):
        yield ValidationError(f"{quoted(instance)} does not match {quoted(pattern)}")


def _multiple_of(
    _schema: Validator, step: float, instance: Json, _whole: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Check in decimals: by binary floats, 19.99 is no multiple of 0.01."""
    if isinstance(instance, bool) or not isinstance(instance, (int, float)):
        return
    if _fraction(instance) % _fraction(step):
        yield ValidationError(f"{instance} is not a multiple of {step}")


def _fraction(number: float) -> Fraction:
    return Fraction(number if isinstance(number, int) else float.__repr__(number))


def _pattern_properties(
    schema: Descends, patterns: Mapping[str, Json], instance: Json, _whole: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    for pattern, inner in patterns.items():
        for name, value in instance.items():
            if regex.search(pattern, name, timeout=DEADLINE):
                yield from schema.descend(value, inner, path=name, schema_path=pattern)


OWN_KEYWORDS = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "multipleOf": _multiple_of,
}
"""Keywords checked here: searches with a deadline, and exact decimals."""
