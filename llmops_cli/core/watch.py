"""What is watched in production: where the traces are, and the alarms with their options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DAY = 24
"""Hours."""
WEEK = 7 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm with its options."""

    name: str
    max: float = math.inf
    """Of errors and hallucination a share, of first_token seconds."""
    min: float = 0.0
    times: float = math.inf
    growth: float = 0.0
    drop: float = 0.0
    over: int = 0
    """Hours of its baseline; 0: its line is absolute."""
    without: Sequence[str] = ()
    """Kinds of errors that do not count."""
    scorer: str = ""
    sample: int = 0
    """Calls that the scorer judges in an hour."""
    default: bool = False
    """Nobody asked for it: where its data are missing, that is not a failure."""


DEFAULT_ALARMS: Mapping[str, Alarm] = {
    alarm.name: alarm
    for alarm in (
        Alarm(name="first_token", times=2.0, max=3.0, over=WEEK, default=True),
        Alarm(name="cost", growth=0.20, over=WEEK, default=True),
        Alarm(name="hallucination", scorer="faithfulness", max=0.05, sample=50, default=True),
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
