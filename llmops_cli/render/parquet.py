"""Pandas tables as one Parquet file; loaded only when one is written, since it needs pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import BinaryIO

import pandas as pd
from pyarrow import Schema, Table
from pyarrow.parquet import ParquetWriter

from llmops_cli.render.csv import of_texts

_ANY = {"str": "", "bool": False, "boolean": False, "Int64": 0, "float64": 0.0}
"""A value of each type that a column may have."""


def write_parquet(
    frames: Iterable[pd.DataFrame], file: BinaryIO, *, redact: Callable[[str], str]
) -> None:
    """Write `frames`, at least one and all of the same columns, each as a group of rows."""
    with ExitStack() as stack:
        writer = None
        for frame in frames:
            whole = of_texts(frame, redact)
            if writer is None:
                writer = stack.enter_context(ParquetWriter(file, _schema(whole)))
            writer.write_table(Table.from_pandas(whole, schema=writer.schema, preserve_index=False))


def _schema(frame: pd.DataFrame) -> Schema:
    """Return the types of a frame's columns, also of those that are empty."""
    full = {name: pd.Series([_ANY[str(kind)]], dtype=kind) for name, kind in frame.dtypes.items()}
    return Schema.from_pandas(pd.DataFrame(full), preserve_index=False)
