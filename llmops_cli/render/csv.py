r"""Pandas tables as CSV, one piece after the other, safe to open in a spreadsheet.

A spreadsheet runs a cell that begins like a formula. So a text that does begins with an
apostrophe here, and so does one that began with an apostrophe already: whoever takes one
apostrophe off has the text back. A plain number stays as it is. A NUL, where readers end a
text, is written `\x00`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from typing import BinaryIO

import pandas as pd

_LIKE_A_FORMULA = re.compile("['\t\r\n]|[\\s\x00-\x1f\u200b\ufeff]*[=+\\-@|%＝＋－＠]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


def write_csv(
    frames: Iterable[pd.DataFrame], file: BinaryIO, *, redact: Callable[[str], str]
) -> None:
    """Write `frames`, all of the same columns, under one header: UTF-8, texts in quotes."""
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        for at, frame in enumerate(frames):
            safe = of_texts(frame, lambda cell: csv_cell(redact(cell)))
            safe.rename(columns=csv_cell).to_csv(
                text,
                header=at == 0,
                index=False,
                lineterminator="\n",
                quoting=csv.QUOTE_NONNUMERIC,
            )
    finally:
        text.detach()


def csv_cell(text: str) -> str:
    """Return `text` so that a spreadsheet shows it and runs nothing."""
    text = text.replace("\x00", "\\x00")
    if _NUMBER.fullmatch(text) or not _LIKE_A_FORMULA.match(text):
        return text
    return f"'{text}"


def of_texts(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return `frame` with `change` made to every text in it; what is missing stays missing."""
    changed = {
        str(name): frame[name].map(change, na_action="ignore").astype("str")
        for name, kind in frame.dtypes.items()
        if kind == "str"
    }
    return frame.assign(**changed)
