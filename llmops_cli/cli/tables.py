"""The forms of a report that hold every case: page and tables.

The cases of a run as tables for spreadsheets and notebooks: CSV and Parquet files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from llmops_cli.cli.report import page_at
from llmops_cli.core.errors import MissingExtra
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, Report
from llmops_cli.report.sinks import TakeCases
from llmops_cli.stores.atomic import write_stream

if TYPE_CHECKING:
    import pandas as pd

    from llmops_cli.report.sinks import TakeCases


def cases_at(html: Path | None, csv: Path | None, parquet: Path | None) -> list[TakeCases]:
    """What writes every form that is asked for.

    Raises `MissingExtra` for a table that cannot be written here.
    """
    return [*page_at(html), *tables_at(csv, parquet)]


class Write(Protocol):
    """Writes tables of the same columns into a file."""

    def __call__(
        self, frames: Iterable[pd.DataFrame], file: BinaryIO, *, redact: Callable[[str], str]
    ) -> None:
        """Take them one by one."""


Wanted: TypeAlias = dict[Path, Write]


def tables_at(csv: Path | None, parquet: Path | None) -> list[TakeCases]:
    """What writes the tables that are asked for.

    Raises `MissingExtra` where Parquet is asked for and pyarrow is not installed.
    """
    return [_at(path, write) for path, write in _wanted(csv, parquet).items()]


def write_kept_tables(report: Report, file: Path | None, tables: Iterable[TakeCases]) -> str | None:
    """Writes the tables of a run that is over: of a run file every case, else what is shown.

    Says what is missing from them.
    """
    from llmops_cli.report.case_stream import stream_stored

    redact = Redactor.of(os.environ)
    for take in tables:
        with stream_stored(report, file) as records:
            take(report, records, redact)
    if file is not None and file.suffix != ".json":
        return None
    return _left_out(report)


def _left_out(report: Report) -> str | None:
    evalsets = [evalset for prompt in report.prompts for evalset in prompt.evalsets]
    shown, cases = sum(len(each.shown) for each in evalsets), sum(each.cases for each in evalsets)
    if shown >= cases:
        return None
    return (
        f"{shown:,} of {cases:,} cases, as the report shows them; "
        "a run file (`eval --out`) has every case"
    )


def _wanted(csv: Path | None, parquet: Path | None) -> Wanted:
    found: Wanted = {}
    if csv is not None:
        from llmops_cli.render.csv import write_csv

        found[csv] = write_csv
    if parquet is not None:
        try:
            from llmops_cli.render.parquet import write_parquet
        except ImportError:
            raise MissingExtra("writing Parquet files", extra="parquet") from None
        found[parquet] = write_parquet
    return found


def _at(path: Path, write: Write) -> TakeCases:
    from llmops_cli.report.frame import frames

    def take(report: Report, records: CaseStream, redact: Redactor) -> None:
        def fill(file: BinaryIO) -> None:
            write(frames(report, records), file, redact=redact)

        write_stream(path, fill)

    return take
