"""Reads a table of cases row by row: JSONL, CSV, YAML and Parquet become the same plain mappings.

Every row comes with its line. A row that cannot be read is a problem and is left out; the rest of
the file is still read. Rows without any value are no cases: spreadsheets write them as `,,`.

Columns of CSV and Parquet are a case's fields, declared inputs by their name, or `inputs.x` and
`metadata.x` where names collide. In a CSV cell, `tags` are separated by `;` or `,`; `contexts` is
a JSON list or one passage; an input is text, or JSON where its declared type is not text; an empty
cell is no value. Fields that scorers take values from (`structured`) are read as JSON where a cell
is JSON.

Pandas writes a column of integers in which some are missing as floats to Parquet; such a column is
read as the integers that it holds.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from llmops_cli.core.errors import Location, MissingExtra, suggestion
from llmops_cli.project.documents import NotPlain, decode, load_json, load_yaml
from llmops_cli.project.inputs import Schemas, is_required
from llmops_cli.project.paths import MAX_CASES, MAX_FILE, Problems, Source
from llmops_cli.project.schema import WrittenCase

Where: TypeAlias = Callable[..., Location]
Row: TypeAlias = tuple[Where, Any]
Field: TypeAlias = tuple[str, ...]
"""What a column sets: `(field,)`, `("inputs", name)` or `("metadata", name)`."""

FIELDS = frozenset(WrittenCase.model_fields)
IN_CELLS = frozenset({"id", "expected", "contexts", "tags", "critical", "group", "known_failing"})
"""Fields that a cell can hold; `messages` and `scorers` need JSONL or YAML."""
EMPTY_TEXTS = frozenset({"output", "label"})
"""Fields of labels of which an empty cell is an empty text, and not no value."""
ENDINGS = (".jsonl", ".ndjson", ".csv", ".yaml", ".yml", ".parquet")
BATCH = 10_000
"""Rows of Parquet that are in memory at once."""
_NOTHING: Any = object()
"""What an empty cell is."""
QUOTE_AFTER_BLANKS = re.compile(r'(?:^|,) +"', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """What the columns of a table may be."""

    inputs: Schemas
    fields: AbstractSet[str] = IN_CELLS
    """Columns that are no inputs."""
    structured: Mapping[Field, bool] = field(default_factory=dict)
    """Fields whose text may be JSON: lists and mappings only, or with True any JSON value."""


def rows_of(path: str, source: Source, shape: TableShape, problems: Problems) -> Iterator[Row]:
    """Return the rows of a table with the line of each. Raises `Unreadable`."""
    if path.endswith((".jsonl", ".ndjson")):
        yield from _jsonl(source.read(path, limit=MAX_CASES), path, problems)
    elif path.endswith(".csv"):
        text = decode(source.read(path, limit=MAX_CASES), path)
        yield from _csv(text, _Columns(path, shape, problems))
    elif path.endswith((".yaml", ".yml")):
        document = load_yaml(source.read(path, limit=MAX_FILE), path)
        if not isinstance(document.data, list):
            problems.add(document.where(), "not a list of cases")
            return
        for position, row in enumerate(document.data):
            yield partial(document.where, position), row
    elif path.endswith(".parquet"):
        content = source.read(path, limit=MAX_CASES)
        yield from _parquet(content, _Columns(path, shape, problems))
    else:
        hint = "it ends in " + ", ".join(ENDINGS)
        problems.add(Location(path=path), "not a file of cases", hint)


def _jsonl(content: bytes, path: str, problems: Problems) -> Iterator[Row]:
    for number, line in enumerate(io.BytesIO(content), start=1):
        where = Location(path=path, line=number)
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield _at(where), load_json(text)
        except UnicodeDecodeError:
            problems.add(where, "not UTF-8 text", "save the file as UTF-8")
        except json.JSONDecodeError as error:
            problems.add(where, f"not JSON: {error.msg} at column {error.colno}")
        except NotPlain as error:
            problems.add(where, str(error))


def _csv(text: str, columns: _Columns) -> Iterator[Row]:
    reader = _csv_reader(text, skip_blanks=_has_blanks_before_quotes(text))
    try:
        fields = columns.fields(next(reader, []))
        for cells in reader if fields else ():
            where = Location(path=columns.path, line=reader.line_num)
            if not any(map(str.strip, cells)):
                continue
            if len(cells) == len(fields):
                yield _at(where), columns.row(fields, cells, where)
            else:
                message = f"{len(cells)} cells, but the header has {len(fields)} columns"
                columns.problems.add(where, message)
    except csv.Error as error:
        where = Location(path=columns.path, line=reader.line_num)
        columns.problems.add(where, f"not CSV: {error}", "use JSONL for long texts")


def _csv_reader(text: str, *, skip_blanks: bool) -> Any:
    return csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=skip_blanks)


def _has_blanks_before_quotes(text: str) -> bool:
    """Tell whether cells are quoted after blanks, as in `a, "b, c"`: then the blanks separate.

    Within a quoted cell the same characters are text, so only a parsed cell can tell.
    """
    if QUOTE_AFTER_BLANKS.search(text) is None:
        return False
    try:
        rows = _csv_reader(text, skip_blanks=False)
        return any(cell[:1] == " " and cell.lstrip(" ")[:1] == '"' for row in rows for cell in row)
    except csv.Error:
        return False


def _parquet(content: bytes, columns: _Columns) -> Iterator[Row]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra, and large
    except ImportError:
        raise MissingExtra("reading Parquet files", extra="parquet") from None
    where = Location(path=columns.path)
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
    except ValueError as error:
        columns.problems.add(where, f"not a Parquet file: {error}")
        return
    fields = columns.fields(file.schema_arrow.names)
    for row in _parquet_rows(file) if fields else ():
        if any(value is not None for value in row):
            yield _at(where), columns.row(fields, row, where)


def _parquet_rows(file: Any) -> Iterator[tuple[Any, ...]]:
    from pyarrow import compute, types  # noqa: PLC0415 - an extra, and large

    def are_integers(name: str) -> bool:
        """Tell whether a column of floats holds whole numbers only, and lacks some."""
        column = file.read(columns=[name]).column(0)
        present = column.filter(compute.is_finite(column))
        whole = compute.all(compute.equal(present, compute.floor(present))).as_py()
        return bool(whole) and 0 < len(present) < len(column)

    schema = file.schema_arrow
    floats = {field.name: field.type for field in schema if types.is_floating(field.type)}
    integers = set(filter(are_integers, floats))
    for batch in file.iter_batches(batch_size=BATCH):
        cells: list[Iterable[Any]] = []
        for name, column in zip(schema.names, batch.columns, strict=True):
            values: Iterable[Any] = map(_plain, column.to_pylist())
            if name in integers:
                values = (None if value is None else int(value) for value in values)
            elif name in floats and not types.is_float64(floats[name]):
                shortest = map(str, column.to_numpy(zero_copy_only=False))  # 3.1, not 3.0999999
                values = map(_plain, map(float, shortest))
            cells.append(values)
        yield from zip(*cells, strict=True)


def _plain(value: Any) -> Any:
    """Return plain data: NaN is no value, and what JSON cannot carry becomes its text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)


