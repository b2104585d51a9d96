"""Reads YAML and JSON as plain data that can be compared, and refuses what makes them dangerous.

In YAML, duplicate keys, anchors, aliases, tags and several documents are errors; nesting and size
are capped; keys are always text. Plain scalars follow the YAML 1.2 core schema, so `no`, `12:30:45`
and dates are text; numbers with leading zeros are text as well, since `012` is a code that someone
wants to keep. Every value knows its line.

In JSON, duplicate keys, NaN and infinities (also by overflow: `1e999`), halves of surrogate pairs
and nesting deeper than YAML may have are errors.

Numbers keep their spelling (`core.literals`).
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import yaml

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Location, Problem
from llmops_cli.core.literals import number

MAX_DEPTH = 50
"""Levels of lists and mappings, in JSON and in YAML."""
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
MAX_DIGITS = 400
"""Digits of an integer: converting text to integers takes quadratic time."""


class NotPlain(ValueError):
    """Valid JSON that can't be compared, with the reason."""


def load_json(text: str) -> Any:
    """Return the value of one JSON text. Raises `json.JSONDecodeError` and `NotPlain`."""
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise NotPlain(TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise NotPlain(TOO_DEEP)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise NotPlain("half of a surrogate pair: not text that can be sent") from None
    return value


def _deeper(value: Any, levels: int) -> bool:
    items = value.values() if isinstance(value, dict) else value
    is_nested = isinstance(value, (list, dict))
    return is_nested and (levels == 0 or any(_deeper(item, levels - 1) for item in items))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = {sys.intern(key): value for key, value in pairs}  # rows repeat their keys
    if len(built) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotPlain(f"the key '{twice}' is here twice")
    return built


def _finite(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        _refuse(text)
    return number(value, text)


def _whole(text: str) -> int | float:
    if len(text) > MAX_DIGITS:
        raise NotPlain(f"{text[:20]}… is too long for a number: write it as text")
    return number(int(text), text)


def _refuse(text: str) -> NoReturn:
    raise NotPlain(f"{text} is not a number that can be compared")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_whole, parse_constant=_refuse
)


Place: TypeAlias = tuple[str | int, ...]
"""The path of a value: keys and positions from the root."""

MAX_BYTES = 5_000_000
MAX_VALUES = 500_000
"""Values that a file with aliases may expand to."""

NULL = frozenset({"", "~", "null", "Null", "NULL"})
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain data, and the line of every value in it."""

    path: str
    data: Json
    lines: Mapping[Place, int]
    text_lines: Mapping[Place, int]
    """First line of the text itself, for block scalars (`|`, `>`)."""

    def where(self, *place: str | int) -> Location:
        """Return the line of the value at `place`, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return Location(path=self.path, line=self.lines.get(place, 1))

    def inside(self, place: Place, line: int) -> Location:
        """Return the file's line of the `line`-th line (1-based) of the text at `place`."""
        first = self.text_lines.get(place) or self.where(*place).line or 1
        return Location(path=self.path, line=first + line - 1)


def decode(content: bytes, path: str) -> str:
    """Return UTF-8 text without a byte order mark. Raises `InvalidFiles`."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _invalid(path, line, "not UTF-8 text", "save the file as UTF-8") from None


def load_yaml(
    content: bytes, path: str, *, reader: type[YamlReader] | None = None, limit: int = MAX_BYTES
) -> Document:
    """Parse one YAML document, by default as strictly as files of a project are.

    Raises `InvalidFiles` with every duplicate key, tag and alias, or with the first syntax error.
    """
    if len(content) > limit:
        raise _invalid(path, None, f"larger than {limit // 1_000_000} MB", "use JSONL for cases")
    text = decode(content, path)
    values = (reader or YamlReader)(path, yaml.parse(text, Loader=yaml.CSafeLoader))
    try:
        data = values.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else None
        if "nesting" in (error.problem or ""):  # PyYAML has a limit of its own since 6.0.4
            raise _invalid(path, line, TOO_DEEP) from None
        message = " ".join(filter(None, (error.context, error.problem)))
        lines = text.split("\n")[mark.line :] if mark else []
        at_tab = bool(lines) and lines[0].startswith("\t")
        hint = "YAML indents by spaces, never by tabs" if at_tab else None
        raise _invalid(path, line, f"not YAML: {message}", hint) from None
    except yaml.YAMLError as error:
        raise _invalid(path, None, f"not YAML: {error}") from None
    if values.problems:
        raise InvalidFiles(values.problems)
    return Document(path, data, values.lines, values.text_lines)


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None  # the parser marks every event
    return event.start_mark.line + 1


def _invalid(path: str, line: int | None, message: str, hint: str | None = None) -> InvalidFiles:
    where = Location(path=path, line=line)
    return InvalidFiles([Problem(where=where, message=message, hint=hint)])


class YamlReader:
    """Builds plain data from the parser's events, so that nothing is constructed.

    Aliases and merge keys (`<<`) are expanded under a cap, so that a small file cannot become a
    large one. A subclass reads other dialects: see `importers.source`.
    """

    def __init__(self, path: str, events: Iterator[yaml.Event]) -> None:
        self._path = path
        self._events = events
        self.problems: list[Problem] = []
        self.lines: dict[Place, int] = {}
        self.text_lines: dict[Place, int] = {}
        self._anchored: dict[str, tuple[Json, int]] = {}
        """Values with an anchor, and how many values each holds."""
        self._count = 0

    def document(self) -> Json:
        """Return the data of the one document."""
        data: Json = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.wrong(event, "a second document in one file", "write two files")
            elif isinstance(event, yaml.NodeEvent):
                data = self.value(event, ())
        return data

    def value(self, event: yaml.NodeEvent, place: Place) -> Json:
        """Return the value that begins with `event`."""
        before = self._count
        self._count += 1
        value = self._value(event, place)
        if event.anchor is not None and not isinstance(event, yaml.AliasEvent):
            self._anchored[event.anchor] = value, self._count - before
        return value

    def _value(self, event: yaml.NodeEvent, place: Place) -> Json:
        self.lines.setdefault(place, _line(event))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchored:
                raise self.refused(event, f"the alias '*{event.anchor}' names no anchor before it")
            value, count = self._anchored[event.anchor]
            self._count += count
            if self._count > MAX_VALUES:
                raise self.refused(event, f"aliases that expand to over {MAX_VALUES:,} values")
            return value
        assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))
        self.check_plain(event)
        if isinstance(event, yaml.ScalarEvent):
            if event.style in ("|", ">"):
                self.text_lines[place] = _line(event) + 1
            quoted = event.style not in (None, "") or not event.implicit[0]
            return event.value if quoted else self.scalar(event)
        if len(place) >= MAX_DEPTH:
            raise self.refused(event, TOO_DEEP)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(place)
        items: list[Json] = []
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            assert isinstance(item, yaml.NodeEvent)
            items.append(self.value(item, (*place, len(items))))
        return items

    def check_plain(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        """Check that a value has no tag."""
        if event.tag is not None:
            self.wrong(event, f"the tag '{event.tag}'", "plain data only; quote text")

    def mapping(self, place: Place) -> dict[str, Json]:
        """Return the mapping whose start was read; its own keys win over those of `<<`."""
        items: dict[str, Json] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                hint = 'quote what has braces: "{{ question }}"'
                raise self.refused(event, "a key that is not text", hint)
            self.check_plain(event)
            key = event.value
            if key in items:
                first = self.lines[(*place, key)]
                self.wrong(event, f"the key '{key}' is here twice", f"first on line {first}")
            self.lines.setdefault((*place, key), _line(event))
            value = next(self._events)
            assert isinstance(value, yaml.NodeEvent)
            items[key] = self.value(value, (*place, key))
        merged = items.pop("<<", None)
        for below in merged if isinstance(merged, list) else [merged]:
            items = {**below, **items} if isinstance(below, dict) else items
        return items

    def scalar(self, event: yaml.ScalarEvent) -> Json:
        """Return the value of a scalar without quotes."""
        text: str = event.value
        if text in NULL:
            return None
        if text in TRUE or text in FALSE:
            return text in TRUE
        if NOT_FINITE.fullmatch(text):
            self.wrong(event, f"{text} is not a number that can be compared", "quote text")
            return None
        if FLOAT.fullmatch(text) or OCTAL_OR_HEX.fullmatch(text):
            return self.number(event, text)
        return text

    def number(self, event: yaml.Event, text: str) -> int | float | None:
        """Return the number that `text` is, which keeps its spelling."""
        value: int | float
        if len(text) > MAX_DIGITS:
            value = math.inf
        elif OCTAL_OR_HEX.fullmatch(text):
            value = int(text, 0)
        else:
            value = int(text) if INTEGER.fullmatch(text) else float(text)
        if isinstance(value, float) and not math.isfinite(value):
            self.wrong(event, f"{text[:40]} is too large for a number", "quote it")
            return None
        return number(value, text)

    def wrong(self, event: yaml.Event, message: str, hint: str) -> None:
        """Add a problem; reading goes on."""
        where = Location(path=self._path, line=_line(event))
        self.problems.append(Problem(where=where, message=message, hint=hint))

    def refused(self, event: yaml.Event, message: str, hint: str | None = None) -> InvalidFiles:
        """Return the exception for a document in which reading cannot go on."""
        return _invalid(self._path, _line(event), message, hint)
