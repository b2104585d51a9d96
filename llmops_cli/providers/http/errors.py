"""What a stranger's JSON says: parsed without trust, its counts and arguments as they can be kept.

No client is needed here, so recorded answers are read by the same rules as those of a server.

Reads what servers say about waiting: `Retry-After` in all its forms, and the reset headers.

What a server says went wrong, in any of the shapes in which servers say it.

OpenAI's `{"error": {…}}` is one of them. Others nest nothing (`{"object": "error", …}`), wrap the
object in a list, put a plain text under `error`, or answer as their web framework does
(`{"detail": …}`). docs/servers.md lists who does what.

What went wrong between us and a model server: its kind, and one sentence that says what to do.

Two tables give every status and every exception of the transport its place; tests hold them
against the SDKs and the transport. A message names the URL, the proxy or the variable to look at,
never a password.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeAlias, cast
from urllib.parse import urlsplit

import aiohttp

from llmops_cli.core.digest import Json
from llmops_cli.core.result import Failure, FailureKind

MOST_TOKENS = 10**12
"""No call has so many: a count beyond it is none, and no sum, price or rate is made of it."""


def parsed(raw: bytes) -> Json:
    """The JSON in `raw`, a byte order mark passed over; None for what is no JSON."""
    try:
        return cast("Json", json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number))
    except (ValueError, RecursionError):
        return None


def arguments(text: object) -> Json:
    """A tool call's arguments parsed from JSON; the text itself where it is none."""
    if not isinstance(text, str):
        return cast("Json", text)
    try:
        return cast("Json", json.loads(text, parse_constant=_no_number))
    except (ValueError, RecursionError):
        return text


def count(value: object) -> int | None:
    """A token count as servers report it; None for what is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None


def unusable(what: str) -> Failure:
    """An answer that is JSON but not what the API promises."""
    return unreadable(f"the answer is not a whole one: {what}")


def unreadable(message: str) -> Failure:
    """An answer that says nothing that can be used; another may."""
    return Failure(kind=FailureKind.BAD_ANSWER, message=message, status=200, retryable=True)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


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


FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""Codes of a prompt that a filter stopped before the model saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """An error body, read."""

    words: str = ""
    """What the server says, in one line; "" where it says nothing that can be read."""
    status: int | None = None
    """The status that its code or type goes with."""
    wait: float | None = None
    """Seconds after which it wants to be asked again."""
    filtered: bool = False
    """A content filter stopped the prompt."""


def complaint(parsed: Json) -> Complaint | None:
    """What `parsed` complains of; None where it is no error, whatever its HTTP status.

    An `error` without a word in it is none: some gateways put an empty one beside good answers.
    """
    if isinstance(parsed, Sequence) and not isinstance(parsed, str):
        return complaint(parsed[0]) if parsed and isinstance(parsed[0], Mapping) else None
    if not isinstance(parsed, Mapping):
        return None
    error = parsed.get("error")
    if isinstance(error, Mapping):
        return _read(error) if any(error.get(key) for key in _TELLING) else None
    if isinstance(error, str) and error:
        return _read({**parsed, "message": error, "type": parsed.get("error_type")})
    if parsed.get("object") == "error" or parsed.get("status") == "failure":
        return _read(parsed)
    return None


def refusal(parsed: Json) -> Complaint:
    """What the body of an error status says: as `complaint`, and in the words of frameworks."""
    found = complaint(parsed)
    if found is None and isinstance(parsed, Mapping):
        found = _read({**parsed, "message": parsed.get("detail") or parsed.get("message")})
    return found or Complaint()


_TELLING = ("message", "code", "type", "status")


def _read(error: Mapping[str, Json]) -> Complaint:
    names = (error.get("code"), error.get("type"))
    return Complaint(
        words=_words(error.get("message"))[:SHOWN],
        status=next(filter(None, map(_status, names)), None),
        wait=_wait(error.get("details")),
        filtered=_filtered(error, names),
    )


def _filtered(error: Mapping[str, Json], names: Sequence[Json]) -> bool:
    """Azure says so by its code, LiteLLM by the name of its exception, OpenRouter by reasons."""
    if any(isinstance(name, str) and name in FILTERED for name in names):
        return True
    metadata = error.get("metadata")
    flagged = isinstance(metadata, Mapping) and "reasons" in metadata
    return flagged or "ContentPolicyViolationError" in _words(error.get("message"))


def _words(said: Json) -> str:
    """A text in one line; of FastAPI's list of problems, what is wrong with which field."""
    if isinstance(said, str):
        return " ".join(said.split())
    if isinstance(said, Sequence):
        return "; ".join(filter(None, map(_problem, said)))
    return ""


def _problem(each: Json) -> str:
    if not isinstance(each, Mapping):
        return _words(each)
    place = each.get("loc")
    where = ".".join(str(part) for part in place) if isinstance(place, list) else ""
    return f"{where}: {each.get('msg')}" if where else str(each.get("msg", ""))


def _status(name: Json) -> int | None:
    """The status that a code or type stands for."""
    if isinstance(name, int):
        return name if name in STATUSES else None
    if isinstance(name, str):
        return NAMED.get(name) or (int(name) if name.isdecimal() and len(name) == 3 else None)
    return None


def _wait(details: Json) -> float | None:
    """The wait in Google's `google.rpc.RetryInfo`, which comes in no header."""
    return next(_delays(details), None)


def _delays(details: Json) -> Iterator[float]:
    for each in details if isinstance(details, list) else ():
        delay = each.get("retryDelay") if isinstance(each, Mapping) else None
        if isinstance(delay, str) and (wait := parse_wait(delay, now=datetime.now(UTC))):
            yield wait


