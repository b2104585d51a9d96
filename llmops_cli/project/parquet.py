"""Reads Parquet tables; loaded only when a project has one, since it needs pyarrow.

Pandas writes a column of integers in which some are missing as floats; such a column is read as
the integers that it holds. Floats of 32 bits are read as people wrote them: 3.1, not 3.0999999.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow.parquet import ParquetFile

BATCH = 10_000


def read(content: bytes) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return column names, and rows of plain values. Raises `ValueError` for other formats."""
    file = ParquetFile(io.BytesIO(content))
    return list(file.schema_arrow.names), _rows(file)


def _rows(file: ParquetFile) -> Iterator[tuple[Any, ...]]:
    schema = file.schema_arrow
    integers = {name for name in schema.names if _are_nullable_integers(file, name)}
    short = {field.name for field in schema if field.type in (pa.float16(), pa.float32())}
    for batch in file.iter_batches(batch_size=BATCH):
        columns: list[Iterator[Any]] = [map(_plain, column.to_pylist()) for column in batch.columns]
        for at, name in enumerate(schema.names):
            if name in integers:
                columns[at] = (None if value is None else int(value) for value in columns[at])
            elif name in short:
                columns[at] = (_shortest(value) for value in columns[at])
        yield from zip(*columns, strict=True)


def _are_nullable_integers(file: ParquetFile, name: str) -> bool:
    """Tell whether a column of floats holds whole numbers only, and lacks some."""
    if not pa.types.is_floating(file.schema_arrow.field(name).type):
        return False
    column = file.read(columns=[name]).column(0)
    present = column.filter(compute.is_finite(column))
    if not len(present) or len(present) == len(column):
        return False
    return bool(compute.all(compute.equal(present, compute.floor(present))).as_py())


def _shortest(value: float | None) -> float | None:
    return None if value is None else float(str(np.float32(value)))


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
