"""Reads Parquet tables; loaded only when a project has one, since it needs pyarrow."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

from pyarrow.parquet import ParquetFile

BATCH = 10_000


def read(content: bytes) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Column names, and rows of plain values. Raises `ValueError` if the bytes are no Parquet."""
    file = ParquetFile(io.BytesIO(content))
    return list(file.schema_arrow.names), _rows(file)


def _rows(file: ParquetFile) -> Iterator[tuple[Any, ...]]:
    for batch in file.iter_batches(batch_size=BATCH):
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield tuple(map(_plain, row))


def _plain(value: Any) -> Any:
    """NaN is how tables say nothing; what JSON cannot carry becomes its text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value)
