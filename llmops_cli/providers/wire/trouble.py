"""What went wrong between us and a model server: its kind, and one sentence that says what to do.

Two tables give every status and every exception of the transport its place; tests hold them
against the SDKs and the transport. A message names the URL, the proxy or the variable to look at,
never a password.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp

from llmops_cli.core.result import Failure, FailureKind

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
