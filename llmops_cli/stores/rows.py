"""One case of evidence as one line of JSON: arrays over draws, nulls and defaults left out.

    {"evalset": "support", "case": "refund-7", "facts": "sha256:…", "critical": true,
     "arms": {"subject": {"request": "sha256:…",
                          "gate": {"planned": 1, "output": ["sha256:…"],
                                   "scores": {"contains": [1.0]}, "cost": [0.0002]}}}}

Lines have sorted keys and no white space, so equal rows are equal bytes. Output digests are
written in full: they are keys of the scores that later runs use again (record 0005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_cli.core.digest import Json
from llmops_cli.core.release import ArmDraws, Draws, EvidenceRow
from llmops_cli.core.row import Draw
from llmops_cli.stores.records import BadRecord, failure_of, failure_record, from_bytes, to_bytes

_COLUMNS = (
    "output",
    "cost",
    "input_tokens",
    "output_tokens",
    "latency",
    "first_token",
    "served_model",
)
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
    record["arms"] = {role: _arm_record(arm) for role, arm in row.arms.items()}
    return to_bytes(record) + b"\n"


def row_of(line: bytes) -> EvidenceRow:
    """The row in `line`. Raises `BadRecord`."""
    record = from_bytes(line)
    try:
        arms = {role: _arm_of(arm) for role, arm in record.pop("arms").items()}
        return EvidenceRow(tags=tuple(record.pop("tags", ())), arms=arms, **record)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise BadRecord(f"not a row of evidence: {error!r}") from error


def _arm_record(arm: ArmDraws) -> dict[str, Json]:
    record: dict[str, Json] = {"request": arm.request}
    for purpose in _PURPOSES:
        draws: Draws | None = getattr(arm, purpose)
        if draws is not None:
            record[purpose] = _draws_record(draws)
    return record


def _arm_of(record: Mapping[str, Any]) -> ArmDraws:
    if unknown := set(record) - {"request", *_PURPOSES}:
        raise BadRecord(f"unknown field {min(unknown)!r} in an arm")
    given = {name: _draws_of(record[name]) for name in _PURPOSES if name in record}
    return ArmDraws(request=record["request"], **given)


def _draws_record(draws: Draws) -> dict[str, Json]:
    made = draws.made
    record: dict[str, Json] = {"planned": draws.planned}
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


def _draws_of(record: Mapping[str, Any]) -> Draws:
    count = record["n"]
    known = {"planned", "n", "failure", "finish_reason", "scores", "unscored", *_COLUMNS}
    if unknown := set(record) - known:
        raise BadRecord(f"unknown field {min(unknown)!r} in draws")
    columns = {name: _column(record, name, count) for name in _COLUMNS}
    failures = _column(record, "failure", count)
    outputs = columns["output"]
    finish = (
        _column(record, "finish_reason", count)
        if "finish_reason" in record
        else [_usual_finish(output) for output in outputs]
    )
    unscored = record.get("unscored") or [{}] * count
    marks = record.get("scores", {})
    made = tuple(
        Draw(
            failure=failures[at] and failure_of(failures[at]),
            finish_reason=finish[at],
            scores={label: column[at] for label, column in marks.items()},
            unscored=unscored[at],
            **{name: column[at] for name, column in columns.items()},
        )
        for at in range(count)
    )
    return Draws(planned=record["planned"], made=made)


def _column(record: Mapping[str, Any], name: str, count: int) -> Sequence[Any]:
    column: Sequence[Any] = record.get(name) or [None] * count
    if len(column) != count:
        raise BadRecord(f"{name} holds {len(column)} values for {count} draws")
    return column


def _usual_finish(output: str | None) -> str | None:
    return None if output is None else "stop"
