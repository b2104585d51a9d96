"""Reads foreign files: YAML as other tools write it, the line of every value, and notes on losses.

Numbers are read as JavaScript reads them: `1.0` is 1. Every path goes through `Folder`: nothing
outside the folder of the imported file is read.

Nothing is dropped silently: whatever an importer leaves out, or has to write differently, is a
`Note` with its line, the reason and a way out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from llmops_cli.core.errors import InvalidFiles, Location, Problem
from llmops_cli.project.documents import Document, Place, YamlReader, decode, load_yaml
from llmops_cli.project.paths import MAX_CASES, MAX_FILE, Folder, Unreadable, within
from llmops_cli.project.templates import is_template

STANDARD = "tag:yaml.org,2002:"
CODE = re.compile(r"\.(js|cjs|mjs|ts|cts|mts|py|rb|sh|go)(:[^/]*)?$")
URL = re.compile(r"[a-z][a-z0-9+.-]+://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that is not as it was in the file that was imported."""

    where: Location
    what: str
    why: str
    instead: str
    lost: bool = True
    """False: it was carried over, and can decide differently in rare cases."""


class NotCarried(Exception):
    """Something that can't be imported. `str()` is the reason, `instead` the alternative."""

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why)
        self.instead = instead


class Notes:
    """A growing list of notes, in which the same note about the same line stands once."""

    def __init__(self) -> None:
        self._notes: dict[Note, None] = {}

    def __iter__(self) -> Iterator[Note]:
        return iter(sorted(self._notes, key=lambda note: (note.where.path, note.where.line or 0)))

    def lost(self, where: Location, what: str, why: str, instead: str) -> None:
        """Note something that was left out."""
        self._notes.setdefault(Note(where=where, what=what, why=why, instead=instead))

    def changed(self, where: Location, what: str, why: str, instead: str) -> None:
        """Note something that was carried over and is not quite the same."""
        self._notes.setdefault(Note(where=where, what=what, why=why, instead=instead, lost=False))

    @contextmanager
    def reporting(self, where: Location, what: str) -> Iterator[None]:
        """Note `what` as lost if the block raises `NotCarried`, and go on after it."""
        try:
            yield
        except NotCarried as error:
            self.lost(where, what, str(error), error.instead)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a foreign file that knows its line."""

    value: Any
    document: Document
    notes: Notes
    place: Place = ()

    @property
    def where(self) -> Location:
        """Its line, or that of the nearest thing around it."""
        return self.document.where(*self.place)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The value where it is a mapping, else an empty one."""
        return mapping(self.value)

    def lost(self, what: str, why: str, instead: str) -> None:
        """Note that it was left out."""
        self.notes.lost(self.where, what, why, instead)

    def changed(self, what: str, why: str, instead: str) -> None:
        """Note that it was carried over and is not quite the same."""
        self.notes.changed(self.where, what, why, instead)

    def reporting(self, what: str) -> AbstractContextManager[None]:
        """Note `what` as lost if the block raises `NotCarried`, and go on after it."""
        return self.notes.reporting(self.where, what)

    def unread(self, read: frozenset[str], what: str, why: str, instead: str) -> None:
        """Note every key but those in `read`; `{}` in `what` is the key."""
        for key in sorted(set(self.fields) - read):
            self.at(key).lost(what.replace("{}", key), why, instead)

    def at(self, key: str) -> Node:
        """Return the value of `key`; None where there is no such key."""
        return replace(self, value=self.fields.get(key), place=(*self.place, key))

    def items(self) -> list[Node]:
        """Return the items of a list; any other value is the only item, and nothing is none."""
        if not isinstance(self.value, list):
            return [self] if self.value else []
        places = ((*self.place, position) for position in range(len(self.value)))
        return [
            replace(self, value=value, place=place)
            for value, place in zip(self.value, places, strict=True)
        ]


def read_document(content: bytes, path: str) -> Document:
    """Return a YAML or JSON file as plain data with lines. Raises `InvalidFiles`."""
    return load_yaml(content, path, reader=_ForeignReader)


