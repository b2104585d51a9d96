"""Turns what pydantic says into plain sentences with file:line and the nearest known key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from llmops_cli.core.errors import Location, suggestion
from llmops_cli.project.paths import Problems

Where = Callable[..., Location]
"""From a place (keys and positions) to its line: `Document.where`, or one line of a table."""

Model = TypeVar("Model", bound=BaseModel)

ELSEWHERE: Mapping[str, str] = {
    "assert": "scorers",
    "assertions": "scorers",
    "metrics": "scorers",
    "graders": "scorers",
    "evaluators": "scorers",
    "tests": "cases",
    "dataset": "cases",
    "testData": "cases",
    "vars": "inputs",
    "variables": "inputs",
    "input": "inputs",
    "output": "expected",
    "answer": "expected",
    "reference": "expected",
    "threshold": "min",
    "params": "modelParameters",
    "parameters": "modelParameters",
    "context": "contexts",
    "temperature": "modelParameters",
    "api_key": "api_key_env",
}
"""What other tools call it."""

KINDS: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def validated(
    shape: type[Model],
    data: Any,
    where: Where,
    problems: Problems,
    *at: str | int,
    salvage: bool = False,
) -> Model | None:
    """`data` as `shape`; None, with every problem noted, if it is not one.

    `at` is where `data` stands in its file. With `salvage`, the keys that are right are still
    read, so that more can be checked: what is returned then is for looking at only.
    """
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=True, include_context=True)
    for each in found:
        place = tuple(_written(data, each["loc"]))
        message, hint = _said(shape, place, at, dict(each))
        problems.add(where(*at, *place), message, hint)
    if not salvage or not isinstance(data, Mapping):
        return None
    wrong = {each["loc"][0] for each in found if each["loc"]}
    try:
        return shape.model_validate({key: data[key] for key in data if key not in wrong})
    except ValidationError:
        return None


def nearest(name: str, known: list[str]) -> str | None:
    """A suggestion for an unknown key, knowing the words of other tools."""
    if ELSEWHERE.get(name) in known:
        return f"did you mean {ELSEWHERE[name]!r}?"
    guess = suggestion(name, [*known, *(word for word in ELSEWHERE if ELSEWHERE[word] in known)])
    for word, ours in ELSEWHERE.items():
        if word not in known and guess == f"did you mean {word!r}?":
            return f"did you mean {ours!r}?"
    return suggestion(name, known)


def _written(data: Any, loc: tuple[str | int, ...]) -> Iterator[str | int]:
    """The parts of pydantic's location that stand in the data: no tags of unions, no `[key]`."""
    for position, part in enumerate(loc):
        if isinstance(data, Mapping) and isinstance(part, str):
            if part in data:
                data = data[part]
                yield part
            elif position == len(loc) - 1:
                yield part
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            yield part


def _said(
    shape: type[BaseModel],
    place: tuple[str | int, ...],
    at: tuple[str | int, ...],
    error: dict[str, Any],
) -> tuple[str, str | None]:
    kind = error["type"]
    name = ".".join(map(str, (*at, *place))) or "the file"
    if kind == "extra_forbidden":
        known = _keys(shape, place[:-1])
        return f"unknown key '{place[-1]}'", nearest(str(place[-1]), known)
    if kind == "missing":
        return f"'{name}' is missing", None
    if kind in KINDS:
        return f"'{name}' must be {KINDS[kind]}, not {_kind(error['input'])}", None
    if kind == "union_tag_invalid":
        return f"'{name}' must be text or a list, not {_kind(error['input'])}", None
    if kind == "literal_error":
        known = [str(each) for each in _choices(error)]
        return f"'{name}' cannot be {error['input']!r}", suggestion(str(error["input"]), known)
    if kind == "string_pattern_mismatch":
        return f"'{name}' cannot be {error['input']!r}", _pattern(error)
    return f"'{name}': {error['msg'][:1].lower()}{error['msg'][1:]}", None


def _choices(error: Mapping[str, Any]) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [each.strip(" '") for each in expected.replace(" or ", ", ").split(",")]


def _pattern(error: Mapping[str, Any]) -> str:
    pattern = str(error.get("ctx", {}).get("pattern", ""))
    if pattern.startswith("^[a-z0-9]"):
        return "lower case letters, digits, '.', '_', '-', and '/' for folders"
    if pattern.startswith("^https?"):
        return "a URL that starts with http:// or https://"
    return f"it must match {pattern}"


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return "a list" if isinstance(value, list) else "a mapping"


def _keys(shape: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """The keys that are known at `place`."""
    for part in place:
        if isinstance(part, str):
            fields = {field.alias or name: field for name, field in shape.model_fields.items()}
            if part in fields:
                shape = _model(fields[part].annotation) or shape
    return [field.alias or name for name, field in shape.model_fields.items()]


def _model(annotation: Any) -> type[BaseModel] | None:
    """The first pydantic model in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model(each) for each in get_args(annotation))
    return next((each for each in found if each is not None), None)
