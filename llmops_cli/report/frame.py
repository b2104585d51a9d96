"""The cases of a run as pandas tables: one row for each trial of each side.

Columns and their types are the same for every table of a run, so that they can be written one
after the other; a table holds as many rows as fit into a few megabytes. What is a list or an
object is JSON text. A case without trials (it was removed) is one row without a side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from llmops_cli.core.digest import Json
from llmops_cli.core.report import CaseStream, Report, ShownCase, ShownSide, ShownTrial
from llmops_cli.gate.comparison import PASS_METRIC
from llmops_cli.report.finished_run import stream_file

ROWS = 5_000
"""At most, in one table."""
CHARACTERS = 8_000_000
"""After which a table ends."""

Row: TypeAlias = dict[str, Any]

_OF_THE_CASE = {
    "prompt": "str",
    "evalset": "str",
    "case": "str",
    "change": "str",
    "critical": "bool",
    "tags": "str",
    "group": "str",
    "known_failing": "str",
    "inputs": "str",
    "messages": "str",
    "contexts": "str",
    "expected": "str",
    "same_request": "bool",
}
_OF_THE_TRIAL = {
    "side": "str",
    "trial": "Int64",
    "text": "str",
    "tool_calls": "str",
    "retrieved": "str",
    "finish_reason": "str",
    "failure": "str",
    "passed": "boolean",
}
_OF_THE_CALL = {
    "input_tokens": "Int64",
    "output_tokens": "Int64",
    "cost": "float64",
    "latency": "float64",
    "served_model": "str",
}
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def frame(file: Path | str) -> pd.DataFrame:
    """Return every trial of the run file of `eval --out`, worst cases first.

    Raises `Refused` if it is no run file or was merged from several, `IntegrityBroken` where
    it is damaged.
    """
    with stream_file(Path(file)) as (report, cases):
        return pd.concat(list(frames(report, cases)), ignore_index=True)


def frames(report: Report, cases: CaseStream) -> Iterator[pd.DataFrame]:
    """Yield the trials of `cases`, a table at a time; at least one, which may be empty."""
    types = columns(report)
    rows: list[Row] = []
    size = made = 0
    for row in chain.from_iterable(map(_rows, cases.worst_first)):
        rows.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(rows) == ROWS or size > CHARACTERS:
            yield _table(rows, types)
            rows, size, made = [], 0, made + 1
    if rows or not made:
        yield _table(rows, types)


def columns(report: Report) -> Mapping[str, str]:
    """Return the type of every column, in order: two for each scorer's label in `report`."""
    evalsets = (evalset for prompt in report.prompts for evalset in prompt.evalsets)
    known = dict.fromkeys(metric.label for evalset in evalsets for metric in evalset.metrics)
    labels = [label for label in known if label != PASS_METRIC]
    scores = {f"score.{label}": "float64" for label in labels}
    reasons = {f"reason.{label}": "str" for label in labels}
    return {**_OF_THE_CASE, **_OF_THE_TRIAL, **scores, **reasons, **_OF_THE_CALL}


def _table(rows: list[Row], types: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=kind)
            for name, kind in types.items()
        }
    )


def _rows(record: ShownCase) -> Iterator[Row]:
    of_case = {
        "prompt": record.prompt,
        "evalset": record.evalset,
        "case": _storable(record.case),
        "change": record.change,
        "critical": record.critical,
        "tags": _listed(record.tags),
        "group": _text(record.group),
        "known_failing": _text(record.known_failing),
        "inputs": _json(record.inputs),
        "messages": None if record.messages is None else _json(record.messages),
        "contexts": _listed(record.contexts),
        "expected": _expected(record.expected),
        "same_request": record.identical,
    }
    measured = False
    for side, trials in (("candidate", record.candidate), ("baseline", record.baseline)):
        for row in _trials(side, trials):
            measured = True
            yield {**of_case, **row}
    if not measured:
        yield of_case


def _trials(name: str, side: ShownSide | None) -> Iterator[Row]:
    """Yield trials, numbered from 1; those that confirm a judge are a side of their own."""
    trials = () if side is None else side.trials
    for confirming in (False, True):
        alike: Iterable[ShownTrial] = (trial for trial in trials if trial.confirming == confirming)
        for number, trial in enumerate(alike, start=1):
            yield {"side": "confirming" if confirming else name, "trial": number, **_trial(trial)}


def _trial(trial: ShownTrial) -> Row:
    return {
        "text": _text(trial.text),
        "tool_calls": None if trial.tool_calls is None else _json(trial.tool_calls),
        "retrieved": None if trial.contexts is None else _json(trial.contexts),
        "finish_reason": _text(trial.finish_reason),
        "failure": _text(trial.failure),
        "passed": _passed(trial),
        **{f"score.{score.label}": score.value for score in trial.scores},
        **{f"reason.{score.label}": _storable(score.reason) or None for score in trial.scores},
        "input_tokens": trial.input_tokens,
        "output_tokens": trial.output_tokens,
        "cost": trial.cost,
        "latency": trial.latency,
        "served_model": _text(trial.served_model),
    }


def _passed(trial: ShownTrial) -> bool | None:
    """Whether it passed; None if that was not measured, which is neither."""
    counted = [score.passed for score in trial.scores if not score.advisory]
    if trial.failure is not None:
        return None
    if False in counted:
        return False
    return None if None in counted else True


def _expected(value: Json) -> str | None:
    """Return a text as it is, so that it can be compared with answers; anything else as JSON."""
    if value is None or isinstance(value, str):
        return _text(value)
    return _json(value)


def _listed(values: tuple[str, ...]) -> str | None:
    return _json(values) if values else None


def _json(value: object) -> str:
    return _storable(json.dumps(value, ensure_ascii=False, sort_keys=True))


def _text(text: str | None) -> str | None:
    return None if text is None else _storable(text)


def _storable(text: str) -> str:
    r"""Return `text` with every half of a surrogate pair, which no table can hold, as `\ud83d`."""
    return (
        text if text.isascii() else _HALF_A_PAIR.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    )
