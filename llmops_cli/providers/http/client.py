"""Post JSON to a server and read the answer or the failure.

The SDKs spend 0.5–1.5 ms of CPU per call; this takes 0.1 (record 0004). They say where to and with
which headers, this module does the rest: one connection pool, no redirects, a cap on the decoded
body, and a `Failure` for everything that can go wrong: its kind, and what to do about it. A message
names the URL, the proxy or the variable to look at, and never contains a password. The deadline is
the engine's.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # unknown to typeshed
from weakref import WeakSet

import aiohttp
import anyio
import certifi
from aiohttp import DefaultResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from llmops_cli.core.digest import digest_bytes, short
from llmops_cli.core.errors import Refused
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.http.addresses import forbidden, wrong_address
from llmops_cli.providers.http.responses import (
    SHOWN,
    STATUSES,
    ErrorBody,
    ErrorClass,
    error_body,
    error_in,
    incomplete,
    parse_json,
    parse_time,
    retry_after,
    unreadable,
)
from llmops_cli.providers.http.streams import Events, Garbled, StreamAccumulator

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

Method: TypeAlias = Literal["GET", "POST", "PUT"]
T = TypeVar("T")

CONNECTING = 10.0
"""Seconds to reach a server before it counts as unreachable."""
IDLE = 30.0
"""Seconds that an unused connection is kept."""
LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of a decoded answer; a megabyte of text is well within it."""
LARGE = 2**20
"""The most bytes of a request that aiohttp sends without a warning."""
DONE = b"[DONE]"
"""The data of the event that ends a chat completion."""
AFTERWARDS = 0.2
"""Seconds that a server gets to close a finished stream."""
REQUEST_IDS = ("x-request-id", "request-id")
"""Headers in which OpenAI, Anthropic and many gateways name the request that they answer."""
REMEMBERED = 1024
"""Request ids remembered; a repeated answer comes soon or never."""
REPEATED = "the server sent an answer twice: this one is to another question"


class Forbidden(aiohttp.ClientError):
    """An address that is not called; the message says which and why."""


_PROXIES = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
_BASE_URL = "check `base_url` in llmops.yaml"
_TLS = "TLS with {host} failed ({cause}): SSL_CERT_FILE can name a private authority's certificate"
_FAILED = "the connection with {host} failed ({cause})"

_LOST: ErrorClass = (FailureKind.CONNECTION, True)
_BROKEN: ErrorClass = (FailureKind.CONNECTION, False)
_WRONG: ErrorClass = (FailureKind.BAD_REQUEST, False)

EXCEPTIONS: Mapping[type[Exception], tuple[ErrorClass, str]] = {
    Forbidden: (_WRONG, "{cause}"),
    aiohttp.InvalidURL: (_WRONG, f"{{url}} is no URL: {_BASE_URL}"),
    aiohttp.NonHttpUrlClientError: (_WRONG, _FAILED),
    aiohttp.ClientHttpProxyError: (
        _BROKEN,
        f"the proxy {{proxy}} answered {{cause}}: {_PROXIES}",
    ),
    aiohttp.ClientProxyConnectionError: (_LOST, f"no proxy at {{proxy}} ({{cause}}): {_PROXIES}"),
    aiohttp.ClientSSLError: (_BROKEN, _TLS),
    aiohttp.ClientConnectorDNSError: (
        _LOST,
        f"{{host}} is no known host ({{cause}}): {_BASE_URL} and the network",
    ),
    aiohttp.ClientConnectorError: (
        _LOST,
        f"no server answers at {{url}} ({{cause}}): start it, or {_BASE_URL}",
    ),
    aiohttp.ConnectionTimeoutError: (
        _LOST,
        f"{{host}} was not reached within {CONNECTING:g} s: {_BASE_URL}, the network and the proxy",
    ),
    aiohttp.ServerFingerprintMismatch: (_BROKEN, _FAILED),
    aiohttp.ServerDisconnectedError: (_LOST, "{host} closed the connection before it answered"),
    aiohttp.ClientPayloadError: (_LOST, "the answer of {host} was cut off"),
    aiohttp.ClientResponseError: (
        (FailureKind.BAD_ANSWER, True),
        f"{{url}} does not answer in HTTP ({{cause}}): {_BASE_URL}",
    ),
    aiohttp.ClientError: (_LOST, _FAILED),
    ssl.SSLError: (_BROKEN, _TLS),
    OSError: (_LOST, _FAILED),
}
"""What each is, and what is said about it. The first that fits counts: narrow before wide."""
_NEXT: Mapping[ErrorClass, str] = {
    (FailureKind.AUTHENTICATION, False): "{key}",
    (FailureKind.NOT_FOUND, False): "check `model` and `base_url` in llmops.yaml: this was {url}",
    (FailureKind.BAD_REQUEST, False): "`llmops render` shows what is sent",
    (FailureKind.RATE_LIMITED, True): "a lower `rpm` or `max_concurrency` in llmops.yaml helps",
    (FailureKind.RATE_LIMITED, False): "the quota behind the key is used up",
}
"""Advice by status, where a retry later isn't enough."""


