"""The forms of a report that hold every case: page and tables."""

from __future__ import annotations

from pathlib import Path

from llmops_cli.cli.pages import page_at
from llmops_cli.cli.tables import tables_at
from llmops_cli.flows.report.forms import TakeCases


def cases_at(html: Path | None, csv: Path | None, parquet: Path | None) -> list[TakeCases]:
    """What writes every form that is asked for.

    Raises `MissingExtra` for a table that cannot be written here.
    """
    return [*page_at(html), *tables_at(csv, parquet)]
