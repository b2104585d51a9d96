"""Turns pydantic's errors into plain sentences with file:line and the nearest known key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    "union_tag_invalid": "text or a list",
    "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "below {lt}",
    "less_than_equal": "{le} or less",
}
"""What a value must be, by pydantic's name of the error."""
LIMITS = frozenset({"gt", "ge", "lt", "le"})
TOO_SHORT = frozenset({"too_short", "string_too_short"})


def validated(
    shape: type[Model],
    data: Any,
    where: Where,
    problems: Problems,
    *at: str | int,
    salvage: bool = False,
) -> Model | None:
    """Return `data` as `shape`; None, with every problem added, if it does not fit.

    `at` is where `data` stands in its file. With `salvage`, the keys that are right are still
    read, so that more can be checked: what is returned then is for looking at only.
    """
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        errors: Sequence[Any] = error.errors(include_url=False)
    for detail in errors:
        place = tuple(_path(data, detail["loc"]))
        problems.add(where(*at, *place), *_sentence(shape, place, at, detail))
    if not salvage or not isinstance(data, Mapping):
        return None
    wrong = {detail["loc"][0] for detail in errors if detail["loc"]}
    try:
        return shape.model_validate({key: data[key] for key in data if key not in wrong})
    except ValidationError:
        return None


def type_mismatch(error: ValidationError, value: Any) -> str:
    """Return why an option's `value` is not of its type: `must be text or a list, not a mapping`.

    Where an item of a list or mapping is at fault, the sentence is about the item.
    """
    errors: Sequence[Any] = error.errors(include_url=False)
    paths = [tuple(_path(value, detail["loc"], missing=False)) for detail in errors]
    deepest = max(paths, key=len)
    about = [detail for path, detail in zip(paths, errors, strict=True) if path == deepest]
    kinds = dict.fromkeys(_kind_wanted(detail) for detail in about)
    item = "".join(
        f"item {part + 1} " if isinstance(part, int) else f"'{part}' " for part in deepest
    )
    return f"{item}must be {' or '.join(kinds)}, not {_kind(about[0]['input'])}"


def nearest(name: str, known: list[str]) -> str | None:
    """Return a suggestion for an unknown key, knowing the words of other tools."""
    if ELSEWHERE.get(name) in known:
        return f"did you mean {ELSEWHERE[name]!r}?"
    guess = suggestion(name, [*known, *(word for word in ELSEWHERE if ELSEWHERE[word] in known)])
    for word, ours in ELSEWHERE.items():
        if word not in known and guess == f"did you mean {word!r}?":
            return f"did you mean {ours!r}?"
    return suggestion(name, known)


def _path(data: Any, loc: tuple[str | int, ...], *, missing: bool = True) -> Iterator[str | int]:
    """Yield the parts of pydantic's location that stand in the data: no tags of unions.

    With `missing`, a last part that does not stand there is a missing key.
    """
    for position, part in enumerate(loc):
        if isinstance(data, Mapping) and isinstance(part, str):
            if part in data:
                data = data[part]
                yield part
            elif missing and position == len(loc) - 1:
                yield part
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            yield part


def _sentence(
    shape: type[BaseModel],
    place: tuple[str | int, ...],
    at: tuple[str | int, ...],
    error: Mapping[str, Any],
) -> tuple[str, str | None]:
    """Return the message for one error of pydantic, and the hint."""
    name = ".".join(map(str, (*at, *place))) or "the file"
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            known = _keys(shape, place[:-1])
            return f"unknown key '{place[-1]}'", nearest(str(place[-1]), known)
        case "missing":
            return f"'{name}' is missing", None
        case "literal_error":
            return f"'{name}' cannot be {value!r}", suggestion(str(value), _choices(error))
        case "string_pattern_mismatch":
            return f"'{name}' cannot be {value!r}", _pattern(error)
        case kind if kind in TOO_SHORT:
            return f"'{name}' must not be empty", None
        case kind if kind in KINDS:
            return f"'{name}' must be {_kind_wanted(error)}, not {_kind(value)}", None
        case _:
            return f"'{name}': {error['msg'][:1].lower()}{error['msg'][1:]}", None


def _kind_wanted(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        return "one of " + ", ".join(_choices(error))
    if error["type"] not in KINDS:
        return str(error["msg"])
    limits = {name: f"{limit:g}" for name, limit in error.get("ctx", {}).items() if name in LIMITS}
    return KINDS[error["type"]].format(**limits)


def _choices(error: Mapping[str, Any]) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]


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
    """Return the keys that are known at `place`."""
    for part in place:
        if isinstance(part, str):
            fields = {field.alias or name: field for name, field in shape.model_fields.items()}
            if part in fields:
                shape = _model(fields[part].annotation) or shape
    return [field.alias or name for name, field in shape.model_fields.items()]


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the first pydantic model in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = map(_model, get_args(annotation))
    return next((model for model in models if model is not None), None)