class SafeResolver(AbstractResolver):
    """Resolves names as usual, and gives only those addresses that may be called.

    The connection goes to the very address that was checked, so that no second answer of a name
    server counts. Where a proxy is in between, it resolves the name, and its own rules hold.
    """

    def __init__(self, allowed: Collection[str] | None) -> None:
        """`allowed` are the hosts whose addresses may be private; None: every host's may."""
        self._allowed = allowed
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises `Forbidden` if none of them may be called."""
        addresses = await self._resolver.resolve(host, port, family)
        problems = [forbidden(row["host"], host=host, allowed=self._allowed) for row in addresses]
        fine = [row for row, why in zip(addresses, problems, strict=True) if why is None]
        if addresses and not fine:
            raise Forbidden(str(problems[0]))
        return fine

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._resolver.close()


class Connections(aiohttp.TCPConnector):
    """Keeps connections open while a server names its answers and sends none unasked.

    A server or proxy that answers twice would otherwise answer every later request on that
    connection with the previous answer. From then on, each request gets its own connection; from
    the start, where nothing names an answer.
    """

    def __init__(self, url: str, resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds the addresses that may be called; None: any, a proxy's."""
        tls: ssl.SSLContext | bool = True
        if url.startswith("https:"):
            # The system's certificates, or SSL_CERT_FILE's, and Mozilla's where it has none.
            tls = ssl.create_default_context()
            tls.load_verify_locations(certifi.where())
        super().__init__(limit=0, keepalive_timeout=IDLE, ssl=tls, resolver=resolver)
        self._used: WeakSet[Any] = WeakSet()  # the protocols of connections that were used before
        self._reuses, self._named = True, False
        self._requests: dict[str, int] = {}
        self._doubted: str | None = None
        self._ids_differ = True

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> Connection:
        """Return a new connection, or one that is kept and on which nothing has come meanwhile."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used:
                self._used.add(protocol)
                return connection
            self._reuses = self._reuses and not protocol.should_close
            if self.reuses:
                return connection
            connection.close()

    @property
    def reuses(self) -> bool:
        """Whether a request may be sent over a connection that was used before."""
        return self._reuses and self._named

    def answers_another(self, named: str, sent: int) -> bool:
        """Return whether the answer called `named` came before, to another question than `sent`.

        `sent` is a hash of the request. Where all answers have the same name, it cannot be known.
        """
        self._named = True
        if not self._ids_differ:
            return False
        if named == self._doubted:  # a third time, and over a connection of its own
            self._ids_differ = False
            return False
        if self._requests.setdefault(named, sent) != sent:
            self._doubted, self._reuses = named, False
            return True
        if len(self._requests) > REMEMBERED:
            del self._requests[next(iter(self._requests))]
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered(Failure):
    """A prompt that a content filter stopped before any model saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonClient:
    """One endpoint: a JSON document goes there, and the JSON object that comes back is returned."""

    url: str
    session: aiohttp.ClientSession
    connections: Connections
    proxy: str | None
    about_key: str
    """What to do where the key is refused."""

    async def complete(
        self,
        body: Mapping[str, Any],
        read: Callable[[dict[str, Any]], Completion | Failure],
        accumulator: StreamAccumulator | None = None,
    ) -> Completion | Failure:
        """Return what `read` makes of the answer; with `accumulator`, the first token is timed."""
        started = anyio.current_time()
        answer = await self.send(body, accumulator=accumulator)
        outcome = answer if isinstance(answer, Failure) else read(answer)
        if isinstance(outcome, Failure) or accumulator is None or accumulator.first_token is None:
            return outcome
        return replace(outcome, first_token=accumulator.first_token - started)

    async def send(
        self,
        body: Mapping[str, Any],
        *,
        method: Method = "POST",
        accumulator: StreamAccumulator | None = None,
    ) -> dict[str, Any] | Failure:
        """Return the answer as a JSON object, or what went wrong.

        What is sent by GET is in the URL's query: texts as they are, all else as JSON. An answer
        that arrives as events is put together by `accumulator`: a stream that ends before it says
        that it is finished is no answer. A server that does not stream answers at once.
        """
        text = json.dumps(body, separators=(",", ":")).encode("ascii")
        query, data = None, text if len(text) <= LARGE else BytesIO(text)
        if method == "GET":
            query = {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in body.items()
            }
        reuses = self.connections.reuses
        try:
            async with self.session.request(
                method,
                self.url,
                data=data if query is None else None,
                params=query,
                allow_redirects=False,
            ) as response:
                named = next(filter(None, map(response.headers.get, REQUEST_IDS)), None)
                if named and self.connections.answers_another(named, hash(text)):
                    return unreadable(REPEATED)
                streams = response.status == 200 and response.content_type == "text/event-stream"
                if accumulator is not None and streams:
                    answer = await self._gathered(response, accumulator)
                else:
                    chunks: list[bytes] = []
                    too_large = await _receive(response, chunks.append)
                    answer = too_large or self._answer(response, b"".join(chunks))
                own = None if named or isinstance(answer, Failure) else answer.get("id")
                if isinstance(own, str) and own:
                    repeated = self.connections.answers_another(own, hash(text))
                    # Over a new connection it is another answer whose id is not unique.
                    return unreadable(REPEATED) if repeated and reuses else answer
                return answer
        except (aiohttp.ClientError, OSError) as error:
            return self.failure(error)

    async def _gathered(
        self, response: aiohttp.ClientResponse, accumulator: StreamAccumulator
    ) -> dict[str, Any] | Failure:
        events = Events()

        def feed(chunk: bytes) -> bool | Failure:
            for data in events.feed(chunk):
                if ended := data == DONE or self._add_event(data, accumulator, response):
                    return ended
            return False

        ended = await _receive(response, feed)
        if isinstance(ended, Failure):
            return ended
        if not ended:
            return incomplete("the stream ended before it was finished")
        # What may come after the end is read, so that the connection can be reused.
        with anyio.move_on_after(AFTERWARDS), suppress(aiohttp.ClientError, OSError):
            while not response.content.at_eof():
                await response.content.readany()
        return accumulator.answer()

    def _add_event(
        self, data: bytes, accumulator: StreamAccumulator, response: aiohttp.ClientResponse
    ) -> bool | Failure:
        """Add the event in `data`; return whether it ends the answer."""
        event = parse_json(data)
        error = error_in(event)
        if error is not None:
            return self._refusal(response, data, error, status=200)
        if not isinstance(event, dict):
            return incomplete(f"an event is no JSON: {_shown(data, 80)}")
        try:
            return accumulator.add(event)
        except Garbled as problem:
            return incomplete(f"{problem}: {_shown(data, 80)}")

    def _answer(self, response: aiohttp.ClientResponse, raw: bytes) -> dict[str, Any] | Failure:
        status, answer = response.status, parse_json(raw)
        if 300 <= status < 400:
            target = response.headers.get("location", "")[:SHOWN]
            return Failure(
                kind=FailureKind.BAD_ANSWER,
                message=f"the server redirects to {target!r} ({status}), which is not followed",
                status=status,
            )
        if not 200 <= status < 300:
            return self._refusal(response, raw, error_body(answer), status=status)
        error = error_in(answer)
        if error is not None:
            return self._refusal(response, raw, error, status=200)
        if not isinstance(answer, dict):
            kind = response.headers.get("content-type", "no content type").split(";")[0]
            size = f"{len(raw)} bytes, {short(digest_bytes(raw))}"
            url = _without_password(self.url)
            return unreadable(f"{url} answers no JSON but {kind} ({size}): {_shown(raw, 80)}")
        return cast("dict[str, Any]", answer)

    def _refusal(
        self, response: aiohttp.ClientResponse, raw: bytes, error: ErrorBody, *, status: int
    ) -> Failure:
        """Return the failure that an error answer stands for; at 200, also an event is one.

        The status that the error's type goes with counts at 200 and 429. Dates in headers are by
        the server's own clock, where it has one.
        """
        meant = status
        if status in {200, 429}:
            meant = error.status or (500 if status == 200 else 429)
        fallback = (FailureKind.SERVER, True) if meant >= 500 else (FailureKind.BAD_REQUEST, False)
        kind, retryable = STATUSES.get(meant, fallback)
        words = error.message or _shown(raw) or (response.reason or "")
        message = f"the server answered {status}" + (f": {words}" if words else "")
        advice = _PROXIES if status == 407 else self._fill(_NEXT.get((kind, retryable), ""))
        message = f"{message} ({advice})" if advice else message
        if error.filtered and status in {400, 403}:
            return Filtered(kind=kind, message=message, status=status)
        now = parse_time(response.headers.get("date", ""))
        wait = retry_after(response.headers, now=now) or error.wait
        return Failure(
            kind=kind, message=message, status=status, retryable=retryable, retry_after=wait
        )

    def failure(self, error: Exception) -> Failure:
        """Return the failure that an exception of the transport stands for."""
        (kind, retryable), sentence = next(
            row for known, row in EXCEPTIONS.items() if isinstance(error, known)
        )
        message = self._fill(sentence, _cause(error))
        return Failure(kind=kind, message=message, retryable=retryable)

    def _fill(self, sentence: str, cause: str = "") -> str:
        """Return `sentence` with its places filled in, without passwords."""
        return sentence.format(
            url=_without_password(self.url),
            host=_without_password(self.url, path=False),
            proxy=_without_password(self.proxy or "", path=False),
            key=self.about_key,
            cause=" ".join(cause.split())[:SHOWN],
        )


