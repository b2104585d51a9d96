"""One case of evidence as one line of JSON: arrays over draws, nulls and defaults left out.

    {"evalset": "support", "case": "refund-7", "facts": "sha256:…", "critical": true,
     "sides": {"subject": {"request": "sha256:…",
                          "gate": {"planned": 1, "output": ["sha256:…"],
                                   "scores": {"contains": [1.0]}, "cost": [0.0002]}}}}

Lines have sorted keys and no white space, so equal rows are equal bytes. Output digests are
written in full: they are keys of the scores that later runs use again (record 0005).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from llmops_cli.core.case_result import Trial
from llmops_cli.core.digest import Json
from llmops_cli.core.release import EvidenceRow, SideTrials, Trials
from llmops_cli.stores.codec import BadRecord, failure_of, failure_record, from_bytes, to_bytes

_NUMBER = (float, int)
_COLUMNS: Mapping[str, tuple[type, ...]] = {
    "output": (str,),
    "cost": _NUMBER,
    "input_tokens": (int,),
    "output_tokens": (int,),
    "latency": _NUMBER,
    "first_token": _NUMBER,
    "served_model": (str,),
}
"""What is told of each trial, and in which types."""
_ABOUT_ROW = {
    "evalset": str,
    "case": str,
    "facts": str,
    "critical": bool,
    "group": str,
    "known_failing": str,
    "tags": list,
    "scorers": dict,
}
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_MOST_TRIALS = 10**6
_BEYOND = 2**63
_PURPOSES = ("gate", "baseline", "confirm")
_ABOUT_CASE = ("critical", "group", "known_failing")


def row_line(row: EvidenceRow) -> bytes:
    """`row` as a line, its newline included."""
    record: dict[str, Json] = {"evalset": row.evalset, "case": row.case, "facts": row.facts}
    record.update({name: given for name in _ABOUT_CASE if (given := getattr(row, name))})
    if row.tags:
        record["tags"] = list(row.tags)
    if row.scorers:
        record["scorers"] = dict(row.scorers)
    record["sides"] = {role: _side_record(side) for role, side in row.sides.items()}
    return to_bytes(record) + b"\n"


def row_of(line: bytes) -> EvidenceRow:
    """The row in `line`. Raises `BadRecord`."""
    record = from_bytes(line)
    try:
        for name, kinds in _ABOUT_ROW.items():
            if name in record and type(record[name]) is not kinds:
                raise BadRecord(f"{name} is {record[name]!r}")
        sides = {role: _side_of(side) for role, side in record.pop("sides").items()}
        _demand_digest(record["facts"])
        return EvidenceRow(tags=tuple(record.pop("tags", ())), sides=sides, **record)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise BadRecord(f"not a row of evidence: {error!r}") from error


def _side_record(side: SideTrials) -> dict[str, Json]:
    record: dict[str, Json] = {"request": side.request}
    for purpose in _PURPOSES:
        trials: Trials | None = getattr(side, purpose)
        if trials is not None:
            record[purpose] = _trials_record(trials)
    return record


def _side_of(record: Mapping[str, Any]) -> SideTrials:
    if unknown := set(record) - {"request", *_PURPOSES}:
        raise BadRecord(f"unknown field {min(unknown)!r} in a side")
    _demand_digest(record["request"])
    given = {name: _trials_of(record[name]) for name in _PURPOSES if name in record}
    return SideTrials(request=record["request"], **given)


def _trials_record(trials: Trials) -> dict[str, Json]:
    made = trials.made
    record: dict[str, Json] = {"planned": trials.planned}
    for name in _COLUMNS:
        column = [_short(getattr(each, name)) for each in made]
        if any(value is not None for value in column):
            record[name] = column
    if any(each.failure is not None for each in made):
        record["failure"] = [
            None if each.failure is None else failure_record(each.failure) for each in made
        ]
    if any(each.finish_reason != _usual_finish(each.output) for each in made):
        record["finish_reason"] = [each.finish_reason for each in made]
    labels = list(dict.fromkeys(label for each in made for label in each.scores))
    if labels:
        record["scores"] = {label: [each.scores.get(label) for each in made] for label in labels}
    if any(each.unscored for each in made):
        record["unscored"] = [dict(each.unscored) for each in made]
    record["n"] = len(made)
    return record


def _short(value: Json) -> Json:
    """Seconds and dollars to nine decimals: what a clock says beyond that is noise to keep."""
    return round(value, 9) if isinstance(value, float) else value


def _trials_of(record: Mapping[str, Any]) -> Trials:
    count, planned = record["n"], record["planned"]
    if not (_is_count(count) and _is_count(planned)):
        raise BadRecord(f"{count!r} draws of {planned!r}")
    known = {"planned", "n", "failure", "finish_reason", "scores", "unscored", *_COLUMNS}
    if unknown := set(record) - known:
        raise BadRecord(f"unknown field {min(unknown)!r} in draws")
    columns = {name: _column(record, name, count, kinds) for name, kinds in _COLUMNS.items()}
    for output in columns["output"]:
        _demand_digest(output or "")
    failures = _column(record, "failure", count, (dict,))
    outputs = columns["output"]
    finish = (
        _column(record, "finish_reason", count, (str,))
        if "finish_reason" in record
        else [_usual_finish(output) for output in outputs]
    )
    unscored = _column(record, "unscored", count, (dict,), default={})
    given = record.get("scores", {})
    marks = {label: _column(given, label, count, _NUMBER) for label in given}
    made = tuple(
        Trial(
            failure=failures[at] and failure_of(failures[at]),
            finish_reason=finish[at],
            scores={label: column[at] for label, column in marks.items()},
            unscored=unscored[at],
            **{name: column[at] for name, column in columns.items()},
        )
        for at in range(count)
    )
    return Trials(planned=planned, made=made)


def _column(
    record: Mapping[str, Any],
    name: str,
    count: int,
    kinds: Sequence[type],
    default: Json = None,
) -> Sequence[Any]:
    """The values of `name` draw by draw, each of one of `kinds` and, if a number, finite."""
    column: Sequence[Any] = record.get(name) or [default] * count
    if not isinstance(column, list):
        raise BadRecord(f"{name} is {column!r}")
    if len(column) != count:
        raise BadRecord(f"{name} holds {len(column)} values for {count} draws")
    for value in column:
        if value is default:
            continue
        if type(value) not in kinds or not _is_finite(value):
            raise BadRecord(f"{name} is {value!r}")
    return column


def _demand_digest(text: object) -> None:
    """Digests are keys of the store; a case that only the baseline has is about nothing, ``."""
    if text != "" and not (isinstance(text, str) and _DIGEST.fullmatch(text)):
        raise BadRecord(f"{text!r} is no digest")


def _is_finite(value: object) -> bool:
    """Not NaN, not infinite, and no integer beyond what arrays hold."""
    if type(value) is int:
        return abs(value) < _BEYOND
    return type(value) is not float or isfinite(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TRIALS


def _usual_finish(output: str | None) -> str | None:
    return None if output is None else "stop"
