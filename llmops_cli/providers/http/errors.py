"""Turns what goes wrong with a server into a `Failure`: its kind, and what to do about it.

A message names the URL, the proxy or the variable to look at, and never contains a password. Tests
compare the table of exceptions with the transport's own, and the statuses with the SDKs'.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.providers.http.responses import SHOWN, STATUSES, ErrorClass

CONNECTING = 10.0
"""Seconds to reach a server before it counts as unreachable."""


class Forbidden(aiohttp.ClientError):
    """An address that is not called; the message says which and why."""


EXCEPTIONS: Mapping[type[Exception], ErrorClass] = {
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
"""The first that fits counts, here and below: narrow before wide."""

_PROXIES = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
_TLS = "TLS with {host} failed ({cause}): SSL_CERT_FILE can name a private authority's certificate"
_SENTENCES: Mapping[type[Exception], str] = {
    Forbidden: "{cause}",
    aiohttp.InvalidURL: "{url} is no URL: check `base_url` in llmops.yaml",
    aiohttp.ClientHttpProxyError: f"the proxy {{proxy}} answered {{cause}}: {_PROXIES}",
    aiohttp.ClientProxyConnectionError: f"no proxy at {{proxy}} ({{cause}}): {_PROXIES}",
    aiohttp.ClientSSLError: _TLS,
    aiohttp.ClientConnectorDNSError: "{host} is no known host ({cause}): check `base_url` "
    "in llmops.yaml and the network",
    aiohttp.ClientConnectorError: "no server answers at {url} ({cause}): start it, or check "
    "`base_url` in llmops.yaml",
    aiohttp.ConnectionTimeoutError: f"{{host}} was not reached within {CONNECTING:g} s: check "
    "`base_url` in llmops.yaml, the network and the proxy",
    aiohttp.ServerDisconnectedError: "{host} closed the connection before it answered",
    aiohttp.ClientPayloadError: "the answer of {host} was cut off",
    aiohttp.ClientResponseError: "{url} does not answer in HTTP ({cause}): check `base_url` "
    "in llmops.yaml",
    ssl.SSLError: _TLS,
    Exception: "the connection with {host} failed ({cause})",
}
_NEXT: Mapping[ErrorClass, str] = {
    (FailureKind.AUTHENTICATION, False): "{key}",
    (FailureKind.NOT_FOUND, False): "check `model` and `base_url` in llmops.yaml: this was {url}",
    (FailureKind.BAD_REQUEST, False): "`llmops render` shows what is sent",
    (FailureKind.RATE_LIMITED, True): "a lower `rpm` or `max_concurrency` in llmops.yaml helps",
    (FailureKind.RATE_LIMITED, False): "the quota behind the key is used up",
}
"""Advice by status, where a retry later isn't enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The URL, proxy and key variable of calls, for messages."""

    url: str
    proxy: str | None = None
    about_key: str = "check the key"
    """What to do where the key is refused."""

    def fill(self, sentence: str, cause: str = "") -> str:
        """Return `sentence` with its places filled in, without passwords."""
        return sentence.format(
            url=_without_password(self.url),
            host=_without_password(self.url, path=False),
            proxy=_without_password(self.proxy or "", path=False),
            key=self.about_key,
            cause=" ".join(cause.split())[:SHOWN],
        )

    def failure(self, error: Exception) -> Failure:
        """Return the failure that an exception of the transport stands for."""
        kind, retryable = next(row for known, row in EXCEPTIONS.items() if isinstance(error, known))
        sentence = next(text for known, text in _SENTENCES.items() if isinstance(error, known))
        message = self.fill(sentence, _cause(error))
        return Failure(kind=kind, message=message, retryable=retryable)

    def refusal(self, status: int, words: str, *, named: int | None, wait: float | None) -> Failure:
        """Return the failure that an error answer stands for.

        `named`: the status that the body's error type goes with; it counts at 200 and 429. `wait`:
        seconds that the server asked for.
        """
        meant = named if named is not None and status in {200, 429} else status
        fallback = (FailureKind.SERVER, True) if meant >= 500 else (FailureKind.BAD_REQUEST, False)
        kind, retryable = STATUSES.get(meant, fallback)
        advice = _PROXIES if status == 407 else self.fill(_NEXT.get((kind, retryable), ""))
        message = f"the server answered {status}" + (f": {words}" if words else "")
        return Failure(
            kind=kind,
            message=f"{message} ({advice})" if advice else message,
            status=status,
            retryable=retryable,
            retry_after=wait,
        )


def _cause(error: Exception) -> str:
    """Return an exception's words, without the URLs that some repeat, passwords included."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        number = cause.errno or 0
        return os.strerror(number) if number > 0 else (cause.strerror or type(cause).__name__)
    return str(cause) or type(cause).__name__


def _without_password(url: str, *, path: bool = True) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path if path else ''}"
