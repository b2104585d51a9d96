"""JSON values: their canonical form and digest, and dataclasses written as JSON and read back.

A digest names a value by its content: `sha256:…` over canonical JSON with a schema name. Canonical
JSON is RFC 8785 (JCS): sorted keys, no white space, numbers as ECMAScript writes them. Integers
beyond 2**53, which RFC 8785 leaves to text, are written with all their digits: ids of 64 bits occur
in tool calls and answers, and no two of them may share a key. The standard library's encoder, in C,
is used wherever it writes the same bytes; the `rfc8785` package is the oracle in the tests
(record 0002).

Of a frozen dataclass, `to_plain` writes every field: an object with its fields, a tuple as a list,
an enum as its value, one of several dataclasses as `{class_name: {…}}`, as rules are written in
llmops.yaml. Fields that hold their default are written too: a stored policy must not change when a
default does. Reading is strict: an unknown, missing or wrongly typed field is an `InvalidRecord`
that says where.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

SAFE_INTEGER = 2**53 - 1


_ENCODE = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, check_circular=False, separators=(",", ":")
).encode
"""The standard encoder, created once. Circular values are detected before they reach it."""


class NotCanonical(ValueError):
    """A value that JSON can't represent: NaN, infinity, a lone surrogate, an object."""


def canonical(value: Json) -> bytes:
    """Return the RFC 8785 bytes of `value`. Raises `NotCanonical` if it has none."""
    try:
        text = _ENCODE(value) if _same_in_both(value) else "".join(_written(value))
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error


def digest(schema: str, value: Json) -> str:
    """Return `sha256:` and 64 hex digits over the canonical JSON of `{"schema": …, "value": …}`."""
    return digest_canonical(schema, canonical(value))


def digest_canonical(schema: str, value: bytes) -> str:
    """Return the `digest` of a value whose canonical bytes are known: JSON composes."""
    return digest_bytes(b'{"schema":%b,"value":%b}' % (canonical(schema), value))


def canonical_object(fields: Mapping[str, bytes]) -> bytes:
    """Return the canonical bytes of an object with ASCII keys and canonical values."""
    return b"{%b}" % b",".join(b'"%b":%b' % (key.encode(), fields[key]) for key in sorted(fields))


def canonical_array(items: Iterable[bytes]) -> bytes:
    """Return the canonical bytes of an array of canonical items."""
    return b"[%b]" % b",".join(items)


def digest_bytes(content: bytes) -> str:
    """Return `sha256:` and 64 hex digits over raw bytes: the name of a file by its content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def short(full: str) -> str:
    """Return the first 12 hex digits: for people, never for comparing."""
    return full.removeprefix("sha256:")[:12]


def _same_in_both(value: Json) -> bool:
    """Whether the standard encoder writes `value` as RFC 8785 wants it."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is int:
        return True
    if kind is dict:
        assert isinstance(value, dict)
        for key, item in value.items():
            if type(key) is not str or not key.isascii() or not _same_in_both(item):
                return False
        return True
    if kind is list or kind is tuple:
        assert isinstance(value, (list, tuple))
        return all(map(_same_in_both, value))
    if kind is float:
        assert isinstance(value, float)
        return 1e-4 <= abs(value) < 1e15 and not value.is_integer()
    return False


def _written(value: Json) -> Iterator[str]:
    if value is None or isinstance(value, (bool, str)):
        yield json.dumps(value, ensure_ascii=False)
    elif isinstance(value, int):
        yield str(int(value))
    elif isinstance(value, float):
        yield _ecmascript(value)
    elif isinstance(value, Mapping):
        yield "{"
        for position, key in enumerate(sorted(value, key=_utf16)):
            yield "," if position else ""
            yield json.dumps(key, ensure_ascii=False) + ":"
            yield from _written(value[key])
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "["
        for position, item in enumerate(value):
            yield "," if position else ""
            yield from _written(item)
        yield "]"
    else:
        raise NotCanonical(f"a {type(value).__name__} has no canonical form")


def _utf16(key: object) -> bytes:
    if not isinstance(key, str):
        raise NotCanonical(f"the key {key!r} is not a string")
    return key.encode("utf-16-be")


def _ecmascript(number: float) -> str:
    """Return a double as ECMAScript's Number::toString writes it (ECMA-262 §6.1.6.1.20)."""
    if not math.isfinite(number):
        raise NotCanonical(f"{number} is not a number that JSON knows")
    if number == 0:
        return "0"
    if 1e-6 <= abs(number) < 1e21:
        return f"{Decimal(repr(number)):f}".removesuffix(".0")
    mantissa, exponent = repr(number).split("e")
    return f"{mantissa}e{int(exponent):+d}"


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