@asynccontextmanager
async def open_client(
    url: str,
    headers: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    about_key: str = "check the key",
    allowed: Collection[str] | None = None,
) -> AsyncIterator[JsonClient]:
    """Open a client of `url`, by the proxy and with the certificates that the environment names.

    `about_key`: what to do where the server refuses the key. `allowed` are the hosts whose
    addresses may be private; None: every host's may.
    """
    proxy = proxy_for(url, environ)
    connections = Connections(url, SafeResolver(allowed) if proxy is None else None)
    session = aiohttp.ClientSession(
        headers=headers,
        connector=connections,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECTING),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
    )
    async with session:
        yield JsonClient(
            url=url, session=session, connections=connections, proxy=proxy, about_key=about_key
        )


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy that `environ` names for `url`; None: a direct connection.

    aiohttp's own way is not used: it reads .netrc for every call and fails where that has the
    host, because a key is sent already. Raises `Refused` for a proxy that is not one of HTTP; its
    URL is not in the message, since it may contain a password.
    """
    named = {name.lower(): value for name, value in environ.items()}
    parts = urlsplit(url)
    if proxy_bypass_environment(parts.netloc, {"no": named.get("no_proxy", "")}):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        if proxy := named.get(name, "").strip():
            proxy = proxy if "://" in proxy else f"http://{proxy}"
            if wrong_address(proxy) is not None:
                raise Refused(
                    f"{name.upper()} names no HTTP proxy",
                    hint="write it like http://proxy.example:3128, or name the server's host in "
                    "NO_PROXY",
                )
            return proxy
    return None


async def _receive(
    response: aiohttp.ClientResponse, feed: Callable[[bytes], T | None]
) -> T | Failure | None:
    """Pass the decoded body to `feed` until that returns something; too much is a failure."""
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_BODY:
            response.close()
            return Failure(
                kind=FailureKind.TOO_LARGE,
                message=f"the answer is larger than {LARGEST_BODY // 2**20} MB and was cut off",
                status=response.status,
            )
        if ended := feed(chunk):
            return ended
    return None


def _shown(raw: bytes, limit: int = SHOWN) -> str:
    return " ".join(raw[: 4 * limit].decode("utf-8", "replace").split())[:limit]


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
