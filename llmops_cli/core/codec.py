"""Convert frozen dataclasses to plain JSON and back by their type hints.

A dataclass is an object with its fields; a tuple is a list; an enum is its value; one of several
dataclasses is `{class_name: {…}}`, as rules are written in llmops.yaml. Fields that hold their
default are written too: a stored policy must not change when a default does. Reading is strict: an
unknown, missing or wrongly typed field is an `InvalidRecord` that says where.
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


class InvalidRecord(ValueError):
    """Plain JSON, or a stored record, that this version does not write."""


def to_plain(value: Any) -> Json:  # noqa: ANN401 - any value of core
    """Return `value` as JSON, without fields with `compare=False`, which are no part of it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {name: _to_tagged(getattr(value, name), hints[name]) for name in hints}
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InvalidRecord(f"a {type(value).__name__} is not plain data")


def from_plain(kind: type[T], plain: Json, where: str = "") -> T:
    """Return the `kind` in `plain`. Raises `InvalidRecord`, whose message starts with `where`."""
    value: T = _read(kind, plain, where)
    return value


def _to_tagged(value: Any, hint: Any) -> Json:  # noqa: ANN401
    if len(_dataclasses_of(hint)) > 1 and dataclasses.is_dataclass(value):
        return {_tag(type(value)): to_plain(value)}
    if isinstance(value, (list, tuple)) and get_args(hint):
        return [_to_tagged(item, get_args(hint)[0]) for item in value]
    return to_plain(value)


def _read(hint: Any, plain: Any, where: str) -> Any:  # noqa: ANN401
    if hint is Any:
        return plain
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _read_union(hint, plain, where)
    if origin is Literal:
        if plain in arguments:
            return plain
        raise InvalidRecord(f"{where}: {plain!r} is none of {', '.join(map(str, arguments))}")
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        items = _expect(list, plain, where)
        return tuple(_read(arguments[0], item, f"{where}[{at}]") for at, item in enumerate(items))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        items = _expect(dict, plain, where)
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in items.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(plain)
        except ValueError as error:
            raise InvalidRecord(f"{where}: {error}") from error
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(hint, plain, where)
    return _expect(type(None) if hint is None else hint, plain, where)


def _read_union(hint: Any, plain: Any, where: str) -> Any:  # noqa: ANN401
    by_tag = {_tag(kind): kind for kind in _dataclasses_of(hint)}
    if len(by_tag) > 1 and type(plain) is dict:
        if len(plain) != 1 or not set(plain) <= set(by_tag):
            raise InvalidRecord(f"{where}: {plain!r} is none of {', '.join(by_tag)}")
        ((tag, content),) = plain.items()
        return _read(by_tag[tag], content, f"{where}.{tag}")
    errors = []
    for choice in get_args(hint):
        try:
            return _read(choice, plain, where)
        except InvalidRecord as error:
            errors.append(error)
    raise errors[0]


def _read_dataclass(kind: Any, plain: Any, where: str) -> Any:  # noqa: ANN401
    fields, hints = _expect(dict, plain, where), _hints(kind)
    prefix = f"{where}." if where else ""
    unknown = sorted(set(fields) - set(hints))
    if unknown:
        raise InvalidRecord(f"{prefix}{unknown[0]}: unknown field")
    values = {name: _read(hints[name], value, prefix + name) for name, value in fields.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise InvalidRecord(f"{where or kind.__name__}: {error}") from error


def _expect(kind: type[Any], plain: Any, where: str) -> Any:  # noqa: ANN401
    # A number that remembers its spelling is a subclass of its kind; so is bool of int.
    if kind in (int, float) and isinstance(plain, kind | int) and not isinstance(plain, bool):
        return kind(plain)
    if type(plain) is not kind:
        expected = "number" if kind is float else kind.__name__
        raise InvalidRecord(f"{where or 'the value'}: {plain!r} is not a {expected}")
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
