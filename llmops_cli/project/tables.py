"""Reads a table of cases row by row: JSONL, CSV, YAML and Parquet become the same plain mappings.

Every row comes with its line. A row that cannot be read is noted and left out; the rest of the
file is still looked at.

CSV columns are a case's fields, declared inputs by their name, or `inputs.x` and `metadata.x`
where names collide. In a cell, `tags` are separated by `;` or `,`; `contexts` is a JSON list or
one passage; an input is text, or JSON where its declared type is not text; an empty cell is
nothing.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from llmops_cli.core.errors import Location, MissingExtra, suggestion
from llmops_cli.project.documents import NotPlain, decode, load_json, load_yaml
from llmops_cli.project.inputs import Schemas, from_text, is_required
from llmops_cli.project.paths import MAX_CASES, MAX_FILE, Problems, Source
from llmops_cli.project.schema import WrittenCase

Where: TypeAlias = Callable[..., Location]
Row: TypeAlias = tuple[Where, Any]

FIELDS = frozenset(WrittenCase.model_fields)
IN_CELLS = frozenset({"id", "expected", "contexts", "tags", "critical", "group", "known_failing"})
"""Fields that a table's cell can hold; `messages` and `scorers` need JSONL or YAML."""
EMPTY_TEXTS = frozenset({"output", "label"})
"""Fields of labels of which an empty cell is an empty text, and not nothing."""
ENDINGS = (".jsonl", ".ndjson", ".csv", ".yaml", ".yml", ".parquet")


def rows_of(
    path: str,
    source: Source,
    schemas: Schemas,
    problems: Problems,
    *,
    fields: AbstractSet[str] = IN_CELLS,
) -> Iterator[Row]:
    """The rows of a table file with the line of each. Raises `Unreadable` if it cannot be read.

    `fields` are the columns of a table that are no inputs.
    """
    if path.endswith((".jsonl", ".ndjson")):
        yield from _jsonl(source.read(path, limit=MAX_CASES), path, problems)
    elif path.endswith(".csv"):
        text = decode(source.read(path, limit=MAX_CASES), path)
        yield from _Table(path, schemas, problems, fields).rows(text)
    elif path.endswith((".yaml", ".yml")):
        document = load_yaml(source.read(path, limit=MAX_FILE), path)
        if not isinstance(document.data, list):
            problems.add(document.where(), "not a list of cases")
            return
        for position, row in enumerate(document.data):
            yield _below(document.where, position), row
    elif path.endswith(".parquet"):
        content = source.read(path, limit=MAX_CASES)
        yield from _parquet(content, path, _Table(path, schemas, problems, fields), problems)
    else:
        hint = "it ends in " + ", ".join(ENDINGS)
        problems.add(Location(path=path), "not a file of cases", hint)


def _jsonl(content: bytes, path: str, problems: Problems) -> Iterator[Row]:
    for number, raw in enumerate(io.BytesIO(content), start=1):
        where = Location(path=path, line=number)
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text:
                continue
            row = load_json(text)
        except UnicodeDecodeError:
            problems.add(where, "not UTF-8 text", "save the file as UTF-8")
        except json.JSONDecodeError as error:
            problems.add(where, f"not JSON: {error.msg} at column {error.colno}")
        except NotPlain as error:
            problems.add(where, str(error))
        else:
            yield _always(where), row


class _Table:
    """Rows whose columns are named by people: CSV, and Parquet's columns."""

    def __init__(
        self, path: str, schemas: Schemas, problems: Problems, fields: AbstractSet[str]
    ) -> None:
        self._path = path
        self._schemas = schemas
        self._problems = problems
        self._fields = fields

    def rows(self, text: str) -> Iterator[Row]:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = next(reader, [])
            columns = self.columns(header)
            if columns is None:
                return
            for cells in reader:
                where = Location(path=self._path, line=reader.line_num)
                if len(cells) == len(columns):
                    yield _always(where), self._row(dict(zip(columns, cells, strict=True)), where)
                elif cells:
                    message = f"{len(cells)} cells, but the header has {len(columns)} columns"
                    self._problems.add(where, message)
        except csv.Error as error:
            where = Location(path=self._path, line=reader.line_num)
            self._problems.add(where, f"not CSV: {error}", "use JSONL for long texts")

    def columns(self, header: Sequence[str]) -> list[tuple[str, ...]] | None:
        """What each column sets: `(field,)`, `("inputs", name)` or `("metadata", name)`."""
        where = Location(path=self._path, line=1)
        before = len(self._problems)
        found: list[tuple[str, ...]] = []
        for name in (each.strip() for each in header):
            target = self._target(name)
            if target is None:
                known = sorted({*self._fields, *self._schemas})
                hint = suggestion(name, known) or "declare it as an input of the prompt"
                if any(each in name for each in ";\t|"):
                    hint = "columns are separated by commas"
                self._problems.add(where, f"the column '{name}' is no field and no input", hint)
            elif target in found:
                self._problems.add(where, f"the column '{name}' is here twice")
            else:
                found.append(target)
        if not header:
            self._problems.add(where, "an empty file of cases")
        return found if len(self._problems) == before else None

    def _target(self, name: str) -> tuple[str, ...] | None:
        kind, dot, rest = name.partition(".")
        if name in self._fields:
            return (name,)
        if dot and kind == "inputs" and rest in self._schemas:
            return ("inputs", rest)
        if dot and kind == "metadata" and rest:
            return ("metadata", rest)
        return ("inputs", name) if name in self._schemas else None

    def _row(self, cells: Mapping[tuple[str, ...], str], where: Location) -> dict[str, Any]:
        row: dict[str, Any] = {"inputs": {}, "metadata": {}}
        for target, text in cells.items():
            try:
                if target[0] == "inputs":
                    schema = self._schemas[target[1]]
                    if text or (schema.get("type") in (None, "string") and is_required(schema)):
                        row["inputs"][target[1]] = from_text(text, schema)
                elif text or target[0] in EMPTY_TEXTS:
                    if len(target) == 2:
                        row["metadata"][target[1]] = text
                    else:
                        row[target[0]] = _field(target[0], text)
            except ValueError:
                name = ".".join(target)
                self._problems.add(where, f"'{name}' cannot be read from {text[:40]!r}")
        return row


def _field(name: str, text: str) -> Any:
    if name == "tags":
        return [tag for each in text.replace(",", ";").split(";") if (tag := each.strip())]
    if name == "contexts":
        return load_json(text) if text.startswith("[") else [text]
    if name == "critical":
        return load_json(text.strip().lower())
    return text


def _parquet(content: bytes, path: str, table: _Table, problems: Problems) -> Iterator[Row]:
    try:
        parquet = importlib.import_module("llmops_cli.project.parquet")
    except ImportError:
        raise MissingExtra("reading Parquet files", extra="parquet") from None
    where = Location(path=path)
    try:
        names, rows = parquet.read(content)
    except ValueError as error:
        problems.add(where, f"not a Parquet file: {error}")
        return
    columns = table.columns(names)
    if columns is None:
        return
    for values in rows:
        row: dict[str, Any] = {"inputs": {}, "metadata": {}}
        for target, value in zip(columns, values, strict=True):
            if value is not None and len(target) == 2:
                row[target[0]][target[1]] = value
            elif value is not None:
                row[target[0]] = value
        yield _always(where), row


def _always(where: Location) -> Where:
    return lambda *_: where


def _below(where: Where, position: int) -> Where:
    return lambda *place: where(position, *place)
