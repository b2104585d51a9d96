"""Read the JSON and headers of servers: answers, token counts, errors, and retry delays.

No client is needed here, so recorded answers are read by the same rules as those of a server.

Errors come in many shapes: OpenAI's `{"error": {…}}`, nothing nested (`{"object": "error", …}`), a
list, a text under `error`, or a web framework's `{"detail": …}`. docs/servers.md lists who does
what. The table of statuses is compared with the SDKs by tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeAlias, cast

from llmops_cli.core.digest import Json
from llmops_cli.core.result import Failure, FailureKind, Usage

MAX_TOKENS = 10**12
"""The most tokens of a call; a larger count is treated as missing."""


def at(value: object, *keys: str | int) -> Any:  # noqa: ANN401 - whatever a server sent
    """Return what is at `keys` of nested JSON; None where there is nothing."""
    for key in keys:
        if isinstance(key, str):
            value = value.get(key) if isinstance(value, Mapping) else None
        else:
            value = value[key] if isinstance(value, list) and key < len(value) else None
    return value


def strict_json(text: str) -> Json:
    """Return the JSON in `text`. Raises `ValueError`, also for NaN and infinity."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    return cast("Json", json.loads(text, parse_constant=refuse))


def parse_json(raw: bytes) -> Json:
    """Return the JSON in `raw`, without its byte order mark; None for what is not JSON."""
    try:
        return strict_json(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def tool_arguments(text: object) -> Json:
    """Return a tool call's arguments parsed from JSON; the text itself where it is not JSON."""
    if not isinstance(text, str):
        return cast("Json", text)
    try:
        return strict_json(text)
    except (ValueError, RecursionError):
        return text


def token_count(value: object) -> int | None:
    """Return a token count as servers report it; None for what is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MAX_TOKENS else None


def openai_usage(reported: object) -> Usage | None:
    """Return the tokens of a call as OpenAI's API counts them; None if they are not known.

    A request has tokens: 0 is a server that did not count. Where the total is more than its parts
    (Gemini, Grok), the rest was reasoning, which is paid for as output. The names of cached tokens
    are those of OpenAI, LiteLLM, DeepSeek and Moonshot.
    """
    if not isinstance(reported, Mapping):
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    input_tokens, output_tokens, total = (token_count(reported.get(name)) for name in names)
    if not input_tokens or (output_tokens is None and total is None):
        return None
    parts = reported.get("prompt_tokens_details")
    read = _first_count(
        at(parts, "cached_tokens"),
        reported.get("cache_read_input_tokens"),
        reported.get("prompt_cache_hit_tokens"),
        reported.get("cached_tokens"),
    )
    write = _first_count(
        at(parts, "cache_write_tokens"), reported.get("cache_creation_input_tokens")
    )
    return _usage(input_tokens, max(output_tokens or 0, (total or 0) - input_tokens), read, write)


def anthropic_usage(reported: object) -> Usage | None:
    """Return the tokens of a call as Anthropic's API counts them; None if they are not known.

    Cached tokens are counted beside `input_tokens` there, and are a part of `input` here.
    """
    if not isinstance(reported, Mapping):
        return None
    uncached = token_count(reported.get("input_tokens"))
    output_tokens = token_count(reported.get("output_tokens"))
    if uncached is None or output_tokens is None:
        return None
    read = _first_count(reported.get("cache_read_input_tokens"))
    write = _first_count(reported.get("cache_creation_input_tokens"))
    hour = _first_count(at(reported, "cache_creation", "ephemeral_1h_input_tokens"))
    return _usage(uncached + read + write, output_tokens, read, write, hour)


def _first_count(*values: object) -> int:
    return next((count for value in values if (count := token_count(value))), 0)


def _usage(input_tokens: int, output_tokens: int, read: int, write: int, hour: int = 0) -> Usage:
    """Return the usage with its parts limited to the total."""
    read = min(read, input_tokens)
    write = min(write, input_tokens - read)
    hour = min(hour, write)
    return Usage(
        input=input_tokens,
        output=output_tokens,
        cached_input=read,
        cache_write=write,
        cache_write_1h=hour,
    )


def incomplete(what: str) -> Failure:
    """Return the failure of an answer that is JSON but not what the API promises."""
    return unreadable(f"the answer is not a whole one: {what}")


def unreadable(message: str) -> Failure:
    """Return the failure of an unusable answer, which may be retried."""
    return Failure(kind=FailureKind.BAD_ANSWER, message=message, status=200, retryable=True)


LONGEST_WAIT = 366 * 86400.0
"""Seconds; a longer wait is cut to this, and stays a number that any file can hold."""
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
    """Return the seconds that a response asks to wait; None if it names none, or nonsense.

    `headers`: a mapping that finds lower-case names. `now`: the time by the server's clock, which
    its dates are of. `Retry-After` comes first; without it the longest wait among the reset
    headers whose limit is used up (or whose rest is not known).
    """
    now = now or datetime.now(UTC)
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None and _NUMBER.fullmatch(milliseconds.strip()):
        return min(LONGEST_WAIT, float(milliseconds) / 1000)
    named = headers.get("retry-after")
    if named is not None and (wait := parse_wait(named, now=now)) is not None:
        return wait
    waits = [
        wait
        for remaining, reset in _RESETS
        if (value := headers.get(reset)) is not None
        and (headers.get(remaining) or "").strip() in {"", "0"}
        and (wait := parse_wait(value, now=now)) is not None
    ]
    return max(waits, default=None)


def parse_wait(text: str, *, now: datetime) -> float | None:
    """Return the seconds in any form in which servers write a wait; None for what is none.

    Seconds (`7`, `1.5`), durations (`1m30s`, `250ms`), an HTTP date (RFC 9110 §5.6.7), an ISO 8601
    time, seconds since 1970. A negative number is ignored; a time that has passed is 0; nothing is
    longer than `LONGEST_WAIT`.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        seconds = max(0.0, seconds - now.timestamp()) if seconds >= _EPOCH else seconds
    elif _DURATION.fullmatch(text):
        seconds = sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    elif (until := parse_time(text)) is not None:
        seconds = max(0.0, (until - now).total_seconds())
    else:
        return None
    return min(LONGEST_WAIT, seconds)


def parse_time(text: str) -> datetime | None:
    """Return the time that `text` is, by ISO 8601 or as an HTTP date; None for what is none."""
    # It imports socket and ssl; applications that only render a prompt never come here.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = parse(text)
        except (ValueError, OverflowError):
            continue
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None


ErrorClass: TypeAlias = tuple[FailureKind, bool]
"""The kind of failure, and whether a retry may help."""

STATUSES: Mapping[int, ErrorClass] = {
    400: (FailureKind.BAD_REQUEST, False),
    401: (FailureKind.AUTHENTICATION, False),
    402: (FailureKind.RATE_LIMITED, False),  # no credit left: a quota that waiting does not fill
    403: (FailureKind.AUTHENTICATION, False),
    404: (FailureKind.NOT_FOUND, False),
    407: (FailureKind.AUTHENTICATION, False),  # a proxy's, which wants a password
    408: (FailureKind.TIMEOUT, True),
    409: (FailureKind.SERVER, True),
    412: (FailureKind.BAD_REQUEST, False),
    413: (FailureKind.BAD_REQUEST, False),
    422: (FailureKind.BAD_REQUEST, False),
    424: (FailureKind.SERVER, True),  # TGI: the model failed amid the answer
    429: (FailureKind.RATE_LIMITED, True),
    431: (FailureKind.BAD_REQUEST, False),
    499: (FailureKind.SERVER, True),
    500: (FailureKind.SERVER, True),
    501: (FailureKind.BAD_REQUEST, False),
    502: (FailureKind.SERVER, True),
    503: (FailureKind.OVERLOADED, True),
    504: (FailureKind.SERVER, True),
    529: (FailureKind.OVERLOADED, True),
}

NAMED: Mapping[str, int] = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "insufficient_quota": 402,
    "billing_hard_limit_reached": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "invalid_request_error": 400,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
    "overloaded": 529,
}
"""Error types and codes of both APIs, as the status they go with."""

FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""Codes of a prompt that a filter stopped before the model saw it."""
SHOWN = 300
"""Characters of a server's own words in a message."""
_TELLING = ("message", "code", "type", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """An error as a server describes it in JSON."""

    message: str = ""
    """In one line; "" if there is nothing readable."""
    status: int | None = None
    """The status that its code or type goes with."""
    wait: float | None = None
    """Seconds after which to retry."""
    filtered: bool = False
    """A content filter stopped the prompt."""


def error_in(answer: Json) -> ErrorBody | None:
    """Return the error that `answer` is, whatever its HTTP status; None if it is no error.

    An `error` without a word in it is none: some gateways put an empty one beside good answers.
    """
    if isinstance(answer, Sequence) and not isinstance(answer, str):
        return error_in(answer[0]) if answer and isinstance(answer[0], Mapping) else None
    if not isinstance(answer, Mapping):
        return None
    error = answer.get("error")
    if isinstance(error, Mapping):
        return _error_body(error) if any(error.get(key) for key in _TELLING) else None
    if isinstance(error, str) and error:
        return _error_body({**answer, "message": error, "type": answer.get("error_type")})
    if answer.get("object") == "error" or answer.get("status") == "failure":
        return _error_body(answer)
    return None


def error_body(answer: Json) -> ErrorBody:
    """Return what the body of an error status says: as `error_in`, and as frameworks write it."""
    error = error_in(answer)
    if error is None and isinstance(answer, Mapping):
        error = _error_body({**answer, "message": answer.get("detail") or answer.get("message")})
    return error or ErrorBody()


def _error_body(error: Mapping[str, Json]) -> ErrorBody:
    names = (error.get("code"), error.get("type"))
    message = _one_line(error.get("message"))
    filtered = (
        any(isinstance(name, str) and name in FILTERED for name in names)  # Azure
        or at(error, "metadata", "reasons") is not None  # OpenRouter
        or "ContentPolicyViolationError" in message  # LiteLLM
    )
    return ErrorBody(
        message=message[:SHOWN],
        status=next(filter(None, map(_status, names)), None),
        wait=next(_delays(error.get("details")), None),
        filtered=filtered,
    )


def _one_line(message: Json) -> str:
    """Return a text in one line; of FastAPI's list of problems, what is wrong with which field."""
    if isinstance(message, str):
        return " ".join(message.split())
    if isinstance(message, Sequence):
        return "; ".join(filter(None, map(_problem, message)))
    return ""


def _problem(problem: Json) -> str:
    if not isinstance(problem, Mapping):
        return _one_line(problem)
    place = problem.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{where}: {problem.get('msg')}" if where else str(problem.get("msg", ""))


def _status(name: Json) -> int | None:
    """Return the HTTP status that corresponds to an error code or type."""
    if isinstance(name, int):
        return name if name in STATUSES else None
    if isinstance(name, str):
        return NAMED.get(name) or (int(name) if name.isdecimal() and len(name) == 3 else None)
    return None


def _delays(details: Json) -> Iterator[float]:
    """Yield the waits in Google's `google.rpc.RetryInfo`, which comes in no header."""
    for detail in details if isinstance(details, list) else ():
        delay = at(detail, "retryDelay")
        if isinstance(delay, str) and (wait := parse_wait(delay, now=datetime.now(UTC))):
            yield wait
