"""Reads `watch:` of llmops.yaml: where an environment's traces are, and its alarms.

Alarms have three spellings, like rules: `errors` · `{errors: off}` · `{errors: {max: 0.02}}`. Those
that are not named keep their defaults.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import filterfalse
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from llmops_cli.core.errors import suggestion
from llmops_cli.core.globs import is_plain
from llmops_cli.core.watch import DAY, DEFAULT_ALARMS, WEEK, Alarm, SpanNames, WatchSettings
from llmops_cli.project.paths import Problems
from llmops_cli.project.schema import Text, Where, Written, validated

_UNITS = {"h": 1, "d": DAY, "w": WEEK}


def _hours(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,3}[hdw]", text):
        raise ValueError("must be a time such as 12h, 7d or 4w")
    return text


Hours = Annotated[str, AfterValidator(_hours)]
Share = Annotated[float, Field(gt=0, lt=1)]


class _FirstToken(Written):
    times: Annotated[float, Field(gt=1)] | None = None
    max: Annotated[float, Field(gt=0)] | None = None
    over: Hours | None = None


class _Cost(Written):
    growth: Annotated[float, Field(gt=0)] | None = None
    over: Hours | None = None


class _Satisfaction(Written):
    drop: Share | None = None
    over: Hours | None = None


class _Errors(Written):
    max: Share | None = None
    without: list[Text] | None = None


class _CacheHits(Written):
    min: Share | None = None


class _Context(Written):
    p90: Hours | None = Field(default=None, description="Time that the p90 is taken from")


_OPTIONS: Mapping[str, type[Written]] = {
    "first_token": _FirstToken,
    "cost": _Cost,
    "satisfaction": _Satisfaction,
    "errors": _Errors,
    "cache_hits": _CacheHits,
    "context": _Context,
}


class _Source(Written):
    otlp: Text | list[Text] | None = Field(
        default=None, description="OTLP JSON lines or protobuf, also of Phoenix"
    )
    langfuse: Text | list[Text] | None = Field(default=None, description="Exported observations")


class _FalseAlarms(Written):
    one_in: Hours = "4w"


class WrittenWatch(Written):
    """What is watched of one environment."""

    source: Text | list[Text] | _Source = Field(description="Globs of trace files")
    version: Text | None = Field(default=None, description="The span attribute of the version")
    feedback: Text | None = Field(default=None, description="The span attribute of feedback")
    cache_hit: Text | None = None
    cost: Text | None = None
    route: Text | None = None
    false_alarms: _FalseAlarms = Field(default_factory=_FalseAlarms)
    alarms: list[Any] = Field(default_factory=list)


def read_watch(
    written: Mapping[str, Any], environments: Collection[str], where: Where, problems: Problems
) -> dict[str, WatchSettings]:
    """Return what is watched, by environment; problems are added, and their part left out."""
    watched: dict[str, WatchSettings] = {}
    for name, entry in written.items():
        if name not in environments:
            hint = suggestion(name, sorted(environments))
            problems.add(where("watch", name), f"unknown environment '{name}'", hint)
        shape = validated(WrittenWatch, entry, where, problems, "watch", name)
        if shape is None:
            continue
        for glob in filterfalse(is_plain, _globs(shape.source)):
            hint = "`llmops traces add FILE` reads files elsewhere"
            message = f"'{glob}' could leave the project: use a path below it"
            problems.add(where("watch", name, "source"), message, hint)
        alarms = dict(DEFAULT_ALARMS)
        for position, item in enumerate(shape.alarms):
            place = ("watch", name, "alarms", position)
            for alarm_name, alarm in _alarm(item, where, problems, *place):
                alarms.pop(alarm_name)
                if alarm is not None:
                    alarms[alarm_name] = alarm
        names = {field: getattr(shape, field) for field in SpanNames.__dataclass_fields__}
        watched[name] = WatchSettings(
            environment=name,
            sources=tuple(_globs(shape.source)),
            names=SpanNames(**{field: text for field, text in names.items() if text}),
            false_alarms=_in_hours(shape.false_alarms.one_in),
            alarms=tuple(alarms[alarm] for alarm in DEFAULT_ALARMS if alarm in alarms),
        )
    return watched


def _alarm(
    written: Any, where: Where, problems: Problems, *at: str | int
) -> Iterator[tuple[str, Alarm | None]]:
    """Yield the name and the alarm, or None where it is off; nothing where it is not one."""
    name: Any = written
    options: Any = {}
    if isinstance(written, dict) and len(written) == 1:
        ((name, options),) = written.items()
    if not isinstance(name, str):
        problems.add(where(*at), "not an alarm", "write `name`, `name: off` or `name: {options}`")
        return
    if name not in _OPTIONS:
        problems.add(where(*at), f"unknown alarm '{name}'", suggestion(name, list(_OPTIONS)))
        return
    if options in (False, "off"):
        yield name, None
        return
    shape = validated(_OPTIONS[name], options or {}, where, problems, *at, name)
    if shape is None:
        return
    changes = shape.model_dump(exclude_unset=True, exclude_none=True)
    if "p90" in changes:
        changes["over"] = changes.pop("p90")
    if "over" in changes:
        changes["over"] = _in_hours(changes["over"])
    yield name, replace(DEFAULT_ALARMS[name], **changes, default=False)


def _globs(source: str | list[str] | _Source) -> Iterator[str]:
    if isinstance(source, _Source):
        for globs in (source.otlp, source.langfuse):
            yield from _globs(globs or [])
    else:
        yield from [source] if isinstance(source, str) else source


def _in_hours(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]