class _ForeignReader(YamlReader):
    """Reads the YAML of other tools."""

    def check_plain(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None and not event.tag.startswith(STANDARD):
            self.wrong(event, f"the tag '{event.tag}'", "plain data only; quote text")

    def number(self, event: yaml.Event, text: str) -> Any:
        return as_javascript(super().number(event, text))


@dataclass(frozen=True, slots=True)
class ImportFolder:
    """The files below the folder of the file that is imported, and the notes on them."""

    source: Folder
    notes: Notes = field(default_factory=Notes)

    def text(self, reference: str, *, limit: int = MAX_FILE) -> str:
        """Return the text that `file://…` or a path names. Raises `NotCarried`."""
        path = path_of(reference)
        try:
            return decode(self.source.read(path, limit=limit), path)
        except Unreadable as error:
            raise NotCarried(str(error), "put the file below the imported one") from None
        except InvalidFiles as error:
            raise NotCarried(error.problems[0].message, "save it as UTF-8 text") from None

    def lines(self, reference: str) -> Iterator[tuple[Location, str]]:
        """Yield the lines of a file of cases that are not blank. Raises `NotCarried`."""
        for number, line in enumerate(self.text(reference, limit=MAX_CASES).split("\n"), start=1):
            if line.strip():
                yield Location(path=path_of(reference), line=number), line

    def document(self, reference: str) -> Node:
        """Return the YAML or JSON that `file://…` or a path names. Raises `NotCarried`."""
        path = path_of(reference)
        try:
            document = read_document(self.text(reference).encode(), path)
        except InvalidFiles as error:
            first = error.problems[0]
            raise NotCarried(f"{first.where}: {first.message}", "fix the file") from None
        return Node(document.data, document, self.notes)

    def matching(self, reference: str) -> list[str]:
        """Return the paths that a reference with `*` names, sorted; any other is itself.

        Raises `NotCarried` for what is no path, and where nothing has such a name.
        """
        path = path_of(reference)
        if "*" not in path:
            return [path]
        root = self.source.root
        paths = sorted(
            file.relative_to(root).as_posix() for file in root.glob(path) if file.is_file()
        )
        if not paths:
            raise NotCarried("no file has such a name", "fix the path")
        return paths


def path_of(reference: str) -> str:
    """Return the path in the folder that `file://…` or a path means. Raises `NotCarried`."""
    path = reference.removeprefix("file://")
    if URL.match(path):
        raise NotCarried("it is kept elsewhere, and imports use no network", "save it as a file")
    if CODE.search(path):
        raise NotCarried(f"{path!r} is code, and imports run no code", "write the values out")
    try:
        return within(path)
    except Unreadable as error:
        raise NotCarried(str(error), "put the file below the imported one") from None


def as_javascript(value: Any) -> Any:
    """Return plain data with its numbers as JavaScript has them: 1.0 is 1, and 3.10 is 3.1."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)
    if isinstance(value, list):
        return [as_javascript(item) for item in value]
    if isinstance(value, dict):
        return {name: as_javascript(item) for name, item in value.items()}
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def mapped_texts(value: Any, convert: Callable[[str], Any]) -> Any:
    """Return plain data with every text in it converted."""
    if isinstance(value, str):
        return convert(value)
    if isinstance(value, list):
        return [mapped_texts(item, convert) for item in value]
    if isinstance(value, dict):
        return {name: mapped_texts(item, convert) for name, item in value.items()}
    return value


def is_file(value: Any) -> bool:
    """Tell whether a value refers to a file."""
    return isinstance(value, str) and value.startswith("file://")


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def literal(text: str) -> str:
    """Return a template that renders to `text` as it is. Raises `NotCarried`."""
    if not is_template(text):
        return text
    if re.search(r"\{%-?\s*endraw", text):
        raise NotCarried("it ends a raw block of the template language", "rewrite it")
    return f"{{% raw %}}{text}{{% endraw %}}"


def table_rows(text: str, path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with the line of each. Raises `InvalidFiles`."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        where = Location(path=path, line=reader.line_num)
        hint = "use JSONL for long texts"
        raise InvalidFiles([Problem(where=where, message=f"not CSV: {error}", hint=hint)]) from None
