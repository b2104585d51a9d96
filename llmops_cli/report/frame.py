"""The cases of a run as pandas tables: one row for each trial of each side.

Columns and their types are the same for every table of a run, so that they can be written one
after the other; a table holds as many rows as fit into a few megabytes. What is a list or an
object is JSON text. A case without trials (it was removed) is one row without a side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from llmops_cli.core.report import CaseStream, Report, ShownCase, ShownTrial
from llmops_cli.gate.comparison import PASS_METRIC
from llmops_cli.report.finished_run import stream_file

ROWS = 5_000
"""At most, in one table."""
CHARACTERS = 8_000_000
"""After which a table ends."""

Row: TypeAlias = dict[str, Any]


def _passed(trial: ShownTrial) -> bool | None:
    """Whether it passed; None if that was not measured, which is neither."""
    counted = [score.passed for score in trial.scores if not score.advisory]
    if trial.failure is not None:
        return None
    if False in counted:
        return False
    return None if None in counted else True


_OF_THE_CASE: Mapping[str, tuple[str, Callable[[ShownCase], Any]]] = {
    "prompt": ("str", lambda case: case.prompt),
    "evalset": ("str", lambda case: case.evalset),
    "case": ("str", lambda case: _text(case.case)),
    "change": ("str", lambda case: case.change),
    "critical": ("bool", lambda case: case.critical),
    "tags": ("str", lambda case: _text(case.tags or None)),
    "group": ("str", lambda case: _text(case.group)),
    "known_failing": ("str", lambda case: _text(case.known_failing)),
    "inputs": ("str", lambda case: _text(case.inputs)),
    "messages": ("str", lambda case: _text(case.messages)),
    "contexts": ("str", lambda case: _text(case.contexts or None)),
    "expected": ("str", lambda case: _text(case.expected)),
    "same_request": ("bool", lambda case: case.identical),
}
_OF_THE_TRIAL: Mapping[str, tuple[str, Callable[[ShownTrial], Any]]] = {
    "text": ("str", lambda trial: _text(trial.text)),
    "tool_calls": ("str", lambda trial: _text(trial.tool_calls)),
    "retrieved": ("str", lambda trial: _text(trial.contexts)),
    "finish_reason": ("str", lambda trial: _text(trial.finish_reason)),
    "failure": ("str", lambda trial: _text(trial.failure)),
    "passed": ("boolean", _passed),
}
_OF_THE_CALL: Mapping[str, tuple[str, Callable[[ShownTrial], Any]]] = {
    "input_tokens": ("Int64", lambda trial: trial.input_tokens),
    "output_tokens": ("Int64", lambda trial: trial.output_tokens),
    "cost": ("float64", lambda trial: trial.cost),
    "latency": ("float64", lambda trial: trial.latency),
    "served_model": ("str", lambda trial: _text(trial.served_model)),
}
"""Columns by name: their type, and where the value comes from."""
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
    case, trial, call = (
        {name: kind for name, (kind, _) in table.items()}
        for table in (_OF_THE_CASE, _OF_THE_TRIAL, _OF_THE_CALL)
    )
    return {**case, "side": "str", "trial": "Int64", **trial, **scores, **reasons, **call}


def _table(rows: list[Row], types: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=kind)
            for name, kind in types.items()
        }
    )


def _rows(case: ShownCase) -> Iterator[Row]:
    """Yield trials, numbered from 1; those that confirm a judge are a side of their own."""
    of_case = {name: read(case) for name, (_, read) in _OF_THE_CASE.items()}
    measured = False
    for name, side in (("candidate", case.candidate), ("baseline", case.baseline)):
        for confirming in (False, True):
            trials = () if side is None else side.trials
            alike = (trial for trial in trials if trial.confirming == confirming)
            for number, trial in enumerate(alike, start=1):
                measured = True
                row = {"side": "confirming" if confirming else name, "trial": number}
                yield {**of_case, **row, **_trial(trial)}
    if not measured:
        yield of_case


def _trial(trial: ShownTrial) -> Row:
    columns = {**_OF_THE_TRIAL, **_OF_THE_CALL}
    return {
        **{name: read(trial) for name, (_, read) in columns.items()},
        **{f"score.{score.label}": score.value for score in trial.scores},
        **{f"reason.{score.label}": _text(score.reason) or None for score in trial.scores},
    }


def _text(value: object) -> str | None:
    r"""Return a text as it is, so that it can be compared with answers; anything else as JSON.

    Every half of a surrogate pair, which no table can hold, is written as `\ud83d`.
    """
    if value is None:
        return None
    text = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    )
    if text.isascii():
        return text
    return _HALF_A_PAIR.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
