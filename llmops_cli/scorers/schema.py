"""The `json_schema` scorer: the answer is JSON that satisfies a JSON Schema.

The draft is the schema's own `$schema`, 2020-12 by default. References to other documents are never
fetched, and patterns are searched with a deadline, since the text is the model's. Formats are
asserted: `jsonschema` checks most of them only where optional packages are installed, and passes
every text where they are not. Here each format that a schema may name is checked, or `check`
refuses it: those of JSON Schema 2020-12 (§7.3) and the ones that OpenAPI and Ajv add.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias, cast

import regex
from jsonschema import (
    Draft4Validator,
    Draft202012Validator,
    FormatChecker,
    SchemaError,
    ValidationError,
)
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.literals import control_character
from llmops_cli.core.ports import PluginContext, Scorer
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.scoring import answer_text, comparable, composed, quoted, right, wrong
from llmops_cli.scorers.structured import NotJson, parsed
from llmops_cli.scorers.text import DEADLINE, TOO_SLOW
from llmops_cli.workers.project_code import project_file

Schema: TypeAlias = str | Mapping[str, Any]
"""The path of a project file, or the schema itself."""

ANNOTATIONS = frozenset({
    "$schema", "$id", "id", "$anchor", "$comment", "$defs", "$vocabulary", "contentEncoding",
    "contentMediaType", "contentSchema", "definitions", "title", "description", "default",
    "examples", "deprecated", "readOnly", "writeOnly",
})  # fmt: skip
"""Keywords that no JSON fails."""
KEYWORDS = (
    ANNOTATIONS
    | Draft202012Validator.VALIDATORS.keys()
    | Draft4Validator.VALIDATORS.keys()
    | {"then", "else", "minContains", "maxContains"}
    | {"example", "nullable", "discriminator", "externalDocs", "xml"}  # of OpenAPI
)
KEYWORDS_BY_CASE = {keyword.lower(): keyword for keyword in sorted(KEYWORDS)}


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
        try:
            answer = _composed(parsed(answer_text(completion), fence=fence))
            problem = next(compiled[name].iter_errors(answer), None)
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

    yield cast("Scorer", json_schema)  # its options have names and types


def check(options: Mapping[str, Any], context: PluginContext) -> str | None:
    """Return what is wrong with the schema: invalid, empty, or with an unknown format."""
    try:
        schema = validator(options["schema"], context).schema
    except Refused as error:
        return error.message
    if schema is False or schema in ({"not": {}}, {"not": True}):
        return "no JSON satisfies the schema"
    if isinstance(schema, Mapping) and set(schema) <= ANNOTATIONS:
        return "the schema asks for nothing: the scorer `json` says whether the answer is JSON"
    dialect = schema.get("$schema", "") if isinstance(schema, Mapping) else ""
    specification = specification_with(dialect, default=DRAFT202012)
    return next(filter(None, map(_not_asserted, _subschemas(schema, specification))), None)


def _not_asserted(schema: Mapping[str, Any]) -> str | None:
    """Return what looks like an assertion in `schema` but isn't checked, or can't be meant."""
    for pattern in filter(None, (schema.get("pattern"), *schema.get("patternProperties", ()))):
        if (control := control_character(pattern)) is not None:
            return f"the pattern {quoted(pattern)} {control[0]}: {control[1]}"
    name = schema.get("format")
    if isinstance(name, str) and name not in FORMATS:
        return f"the format {quoted(name)} is not checked: write a `pattern`, or leave it out"
    for keyword in schema.keys() - KEYWORDS:
        near = get_close_matches(keyword.lower(), KEYWORDS_BY_CASE, n=1, cutoff=0.8)
        if near:
            meant = KEYWORDS_BY_CASE[near[0]]
            return f"{quoted(keyword)} is no keyword and asserts nothing: did you mean {meant!r}?"
    return None


def _subschemas(schema: object, specification: Specification[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield `schema` and every schema in it; true and false are schemas, too, and left out."""
    if isinstance(schema, Mapping):
        yield schema
        for inner in specification.subresources_of(schema):
            yield from _subschemas(inner, specification)


