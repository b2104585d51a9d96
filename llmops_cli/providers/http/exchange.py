"""Post JSON to a server and read the answer or the failure.

The SDKs spend 0.5–1.5 ms of CPU per call; this takes 0.1 (record 0004). They say where to and with
which headers, this module does the rest: one connection pool, no redirects, a cap on the decoded
body, and a `Failure` for everything that can go wrong (`errors`). The deadline is the engine's.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # unknown to typeshed
from weakref import WeakSet

import aiohttp
import anyio
import certifi
from aiohttp.abc import AbstractResolver

from llmops_cli.core.digest import digest_bytes, short
from llmops_cli.core.errors import Refused
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.providers.http.access import wrong_address
from llmops_cli.providers.http.errors import CONNECTING, Endpoint
from llmops_cli.providers.http.responses import (
    SHOWN,
    ErrorBody,
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


class Connections(aiohttp.TCPConnector):
    """Keeps connections open until a server sends an unsolicited response.

    A server or proxy that answers twice would otherwise answer every later request on that
    connection with the previous answer. From then on, each request gets its own connection.
    """

    def __init__(self, url: str, resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds addresses, where not every one may be called."""
        super().__init__(limit=0, keepalive_timeout=IDLE, ssl=_tls(url), resolver=resolver)
        self._used: WeakSet[Any] = WeakSet()  # the protocols of connections that were used before
        self._reuses = True
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
            if self._reuses:
                return connection
            connection.close()

    def answers_another(self, headers: Mapping[str, str], sent: int) -> bool:
        """Return whether an answer with `headers` came before, to another question than `sent`.

        `sent` is a hash of the request. Where no header names the request, or always by the
        same name, it cannot be known.
        """
        named = next(filter(None, map(headers.get, REQUEST_IDS)), None)
        if named is None or not self._ids_differ:
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