CONNECTING = 10.0
"""Seconds to reach a server before it counts as unreachable."""
SHOWN = 300
"""Characters of a server's own words in a message."""

Class: TypeAlias = tuple[FailureKind, bool]
"""Where it went wrong, and whether asking again may help."""

STATUSES: Mapping[int, Class] = {
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

_NEXT: Mapping[Class, str] = {
    (FailureKind.AUTHENTICATION, False): "{key}",
    (FailureKind.NOT_FOUND, False): "check `model` and `base_url` in llmops.yaml: this was {url}",
    (FailureKind.BAD_REQUEST, False): "`llmops render` shows what is sent",
    (FailureKind.RATE_LIMITED, True): "a lower `rpm` or `max_concurrency` in llmops.yaml helps",
    (FailureKind.RATE_LIMITED, False): "the quota behind the key is used up",
}
"""What to do about a refusal, where that is not simply to come back later."""


class Forbidden(aiohttp.ClientError):
    """An address that is not called; the message says which and why."""


EXCEPTIONS: Mapping[type[Exception], Class] = {
    Forbidden: (FailureKind.BAD_REQUEST, False),
    aiohttp.InvalidURL: (FailureKind.BAD_REQUEST, False),
    aiohttp.NonHttpUrlClientError: (FailureKind.BAD_REQUEST, False),
    aiohttp.ClientSSLError: (FailureKind.CONNECTION, False),
    aiohttp.ServerFingerprintMismatch: (FailureKind.CONNECTION, False),
    aiohttp.ClientHttpProxyError: (FailureKind.CONNECTION, False),
    aiohttp.ClientConnectionError: (FailureKind.CONNECTION, True),
    aiohttp.ClientPayloadError: (FailureKind.CONNECTION, True),
    aiohttp.ClientResponseError: (FailureKind.BAD_ANSWER, True),
    aiohttp.ClientError: (FailureKind.CONNECTION, True),
    ssl.SSLError: (FailureKind.CONNECTION, False),
    OSError: (FailureKind.CONNECTION, True),
}
"""The first that fits rules, here and below: narrow before wide."""

_PROXIES = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
_TLS = "TLS with {host} failed ({said}): SSL_CERT_FILE can name a private authority's certificate"

_SENTENCES: Mapping[type[Exception], str] = {
    Forbidden: "{said}",
    aiohttp.InvalidURL: "{url} is no URL: check `base_url` in llmops.yaml",
    aiohttp.ClientHttpProxyError: f"the proxy {{proxy}} answered {{said}}: {_PROXIES}",
    aiohttp.ClientProxyConnectionError: f"no proxy at {{proxy}} ({{said}}): {_PROXIES}",
    aiohttp.ClientSSLError: _TLS,
    aiohttp.ClientConnectorDNSError: "{host} is no known host ({said}): check `base_url` "
    "in llmops.yaml and the network",
    aiohttp.ClientConnectorError: "nobody answers at {url} ({said}): start the server, or check "
    "`base_url` in llmops.yaml",
    aiohttp.ConnectionTimeoutError: f"{{host}} was not reached within {CONNECTING:g} s: check "
    "`base_url` in llmops.yaml, the network and the proxy",
    aiohttp.ServerDisconnectedError: "{host} closed the connection before it answered",
    aiohttp.ClientPayloadError: "the answer of {host} was cut off",
    aiohttp.ClientResponseError: "{url} does not answer in HTTP ({said}): check `base_url` "
    "in llmops.yaml",
    ssl.SSLError: _TLS,
    Exception: "the connection with {host} failed ({said})",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where calls go, as far as a sentence about one must know it."""

    url: str
    proxy: str | None = None
    about_key: str = "check the key"
    """What to do where the key is refused."""

    def told(self, sentence: str, said: str = "") -> str:
        """`sentence` with its places filled in."""
        return sentence.format(
            url=_without_password(self.url),
            host=_without_password(self.url, whole=False),
            proxy=_without_password(self.proxy or "", whole=False),
            key=self.about_key,
            said=" ".join(said.split())[:SHOWN],
        )


def translated(error: Exception, endpoint: Endpoint) -> Failure:
    """The failure that a transport's exception stands for."""
    kind, retryable = next(each for known, each in EXCEPTIONS.items() if isinstance(error, known))
    sentence = next(each for known, each in _SENTENCES.items() if isinstance(error, known))
    return Failure(kind=kind, message=endpoint.told(sentence, _said(error)), retryable=retryable)


def refused(
    status: int, words: str, endpoint: Endpoint, *, named: int | None, wait: float | None
) -> Failure:
    """The failure that an error answer stands for.

    `named`: the status that the body's error type goes with; it rules at 200 and 429. `wait`:
    seconds that the server asked for.
    """
    meant = named if named is not None and status in {200, 429} else status
    fallback = (FailureKind.SERVER, True) if meant >= 500 else (FailureKind.BAD_REQUEST, False)
    kind, retryable = STATUSES.get(meant, fallback)
    advice = _PROXIES if status == 407 else endpoint.told(_NEXT.get((kind, retryable), ""))
    message = f"the server answered {status}" + (f": {words}" if words else "")
    return Failure(
        kind=kind,
        message=f"{message} ({advice})" if advice else message,
        status=status,
        retryable=retryable,
        retry_after=wait,
    )


def _said(error: Exception) -> str:
    """An exception's own words, without the URLs that some of them repeat, passwords included."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        number = cause.errno or 0
        return os.strerror(number) if number > 0 else (cause.strerror or type(cause).__name__)
    return str(cause) or type(cause).__name__


def _without_password(url: str, *, whole: bool = True) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path if whole else ''}"
