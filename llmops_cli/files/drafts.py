"""Writes answers for people to label: a file of labels in which every label is still empty.

A draft in CSV is opened in spreadsheets, which run a cell that begins with `=`: such a cell gets
an apostrophe before it, which is taken off again when the file is read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""The beginning of a cell that a spreadsheet would run, apostrophes before it included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """An answer to ask people about."""

    id: str
    case: Case
    arm: str
    output: str
    contexts: tuple[str, ...]


def draft(rows: Iterable[Unlabelled], *, table: bool) -> str:
    """A file of labels to be filled in: CSV if `table`, else JSONL."""
    plain = [_plain(each) for each in rows]
    if not table:
        return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in plain)
    inputs = list(dict.fromkeys(name for each in plain for name in each["inputs"]))
    head = ["id", "case", "arm", *(f"inputs.{name}" for name in inputs)]
    head += ["expected", "contexts", "output", "label"]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(head)
    for each in plain:
        values = {**each, **{f"inputs.{name}": value for name, value in each["inputs"].items()}}
        writer.writerow([_quoted(_shown(values.get(name))) for name in head])
    return written.getvalue()


def _plain(row: Unlabelled) -> dict[str, Any]:
    return {
        "id": row.id,
        "case": row.case.id,
        "arm": row.arm,
        "inputs": dict(row.case.inputs),
        "expected": row.case.expected,
        "contexts": list(row.contexts),
        "output": row.output,
        "label": "",
    }


def _shown(value: Json) -> str:
    return "" if value is None or value == [] else cell(value)


def _quoted(cell: str) -> str:
    return f"'{cell}" if FORMULA.match(cell) else cell


def bare(cell: str) -> str:
    """What a spreadsheet was shown, as it was meant."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def cell(value: Json) -> str:
    """A value as a table shows it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