def validator(schema: Schema, context: PluginContext) -> Validator:
    """Return the validator of `schema`, a mapping or the path of a project file.

    Raises `Refused`.
    """
    if isinstance(schema, str):
        source = schema
        try:
            document = json.loads(project_file(context, schema).read_text("utf-8-sig"))
        except ValueError as error:
            raise Refused(f"{source} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise Refused(f"{source} is not a JSON Schema: it holds no object")
    else:
        source, document = "the schema", dict(schema)
    if not isinstance(document.get("$schema", ""), str):
        raise Refused(f"{source} is not a JSON Schema: its $schema is no text")
    draft = validator_for(document, default=Draft202012Validator)
    try:
        draft.check_schema(document)
    except SchemaError as error:
        raise Refused(f"{source} is not a JSON Schema: {error.message}") from error
    own_keywords = {  # searches with a deadline, exact decimals, and items compared by their hashes
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "multipleOf": _multiple_of,
        "uniqueItems": _unique_items,
    }
    bounded = extend(draft, own_keywords)  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    made = bounded(_composed(document), registry=Registry(), format_checker=_format_checker())
    return cast("Validator", made)


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
    number, divisor = (
        Fraction(value if isinstance(value, int) else float.__repr__(value))
        for value in (instance, step)
    )
    if number % divisor:
        yield ValidationError(f"{instance} is not a multiple of {step}")


def _unique_items(
    _schema: Validator, required: Json, instance: Json, _whole: Mapping[str, Any]
) -> Iterator[ValidationError]:
    items = instance if required and isinstance(instance, list) else []
    if len(set(map(comparable, items))) < len(items):
        yield ValidationError("two items of the list are equal")


def _pattern_properties(
    schema: Any,  # noqa: ANN401 - jsonschema's protocol leaves `descend` out
    patterns: Mapping[str, Json],
    instance: Json,
    _whole: Mapping[str, Any],
) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    for pattern, inner in patterns.items():
        for name, value in instance.items():
            if regex.search(pattern, name, timeout=DEADLINE):
                yield from schema.descend(value, inner, path=name, schema_path=pattern)


_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_OFFSET = r"(?:[zZ]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_IRI_CHARACTERS = r"(?:%[0-9A-Fa-f]{2}|[^\s\p{Cc}<>\"{}|\\^`%])"
_VARIABLE = r"[\w.%]+(?::\d+|\*)?"
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"


def _matches(pattern: str, flags: int = 0) -> Callable[[str], object]:
    return regex.compile(pattern, flags).fullmatch


def _date(text: str) -> bool:
    return bool(_digits(text)) and date.fromisoformat(text) is not None


_digits = _matches(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # of the other ISO 8601 forms, RFC 3339 has none


def _date_time(text: str) -> bool:
    """RFC 3339 §5.6: a date, a time of day and its offset from UTC; second 60 is a leap second."""
    day, time = text[:10], text[11:]
    return text[10:11] in ("T", "t", " ") and _date(day) and bool(_time(time))


_time = _matches(_TIME + _OFFSET)


def _hostname(text: str) -> bool:
    """RFC 1123: labels of letters, digits and hyphens, 253 characters in all."""
    return len(text) <= 253 and bool(_labels(text))


_labels = _matches(rf"{_LABEL}(?:\.{_LABEL})*", regex.IGNORECASE)
_email = _matches(r"[^\s@\p{Cc}]{1,64}@[^\s@\p{Cc}]+")
_duration = _matches(
    r"P(?=.)(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?)"
)
_iri = _matches(rf"[A-Za-z][A-Za-z0-9+.-]*:{_IRI_CHARACTERS}*")
_iri_reference = _matches(rf"{_IRI_CHARACTERS}*")


def _mailbox(text: str) -> bool:
    """RFC 5321 as far as people use it: one `@` between a name and a host or an address."""
    local, _, host = text.rpartition("@")
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    return bool(_email(text)) and not dots and (_hostname(host) or host[:1] == "[")


def _integer(bits: int) -> Callable[[object], bool]:
    return lambda value: -(2 ** (bits - 1)) <= Decimal(str(value)) < 2 ** (bits - 1)


TEXTS: Mapping[str, Callable[[str], object]] = {
    "date": _date,
    "time": _time,
    "date-time": _date_time,
    "iso-time": _matches(_TIME + f"(?:{_OFFSET})?"),
    "iso-date-time": datetime.fromisoformat,
    "duration": _duration,
    "email": lambda text: text.isascii() and _mailbox(text),
    "idn-email": _email,
    "hostname": _hostname,
    "idn-hostname": lambda text: _hostname(text.encode("idna").decode("ascii")),
    "ipv4": IPv4Address,
    "ipv6": lambda text: "%" not in text and IPv6Address(text),
    "uri": lambda text: text.isascii() and _iri(text),
    "url": lambda text: text.isascii() and _iri(text) and "://" in text,
    "uri-reference": lambda text: text.isascii() and _iri_reference(text),
    "iri": _iri,
    "iri-reference": _iri_reference,
    "uri-template": _matches(
        rf"(?:{_IRI_CHARACTERS}|\{{[+#./;?&=,!@|]?{_VARIABLE}(?:,{_VARIABLE})*\}})*"
    ),
    "uuid": lambda text: text.count("-") == 4 and len(text) == 36 and uuid.UUID(text),
    "json-pointer": _matches(_POINTER),
    "json-pointer-uri-fragment": _matches("#" + _POINTER),
    "relative-json-pointer": _matches(rf"(?:0|[1-9]\d*)(?:#|{_POINTER})"),
    "regex": regex.compile,
    "byte": lambda text: base64.b64decode(text, validate=True) is not None,
    "json": json.loads,
}
"""Of texts: what is false or raises is not of the format. Numbers pass, as the standard says."""

NUMBERS: Mapping[str, Callable[[object], bool]] = {"int32": _integer(32), "int64": _integer(64)}

FORMATS = TEXTS.keys() | NUMBERS.keys() | {"float", "double", "decimal", "password", "binary"}
"""All that are known: the last ones are OpenAPI's hints, which no value fails."""


@cache
def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())

    def register(name: str, test: Callable[[Any], object], *kinds: type) -> None:
        def is_valid(value: object) -> bool:
            applies = isinstance(value, kinds) and not isinstance(value, bool)
            return not applies or test(value) not in (None, False)

        checker.checks(name, raises=(ValueError, ArithmeticError, regex.error))(is_valid)

    for name, of_text in TEXTS.items():
        register(name, of_text, str)
    for name, of_number in NUMBERS.items():
        register(name, of_number, int, float)
    return checker
