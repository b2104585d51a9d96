"""Reads what servers say about waiting: `Retry-After` in all its forms, and the reset headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 366 * 86400.0
"""Seconds; a longer wait is no other one, and a number that no file can hold is none."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_EPOCH = 1_000_000_000
"""A bare number this large is a point in time, not a wait."""
_RESETS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that a response asks to wait; None where it does not say, or says nonsense.

    `headers`: a mapping that finds lower-case names. `now`: the time by the clock that its dates
    are of, the server's. `Retry-After` rules; without it the longest wait among the reset headers
    whose limit is used up (or of unknown rest).
    """
    now = now or datetime.now(UTC)
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None and _NUMBER.fullmatch(milliseconds.strip()):
        return min(LONGEST, float(milliseconds) / 1000)
    said = headers.get("retry-after")
    if said is not None:
        wait = parse_wait(said, now=now)
        if wait is not None:
            return wait
    waits = [
        wait
        for remaining, reset in _RESETS
        if (value := headers.get(reset)) is not None
        and _used_up(headers.get(remaining))
        and (wait := parse_wait(value, now=now)) is not None
    ]
    return max(waits, default=None)


def parse_wait(text: str, *, now: datetime) -> float | None:
    """Seconds from any form in which servers write a wait; None for what is none.

    Seconds (`7`, `1.5`), durations (`1m30s`, `250ms`), an HTTP date (RFC 9110 §5.6.7), an ISO 8601
    time, seconds since 1970. A negative number is ignored; a time that has passed is 0; nothing is
    longer than `LONGEST`.
    """
    wait = _seconds(text.strip(), now)
    return None if wait is None else min(LONGEST, wait)


def _seconds(text: str, now: datetime) -> float | None:
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        return max(0.0, seconds - now.timestamp()) if seconds >= _EPOCH else seconds
    if _DURATION.fullmatch(text):
        return sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    until = moment(text)
    return None if until is None else max(0.0, (until - now).total_seconds())


def moment(text: str) -> datetime | None:
    """The time that `text` is, by ISO 8601 or as an HTTP date; None for what is none."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(text)
        except (ValueError, OverflowError):
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def _used_up(remaining: str | None) -> bool:
    return remaining is None or remaining.strip() in {"", "0"}
