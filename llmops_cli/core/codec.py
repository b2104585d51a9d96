"""Frozen dataclasses as plain JSON and back, by their type hints: a format is not written twice.

A dataclass is an object with its fields; a tuple is a list; an enum is its value; one of several
dataclasses is `{class_name: {…}}`, as rules are written in llmops.yaml. Fields that hold their
default are written too: a stored policy must not change when a default does. Reading is strict:
an unknown, missing or misshapen field is a `Misshapen` that says where.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from llmops_cli.core.digest import Json

T = TypeVar("T")


class Misshapen(ValueError):
    """Plain JSON that does not have the shape of its type."""


def to_plain(value: Any) -> Json:  # noqa: ANN401 - any value of core
    """Return `value` as JSON, without fields that are not compared: they are no part of it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {name: _tagged(getattr(value, name), hints[name]) for name in hints}
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise Misshapen(f"a {type(value).__name__} is not plain data")


def from_plain(kind: type[T], plain: Json, where: str = "") -> T:
    """Return the `kind` that `plain` holds. Raises `Misshapen`; `where` begins its message."""
    value: T = _read(kind, plain, where)
    return value


def _tagged(value: Any, hint: Any) -> Json:  # noqa: ANN401
    choices = _dataclasses_of(hint)
    if len(choices) > 1 and dataclasses.is_dataclass(value):
        return {_tag(type(value)): to_plain(value)}
    if isinstance(value, (list, tuple)) and get_args(hint):
        return [_tagged(item, get_args(hint)[0]) for item in value]
    return to_plain(value)


def _read(hint: Any, plain: Any, where: str) -> Any:  # noqa: ANN401
    if hint is Any:
        return plain
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(hint, plain, where)
    if origin is Literal:
        if plain in get_args(hint):
            return plain
        raise Misshapen(f"{where}: {plain!r} is none of {', '.join(map(str, get_args(hint)))}")
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        items = _expect(list, plain, where)
        of = get_args(hint)[0]
        return tuple(_read(of, item, f"{where}[{at}]") for at, item in enumerate(items))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        of = get_args(hint)[1]
        items = _expect(dict, plain, where)
        return {key: _read(of, item, f"{where}.{key}") for key, item in items.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(plain)
        except ValueError as error:
            raise Misshapen(f"{where}: {error}") from error
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(hint, plain, where)
    return _read_scalar(hint, plain, where)


def _read_scalar(hint: Any, plain: Any, where: str) -> Any:  # noqa: ANN401
    if hint is float:
        # A number that remembers its spelling is a subclass; so is bool of int.
        if not isinstance(plain, int | float) or isinstance(plain, bool):
            raise Misshapen(f"{where}: {plain!r} is not a number")
        return float(plain)
    return _expect(type(None) if hint is None else hint, plain, where)


def _read_union(hint: Any, plain: Any, where: str) -> Any:  # noqa: ANN401
    tagged = _dataclasses_of(hint)
    if len(tagged) > 1 and type(plain) is dict:
        return _read_tagged(tagged, plain, where)
    problems = []
    for choice in get_args(hint):
        try:
            return _read(choice, plain, where)
        except Misshapen as error:
            problems.append(error)
    raise problems[0]


def _read_tagged(choices: Sequence[Any], plain: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401
    by_tag = {_tag(choice): choice for choice in choices}
    if len(plain) != 1 or not set(plain) <= set(by_tag):
        raise Misshapen(f"{where}: {plain!r} is none of {', '.join(by_tag)}")
    ((tag, content),) = plain.items()
    return _read(by_tag[tag], content, f"{where}.{tag}")


def _read_dataclass(kind: Any, plain: Any, where: str) -> Any:  # noqa: ANN401
    fields = _expect(dict, plain, where)
    hints = _hints(kind)
    prefix = f"{where}." if where else ""
    unknown = sorted(set(fields) - set(hints))
    if unknown:
        raise Misshapen(f"{prefix}{unknown[0]}: unknown field")
    values = {name: _read(hints[name], item, prefix + name) for name, item in fields.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise Misshapen(f"{where or kind.__name__}: {error}") from error


def _expect(kind: type[Any], plain: Any, where: str) -> Any:  # noqa: ANN401
    if type(plain) is not kind:
        raise Misshapen(f"{where or 'the value'}: {plain!r} is not a {kind.__name__}")
    return plain


def _dataclasses_of(hint: Any) -> list[Any]:  # noqa: ANN401
    if get_origin(hint) in (Union, types.UnionType):
        return [choice for choice in get_args(hint) if dataclasses.is_dataclass(choice)]
    return []


def _tag(kind: type[Any]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@lru_cache(maxsize=256)
def _hints(kind: type[Any]) -> Mapping[str, Any]:
    """Return the type of each field. `Json` is recursive, so it is read as anything."""
    hints = get_type_hints(kind, localns={"Json": Any})
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.compare}