class JsonClient:
    """One endpoint: a JSON document goes there, and the JSON object that comes back is returned."""

    __slots__ = ("_connections", "_endpoint", "_session")

    def __init__(
        self, session: aiohttp.ClientSession, connections: Connections, endpoint: Endpoint
    ) -> None:
        self._session = session
        self._connections = connections
        self._endpoint = endpoint

    def sibling(self, ending: str, other: str) -> JsonClient:
        """Return a client of another address of the server: `other` in place of `ending`."""
        url = self._endpoint.url.removesuffix(ending) + other
        return JsonClient(self._session, self._connections, replace(self._endpoint, url=url))

    async def send(
        self,
        body: Mapping[str, Any],
        *,
        method: Method = "POST",
        accumulator: StreamAccumulator | None = None,
    ) -> dict[str, Any] | Failure:
        """Return the answer as a JSON object, or what went wrong.

        What is sent by GET is in the URL's query. An answer that arrives as events is put together
        by `accumulator`: a stream that ends before it says that it is finished is no answer. A
        server that does not stream answers at once.
        """
        query = _query(body) if method == "GET" else None
        text = json.dumps(body, separators=(",", ":")).encode("ascii")
        data = None if query is not None else text if len(text) <= LARGE else BytesIO(text)
        try:
            async with self._session.request(
                method, self._endpoint.url, data=data, params=query, allow_redirects=False
            ) as response:
                if self._connections.answers_another(response.headers, hash(text)):
                    return unreadable(REPEATED)
                streams = response.status == 200 and response.content_type == "text/event-stream"
                if accumulator is not None and streams:
                    return await self._gathered(response, accumulator)
                return self._answer(response, await _read(response))
        except (aiohttp.ClientError, OSError) as error:
            return self._endpoint.failure(error)

    async def _gathered(
        self, response: aiohttp.ClientResponse, accumulator: StreamAccumulator
    ) -> dict[str, Any] | Failure:
        events, size = Events(), 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > LARGEST_BODY:
                response.close()
                return _too_large(response)
            for data in events.feed(chunk):
                ended = data == DONE or self._add_event(data, accumulator, response)
                if isinstance(ended, Failure):
                    return ended
                if ended:
                    # What may come after the end is read, so that the connection can be reused.
                    with anyio.move_on_after(AFTERWARDS), suppress(aiohttp.ClientError, OSError):
                        while not response.content.at_eof():
                            await response.content.readany()
                    return accumulator.answer()
        return incomplete("the stream ended before it was finished")

    def _add_event(
        self, data: bytes, accumulator: StreamAccumulator, response: aiohttp.ClientResponse
    ) -> bool | Failure:
        """Add the event in `data`; return whether it ends the answer."""
        event = parse_json(data)
        error = error_in(event)
        if error is not None:
            return self._error_at_200(error, data, response)
        if not isinstance(event, dict):
            return incomplete(f"an event is no JSON: {_shown(data, 80)}")
        try:
            return accumulator.add(event)
        except Garbled as problem:
            return incomplete(f"{problem}: {_shown(data, 80)}")

    def _answer(
        self, response: aiohttp.ClientResponse, raw: bytes | None
    ) -> dict[str, Any] | Failure:
        if raw is None:
            return _too_large(response)
        if not 200 <= response.status < 300:
            return self._refusal(response, raw)
        answer = parse_json(raw)
        error = error_in(answer)
        if error is not None:
            return self._error_at_200(error, raw, response)
        if not isinstance(answer, dict):
            kind = response.headers.get("content-type", "no content type").split(";")[0]
            size = f"{len(raw)} bytes, {short(digest_bytes(raw))}"
            url = self._endpoint.fill("{url}")
            return unreadable(f"{url} answers no JSON but {kind} ({size}): {_shown(raw, 80)}")
        return cast("dict[str, Any]", answer)

    def _refusal(self, response: aiohttp.ClientResponse, raw: bytes) -> Failure:
        """Return what a status outside 2xx means; the server's own words where it has any."""
        status = response.status
        if 300 <= status < 400:
            target = response.headers.get("location", "")[:SHOWN]
            return Failure(
                kind=FailureKind.BAD_ANSWER,
                message=f"the server redirects to {target!r} ({status}), which is not followed",
                status=status,
            )
        body = error_body(parse_json(raw))
        words = body.message or _shown(raw) or (response.reason or "")
        wait = _wait(response) or body.wait
        failure = self._endpoint.refusal(status, words, named=body.status, wait=wait)
        if body.filtered and status in {400, 403}:
            return Filtered(kind=failure.kind, message=failure.message, status=status)
        return failure

    def _error_at_200(
        self, error: ErrorBody, raw: bytes, response: aiohttp.ClientResponse
    ) -> Failure:
        """Return the failure of an error that came with a status of success."""
        wait = _wait(response) or error.wait
        words = error.message or _shown(raw)
        return self._endpoint.refusal(200, words, named=error.status or 500, wait=wait)


@asynccontextmanager
async def open_client(
    url: str,
    headers: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    about_key: str = "check the key",
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[JsonClient]:
    """Open a client of `url`, by the proxy and with the certificates that the environment names.

    `about_key`: what to do where the server refuses the key. `resolver` finds addresses, where not
    every one may be called.
    """
    proxy = proxy_for(url, environ)
    connections = Connections(url, resolver)
    session = aiohttp.ClientSession(
        headers=headers,
        connector=connections,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECTING),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
    )
    async with session:
        endpoint = Endpoint(url=url, proxy=proxy, about_key=about_key)
        yield JsonClient(session, connections, endpoint)


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


def _tls(url: str) -> ssl.SSLContext | bool:
    """Trust the system's certificates, or SSL_CERT_FILE's, and Mozilla's where it has none."""
    if not url.startswith("https:"):
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _query(body: Mapping[str, Any]) -> dict[str, str]:
    """Return texts as they are, all else as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()
    }


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the decoded body; None if it is larger than the cap: the connection is closed."""
    length = response.content_length
    if length is not None and length <= 65536 and "content-encoding" not in response.headers:
        return await response.read()
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_BODY:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(response: aiohttp.ClientResponse) -> Failure:
    return Failure(
        kind=FailureKind.TOO_LARGE,
        message=f"the answer is larger than {LARGEST_BODY // 2**20} MB and was cut off",
        status=response.status,
    )


def _wait(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds that it asks to wait; its dates are of its own clock, where it has one."""
    return retry_after(response.headers, now=parse_time(response.headers.get("date", "")))


def _shown(raw: bytes, limit: int = SHOWN) -> str:
    return " ".join(raw[: 4 * limit].decode("utf-8", "replace").split())[:limit]
