"""A digest names a value by its content: `sha256:…` over canonical JSON with a schema name.

Canonical JSON is RFC 8785 (JCS): sorted keys, no white space, numbers as ECMAScript writes them.
Integers beyond 2**53, which RFC 8785 leaves to text, are written with all their digits: ids of 64
bits occur in tool calls and answers, and no two of them may share a key. Two programs that hold the
same value name it alike, on every platform. The standard library's encoder, in C, is used wherever
it writes the same bytes; the few values that it writes differently take a slower path. The
`rfc8785` package is the oracle in the tests (record 0002).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

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
    if kind is str or value is None or kind is bool:
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
    if kind is int:
        return True
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
