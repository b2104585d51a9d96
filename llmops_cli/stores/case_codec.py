"""The result of one case as one JSON object: arrays over its trials, nulls and defaults left out.

    {"evalset": "support", "case": "refund-7", "facts": "sha256:…", "critical": true,
     "sides": {"candidate": {"request": "sha256:…", "planned": 1, "n": 1,
                             "output": ["sha256:…"], "scores": {"contains": [1.0]},
                             "cost": [0.0002]}}}

Evidence holds the measured values; a run file also holds the case's inputs and the scorers'
explanations. Texts are stored apart from it, by output digest. Output digests are written in full,
because they are keys of the scores that later runs use again (record 0005).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from llmops_cli.core.digest import InvalidRecord, Json
from llmops_cli.core.result import BASELINE, CANDIDATE, CaseResult, SideResult, Trial
from llmops_cli.stores.codec import failure_of, failure_record

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
"""Fields of `Trial` that are written as they are, with the types that may be read."""
_CASE_FIELDS: Mapping[str, type] = {
    "evalset": str,
    "case": str,
    "critical": bool,
    "group": str,
    "known_failing": str,
    "tags": list,
    "scorers": dict,
}
_DETAIL_FIELDS: Mapping[str, type] = {
    "prompt": str,
    "position": int,
    "inputs": dict,
    "expected": object,
    "contexts": list,
    "messages": list,
}
"""Additional fields in a run file, for reports."""
_TRIAL_FIELDS = {"planned", "n", "failure", "finish_reason", "scores", "reasons", *_COLUMNS}
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_MOST_TRIALS = 10**6
_BEYOND = 2**63


def case_record(case: CaseResult, *, details: bool) -> dict[str, Json]:
    """Return `case` as plain JSON.

    With `details`, inputs and the explanations of all scores; without them, only why a score is
    missing.
    """
    record: dict[str, Json] = {"case": case.case, "facts": case.facts}
    for name in (*_CASE_FIELDS, *(_DETAIL_FIELDS if details else ())):
        value = getattr(case, name)
        if value or (name == "expected" and value is not None):
            record[name] = list(value) if isinstance(value, tuple) else value
    record["sides"] = {
        role: _side_record(side, details=details) for role, side in case.sides.items()
    }
    return record


def case_of(record: dict[str, Any]) -> CaseResult:
    """Return the case that `record` holds. Raises `InvalidRecord`."""
    try:
        values = dict(record)
        for name, kind in {**_CASE_FIELDS, **_DETAIL_FIELDS}.items():
            if name in values and kind is not object and type(values[name]) is not kind:
                raise InvalidRecord(f"{name} is {values[name]!r}")
        facts = values.pop("facts")
        _demand_digest(facts)
        sides = {role: _side_of(side, facts) for role, side in values.pop("sides").items()}
        for name in ("tags", "contexts"):
            values[name] = tuple(values.get(name, ()))
        return CaseResult(
            candidate=sides.pop(CANDIDATE, None),
            baseline=sides.pop(BASELINE, None),
            others=sides,
            **values,
        )
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise InvalidRecord(f"not the result of a case: {error!r}") from error


def _side_record(side: SideResult, *, details: bool) -> dict[str, Json]:
    record = {
        "request": side.request,
        **_trials_record(side.planned, side.trials, details=details),
    }
    if side.confirm:
        record["confirm"] = _trials_record(len(side.confirm), side.confirm, details=details)
    return record


def _side_of(record: Mapping[str, Any], facts: str) -> SideResult:
    _demand_digest(record["request"])
    confirm = record.get("confirm")
    return SideResult(
        request=record["request"],
        facts=facts,
        planned=_count(record["planned"]),
        trials=_trials_of(record, beside={"request", "confirm"}),
        confirm=() if confirm is None else _trials_of(confirm),
    )


def _trials_record(planned: int, trials: Sequence[Trial], *, details: bool) -> dict[str, Json]:
    record: dict[str, Json] = {"planned": planned, "n": len(trials)}
    for name in _COLUMNS:
        column = [getattr(trial, name) for trial in trials]
        if not details:  # evidence is committed: what a clock says beyond this is noise
            column = [round(value, 9) if isinstance(value, float) else value for value in column]
        if any(value is not None for value in column):
            record[name] = column
    if any(trial.failure is not None for trial in trials):
        record["failure"] = [
            None if trial.failure is None else failure_record(trial.failure) for trial in trials
        ]
    if any(trial.finish_reason != _usual_finish(trial.output) for trial in trials):
        record["finish_reason"] = [trial.finish_reason for trial in trials]
    labels = list(dict.fromkeys(label for trial in trials for label in trial.scores))
    if labels:
        record["scores"] = {
            label: [trial.scores.get(label) for trial in trials] for label in labels
        }
    reasons = [_reasons(trial, details=details) for trial in trials]
    if any(reasons):
        record["reasons"] = reasons
    return record


def _reasons(trial: Trial, *, details: bool) -> dict[str, Json]:
    return {
        label: reason
        for label, reason in trial.reasons.items()
        if reason and (details or trial.scores.get(label) is None)
    }


def _trials_of(record: Mapping[str, Any], beside: set[str] | None = None) -> tuple[Trial, ...]:
    count = _count(record["n"])
    if unknown := set(record) - _TRIAL_FIELDS - (beside or set()):
        raise InvalidRecord(f"unknown field {min(unknown)!r} in a side")
    columns = {name: _column(record, name, count, kinds) for name, kinds in _COLUMNS.items()}
    outputs = columns["output"]
    for output in outputs:
        _demand_digest(output or "")
    failures = _column(record, "failure", count, (dict,))
    finish = [_usual_finish(output) for output in outputs]
    if "finish_reason" in record:
        finish = [*_column(record, "finish_reason", count, (str,))]
    reasons = _column(record, "reasons", count, (dict,), default={})
    labels = record.get("scores", {})
    scores = {label: _column(labels, label, count, _NUMBER) for label in labels}
    return tuple(
        Trial(
            failure=failures[at] and failure_of(failures[at]),
            finish_reason=finish[at],
            scores={label: column[at] for label, column in scores.items()},
            reasons=reasons[at],
            **{name: column[at] for name, column in columns.items()},
        )
        for at in range(count)
    )


def _column(
    record: Mapping[str, Any],
    name: str,
    count: int,
    kinds: Sequence[type],
    default: Json = None,
) -> Sequence[Any]:
    """Return `name` trial by trial: values of one of `kinds` and, if numbers, finite."""
    column: Sequence[Any] = record.get(name) or [default] * count
    if not isinstance(column, list):
        raise InvalidRecord(f"{name} is {column!r}")
    if len(column) != count:
        raise InvalidRecord(f"{name} holds {len(column)} values for {count} trials")
    for value in column:
        if value is default:
            continue
        if type(value) not in kinds or not _is_finite(value):
            raise InvalidRecord(f"{name} is {value!r}")
    return column


def _demand_digest(text: object) -> None:
    """Digests are keys of the store; a case that only the baseline has is about nothing, ``."""
    if text != "" and not (isinstance(text, str) and _DIGEST.fullmatch(text)):
        raise InvalidRecord(f"{text!r} is no digest")


def _is_finite(value: object) -> bool:
    """Not NaN, not infinite, and no integer beyond what arrays hold."""
    if type(value) is int:
        return abs(value) < _BEYOND
    return type(value) is not float or isfinite(value)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_TRIALS:
        raise InvalidRecord(f"{value!r} is no number of trials")
    return value


def _usual_finish(output: str | None) -> str | None:
    return None if output is None else "stop"
