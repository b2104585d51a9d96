"""What is watched in production: where its traces are, the alarms, and what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.records import Event

DAY = 24
"""Hours."""
WEEK = 7 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm with its options."""

    name: str
    max: float = math.inf
    """Of errors a share, of first_token seconds."""
    min: float = 0.0
    times: float = math.inf
    growth: float = 0.0
    drop: float = 0.0
    over: int = 0
    """Hours of its baseline; 0: its line is absolute."""
    without: Sequence[str] = ()
    """Kinds of errors that do not count."""
    default: bool = False
    """Nobody asked for it: where its data are missing, that is not a failure."""


DEFAULT_ALARMS: Mapping[str, Alarm] = {
    alarm.name: alarm
    for alarm in (
        Alarm(name="first_token", times=2.0, max=3.0, over=WEEK, default=True),
        Alarm(name="cost", growth=0.20, over=WEEK, default=True),
        Alarm(name="satisfaction", drop=0.10, over=WEEK, default=True),
        Alarm(name="errors", max=0.01, without=("timeout",), default=True),
        Alarm(name="cache_hits", min=0.20, default=True),
        Alarm(name="context", over=30 * DAY, default=True),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanNames:
    """Attributes of spans that have no convention, by the names that a team gave them."""

    version: str = "llmops.version"
    feedback: str = "user.feedback"
    """A number from 0 to 1, true or false, or a word such as `up` and `down`."""
    cache_hit: str = "llmops.cache_hit"
    cost: str = "gen_ai.usage.cost"
    route: str = "http.route"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is watched of one environment."""

    environment: str
    sources: Sequence[str] = ()
    """Globs of trace files, relative to the project."""
    names: SpanNames = field(default_factory=SpanNames)
    false_alarms: int = 4 * WEEK
    """Hours, on average at least, between two false alarms of one alarm."""
    alarms: Sequence[Alarm] = tuple(DEFAULT_ALARMS.values())


Status = Literal["quiet", "alarm", "starting", "no data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """What an alarm says."""

    alarm: Alarm
    status: Status
    why: str = ""
    """Where it is not decided."""
    hours: Sequence[int] = ()
    """Hours since 1970 that have values, ascending."""
    means: Sequence[float] = ()
    """The mean of each of them, in the quantity's own unit."""
    counts: Sequence[int] = ()
    line: float = math.nan
    """In the unit of `means`."""
    baseline: float = math.nan
    started: int | None = None
    """The hour in which the rise most likely began."""
    rang: int | None = None
    """The hour of the alarm."""
    before: float = math.nan
    """The mean before the rise, and since."""
    since: float = math.nan
    statistic: float = 0.0
    """Of the detector, now; it rings at `threshold`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A value that became more common, or less, when an alarm began."""

    dimension: str
    """`version`, `model`, `finish`, `route` or `error`."""
    value: str
    before: float
    """Its share of the calls in the week before."""
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Somebody looked at an alarm and lets it start anew."""

    alarm: str
    hour: int
    """Since 1970: from here on it is judged again."""
    rose: int | None
    """The hour in which what was acknowledged began; None: nothing rang."""
    at: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReport:
    """An alarm with what is known about its cause."""

    state: AlarmState
    shifts: Sequence[Shift] = ()
    promotions: Sequence[Event] = ()
    """Those around its start, the latest first."""
    acknowledged: Acknowledgement | None = None

    @property
    def rollback(self) -> str | None:
        """The command that undoes the promotion; None where there was none."""
        if not self.promotions:
            return None
        event = self.promotions[0]
        return f"llmops rollback {event.prompt}@{event.environment} -m WHY"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """What `llmops watch` says about an environment."""

    environment: str
    at: str
    calls: int
    first_hour: int | None
    last_hour: int | None
    alarms: Sequence[AlarmReport]
    problems: Sequence[str]
    """Why it was not measured; empty: it was."""
    events: Sequence[Event]
    """Promotions and rollbacks since the first call."""

    @property
    def ringing(self) -> Sequence[AlarmReport]:
        """Return the alarms that ring."""
        return [alarm for alarm in self.alarms if alarm.state.status == "alarm"]

    @property
    def exit_code(self) -> ExitCode:
        """Return 1 for an alarm, 3 where it was not measured, else 0."""
        if self.ringing:
            return ExitCode.FAILED
        return ExitCode.INCOMPLETE if self.problems else ExitCode.DONE