class _Columns:
    """The named columns of a table and its rows."""

    def __init__(self, path: str, shape: TableShape, problems: Problems) -> None:
        self.path = path
        self.problems = problems
        self._shape = shape

    def fields(self, header: Sequence[str]) -> list[Field]:
        """Return what each column sets; none if one is unknown or twice, a problem each."""
        where = Location(path=self.path, line=1)
        before = len(self.problems)
        fields: list[Field] = []
        for name in map(str.strip, header):
            target = self._field(name)
            if target is None:
                known = sorted({*self._shape.fields, *self._shape.inputs})
                hint = suggestion(name, known) or "declare it as an input of the prompt"
                if any(separator in name for separator in ";\t|"):
                    hint = "columns are separated by commas"
                self.problems.add(where, f"the column '{name}' is no field and no input", hint)
            elif target in fields:
                self.problems.add(where, f"the column '{name}' is here twice")
            else:
                fields.append(target)
        if not header:
            self.problems.add(where, "an empty file of cases")
        return fields if len(self.problems) == before else []

    def row(self, fields: Sequence[Field], cells: Sequence[Any], where: Location) -> dict[str, Any]:
        """Return the case in cells of text (CSV), or of their types (Parquet)."""
        row: dict[str, Any] = {"inputs": {}, "metadata": {}}
        read = self._text_cell if self.path.endswith(".csv") else self._typed_cell
        for target, cell in zip(fields, cells, strict=True):
            try:
                value = read(target, cell)
            except ValueError:
                name = ".".join(target)
                self.problems.add(where, f"'{name}' cannot be read from {cell[:40]!r}")
                continue
            if value is not _NOTHING:
                *group, name = target
                (row[group[0]] if group else row)[name] = value
        return row

    def _field(self, name: str) -> Field | None:
        kind, dot, rest = name.partition(".")
        if name in self._shape.fields:
            return (name,)
        if dot and kind == "inputs" and rest in self._shape.inputs:
            return ("inputs", rest)
        if dot and kind == "metadata" and rest:
            return ("metadata", rest)
        return ("inputs", name) if name in self._shape.inputs else None

    def _typed_cell(self, target: Field, value: Any) -> Any:
        if isinstance(value, str) and target in self._shape.structured:
            return self._structured(target, value)
        return _NOTHING if value is None else value

    def _text_cell(self, target: Field, text: str) -> Any:
        schema = self._shape.inputs[target[1]] if target[0] == "inputs" else {}
        is_text = schema.get("type") in (None, "string")
        if not text and target[0] not in EMPTY_TEXTS:
            return text if target[0] == "inputs" and is_text and is_required(schema) else _NOTHING
        if target in self._shape.structured:
            return self._structured(target, text)
        match target:
            case ("inputs", _) if not is_text:
                return load_json(text.lower() if schema["type"] == "boolean" else text)
            case ("tags",):
                return [tag for tag in map(str.strip, re.split("[,;]", text)) if tag]
            case ("contexts",):
                return load_json(text) if text.startswith("[") else [text]
            case ("critical",):
                return load_json(text.strip().lower())
            case _:
                return text

    def _structured(self, target: Field, text: str) -> Any:
        """Return the JSON value that `text` spells; `text` itself where none is meant."""
        try:
            value = load_json(text)
        except ValueError:
            return text
        return value if isinstance(value, (list, dict)) or self._shape.structured[target] else text


def _at(where: Location) -> Where:
    return lambda *_: where
