"""The formats of JSON Schema (`date`, `email`, `uri`, ...), checked without further packages.

`jsonschema` checks most of them only where optional packages are installed, and passes every text
where they are not. Here each format that a schema may name is checked, or `check` refuses it:
those of JSON Schema 2020-12 (§7.3) and the ones that OpenAPI and Ajv add.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import regex
from jsonschema import FormatChecker

_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_OFFSET = r"(?:[zZ]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_IRI_CHARACTERS = r"(?:%[0-9A-Fa-f]{2}|[^\s\p{Cc}<>\"{}|\\^`%])"
_VARIABLE = r"[\w.%]+(?::\d+|\*)?"
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"


def _pattern(pattern: str, flags: int = 0) -> Callable[[str], object]:
    compiled = regex.compile(pattern, flags)
    return compiled.fullmatch


def _date(text: str) -> bool:
    return bool(_digits(text)) and date.fromisoformat(text) is not None


_digits = _pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # of the other ISO 8601 forms, RFC 3339 has none


def _date_time(text: str) -> bool:
    """RFC 3339 §5.6: a date, a time of day and its offset from UTC; second 60 is a leap second."""
    day, time = text[:10], text[11:]
    return text[10:11] in ("T", "t", " ") and _date(day) and bool(_time(time))


_time = _pattern(_TIME + _OFFSET)


def _hostname(text: str) -> bool:
    """RFC 1123: labels of letters, digits and hyphens, 253 characters in all."""
    return len(text) <= 253 and bool(_labels(text))


_labels = _pattern(rf"{_LABEL}(?:\.{_LABEL})*", regex.IGNORECASE)
_email = _pattern(r"[^\s@\p{Cc}]{1,64}@[^\s@\p{Cc}]+")
_duration = _pattern(
    r"P(?=.)(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?)"
)
_iri = _pattern(rf"[A-Za-z][A-Za-z0-9+.-]*:{_IRI_CHARACTERS}*")
_iri_reference = _pattern(rf"{_IRI_CHARACTERS}*")


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
    "iso-time": _pattern(_TIME + f"(?:{_OFFSET})?"),
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
    "uri-template": _pattern(
        rf"(?:{_IRI_CHARACTERS}|\{{[+#./;?&=,!@|]?{_VARIABLE}(?:,{_VARIABLE})*\}})*"
    ),
    "uuid": lambda text: text.count("-") == 4 and len(text) == 36 and uuid.UUID(text),
    "json-pointer": _pattern(_POINTER),
    "json-pointer-uri-fragment": _pattern("#" + _POINTER),
    "relative-json-pointer": _pattern(rf"(?:0|[1-9]\d*)(?:#|{_POINTER})"),
    "regex": regex.compile,
    "byte": lambda text: base64.b64decode(text, validate=True) is not None,
    "json": json.loads,
}
"""Of texts: what is false or raises is not of the format. Numbers pass, as the standard says."""

NUMBERS: Mapping[str, Callable[[object], bool]] = {"int32": _integer(32), "int64": _integer(64)}

STORAGE = frozenset({"float", "double", "decimal", "password", "binary"})
"""OpenAPI's hints about storage and display: no value fails them."""
KNOWN = TEXTS.keys() | NUMBERS.keys() | STORAGE


def format_checker() -> FormatChecker:
    """Return a checker of every format that is known here."""
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
