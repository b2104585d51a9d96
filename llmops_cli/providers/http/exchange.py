"""How a server is reached: through which proxy, with which certificates, over which connections.

Posts JSON to a model server and reads the answer, whatever the server makes of it.

The SDKs spend 0.5–1.5 ms of CPU per call; this takes 0.1 (record 0004). They say where to and
with which headers, this module does the rest: one connection pool, no redirects, a cap on the
decoded body, and everything that can go wrong turned into a `Failure` (`trouble`). The deadline
is the engine's.
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

import aiohttp
import anyio
import certifi
from aiohttp.abc import AbstractResolver

from llmops_cli.core.digest import digest_bytes, short
from llmops_cli.core.errors import Refused
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.providers.http.access import wrong_address
from llmops_cli.providers.http.errors import (
    CONNECTING,
    SHOWN,
    Complaint,
    Endpoint,
    complaint,
    moment,
    parsed,
    refusal,
    refused,
    retry_after,
    translated,
    unreadable,
    unusable,
)
from llmops_cli.providers.http.streams import Events, Garbled, StreamAccumulator

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


IDLE = 30.0
"""Seconds that an unused connection is kept."""


REQUEST_IDS = ("x-request-id", "request-id")
"""Headers in which OpenAI, Anthropic and many gateways name the request that they answer."""
REMEMBERED = 1024
"""Answers; a second one comes soon or never."""


class Connections(aiohttp.TCPConnector):
    """Kept connections, until something comes on one of them that nobody had asked for.

    A server or a proxy that answers twice would otherwise answer every later question on that
    connection with the answer to the one before. From then on each question has a connection of
    its own.
    """

    def __init__(self, url: str, resolver: AbstractResolver | None = None) -> None:
        """`resolver`: who finds addresses, where not everyone's may be called."""
        super().__init__(limit=0, keepalive_timeout=IDLE, ssl=_tls(url), resolver=resolver)
        self._asked: dict[str, int] = {}
        self._doubted: str | None = None
        self._ids_differ = True

    def answers_another(self, headers: Mapping[str, str], asked: int) -> bool:
        """Whether an answer with `headers` came already, to another question than `asked`.

        `asked` is a hash of what was sent. Where no header names the request, or always by the
        same name, it cannot be known.
        """
        named = next(filter(None, map(headers.get, REQUEST_IDS)), None)
        if named is None or not self._ids_differ:
            return False
        if named == self._doubted:  # a third time, and over a connection of its own
            self._ids_differ = False
            return False
        if self._asked.setdefault(named, asked) != asked:
            self._doubted, self._force_close = named, True
            return True
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]
        return False

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (kept := await super()._get(key, traces)) is not None:
            if not self._force_close and kept.protocol is not None:
                if not kept.protocol.should_close:
                    return kept
                self._force_close = True
            kept.close()
        return None


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that `environ` names for `url`; None: a direct connection.

    aiohttp's own way is not used: it reads .netrc for every call and fails where that holds the
    host, because a key is sent already. Raises `Refused` for a proxy that cannot be spoken to.
    """
    named = {name.lower(): value for name, value in environ.items()}
    parts = urlsplit(url)
    if proxy_bypass_environment(parts.netloc, {"no": named.get("no_proxy", "")}):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        if proxy := named.get(name, "").strip():
            return _spoken(proxy if "://" in proxy else f"http://{proxy}", name)
    return None


def _spoken(proxy: str, name: str) -> str:
    """`proxy`, where it is one of HTTP. What it is called is not told: it may hold a password."""
    if wrong_address(proxy) is None:
        return proxy
    raise Refused(
        f"{name.upper()} names no HTTP proxy",
        hint="write it like http://proxy.example:3128, or name the server's host in NO_PROXY",
    )


def _tls(url: str) -> ssl.SSLContext | bool:
    """Trusts the system's certificates, or SSL_CERT_FILE's, and Mozilla's where it has none."""
    if not url.startswith("https:"):
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


Method: TypeAlias = Literal["GET", "POST", "PUT"]

LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of a decoded answer; a megabyte of text is well within it."""
LARGE = 2**20
"""Bytes of a request beyond which aiohttp wants a file and no bytes."""
DONE = b"[DONE]"
"""The data of the event that ends a chat completion."""
TWICE = "the server sent an answer twice: this one is to another question"
AFTERWARDS = 0.2
"""Seconds that a server has to close a stream that is finished."""


class Wire:
    """One endpoint: a JSON document goes there, and the JSON object that comes back is returned."""

    __slots__ = ("_connections", "_endpoint", "_session", "_url")

    def __init__(
        self, session: aiohttp.ClientSession, connections: Connections, endpoint: Endpoint
    ) -> None:
        self._session = session
        self._connections = connections
        self._endpoint = endpoint
        self._url = endpoint.url

    def beside(self, ending: str, other: str) -> Wire:
        """The same connections to another address of the server: `other` in place of `ending`."""
        url = self._url.removesuffix(ending) + other
        return Wire(self._session, self._connections, replace(self._endpoint, url=url))

    async def post(self, body: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """The answer as a JSON object, or what went wrong."""
        return await self.send("POST", body)

    async def send(self, method: Method, body: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """As `post`; what is sent by GET stands in the URL's query."""
        query = _query(body) if method == "GET" else None
        text = _written(body)
        sent = _sent(text) if query is None else None
        try:
            async with self._session.request(
                method, self._url, data=sent, params=query, allow_redirects=False
            ) as response:
                if self._connections.answers_another(response.headers, hash(text)):
                    return unreadable(TWICE)
                return self._received(response, await _read(response))
        except (aiohttp.ClientError, OSError) as error:
            return translated(error, self._endpoint)

    async def stream(
        self, body: Mapping[str, Any], pieces: StreamAccumulator
    ) -> dict[str, Any] | Failure:
        """The answer that arrives as events and is gathered in `pieces`, or what went wrong.

        A server that does not stream answers at once; a stream that ends before it says that it
        is finished is no answer.
        """
        text = _written(body)
        try:
            async with self._session.post(
                self._url, data=_sent(text), allow_redirects=False
            ) as response:
                if self._connections.answers_another(response.headers, hash(text)):
                    return unreadable(TWICE)
                if response.status != 200 or response.content_type != "text/event-stream":
                    return self._received(response, await _read(response))
                return await self._gathered(response, pieces)
        except (aiohttp.ClientError, OSError) as error:
            return translated(error, self._endpoint)

    async def _gathered(
        self, response: aiohttp.ClientResponse, pieces: StreamAccumulator
    ) -> dict[str, Any] | Failure:
        events, size = Events(), 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > LARGEST_BODY:
                response.close()
                return self._received(response, None)
            for data in events.feed(chunk):
                ended = data == DONE or self._taken(data, pieces, response)
                if isinstance(ended, Failure):
                    return ended
                if ended:
                    return await self._ended(response, pieces)
        return unusable("the stream ended before it was finished")

    def _taken(
        self, data: bytes, pieces: StreamAccumulator, response: aiohttp.ClientResponse
    ) -> bool | Failure:
        """Adds the event in `data`; True: it ends the answer."""
        event = parsed(data)
        said = complaint(event)
        if said is not None:
            return _complained(said, data, self._endpoint, wait=_wait(response))
        if not isinstance(event, dict):
            return unusable(f"an event is no JSON: {_shown(data, 80)}")
        try:
            return pieces.take(event)
        except Garbled as error:
            return unusable(f"{error}: {_shown(data, 80)}")

    async def _ended(
        self, response: aiohttp.ClientResponse, pieces: StreamAccumulator
    ) -> dict[str, Any]:
        """Reads what may come after the end, so that the connection can be used again."""
        with anyio.move_on_after(AFTERWARDS), suppress(aiohttp.ClientError, OSError):
            while not response.content.at_eof():
                await response.content.readany()
        return pieces.whole()

    def _received(
        self, response: aiohttp.ClientResponse, raw: bytes | None
    ) -> dict[str, Any] | Failure:
        if raw is None:
            return Failure(
                kind=FailureKind.TOO_LARGE,
                message=f"the answer is larger than {LARGEST_BODY // 2**20} MB and was cut off",
                status=response.status,
            )
        if not 200 <= response.status < 300:
            return _refusal(response, raw, self._endpoint)
        return _answer(response, raw, self._endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered(Failure):
    """A prompt that a content filter stopped before any model saw it."""

    @classmethod
    def of(cls, failure: Failure) -> Filtered:
        """`failure`, known to be the filter's."""
        return cls(kind=failure.kind, message=failure.message, status=failure.status)


@asynccontextmanager
async def open_wire(
    url: str,
    headers: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    about_key: str = "check the key",
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[Wire]:
    """A wire to `url`, through the proxy and with the certificates that the environment names.

    `about_key`: what to do where the server refuses the key. `resolver`: who finds addresses,
    where not everyone's may be called.
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
        yield Wire(session, connections, Endpoint(url=url, proxy=proxy, about_key=about_key))


def _written(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def _sent(text: bytes) -> bytes | BytesIO:
    """As a file where it is large, so that other calls are not held up."""
    return text if len(text) <= LARGE else BytesIO(text)


def _query(body: Mapping[str, Any]) -> dict[str, str]:
    """Texts as they are, all else as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()
    }


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The decoded body; None where it is larger than the cap, which closes the connection."""
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


def _refusal(response: aiohttp.ClientResponse, raw: bytes, endpoint: Endpoint) -> Failure:
    """What a status outside 2xx means; the server's own words where it has any."""
    status = response.status
    if 300 <= status < 400:
        where = response.headers.get("location", "")[:SHOWN]
        return Failure(
            kind=FailureKind.BAD_ANSWER,
            message=f"the server redirects to {where!r} ({status}), which is not followed",
            status=status,
        )
    said = refusal(parsed(raw))
    failure = refused(
        status,
        said.words or _shown(raw) or (response.reason or ""),
        endpoint,
        named=said.status,
        wait=_wait(response) or said.wait,
    )
    return Filtered.of(failure) if said.filtered and status in {400, 403} else failure


def _answer(
    response: aiohttp.ClientResponse, raw: bytes, endpoint: Endpoint
) -> dict[str, Any] | Failure:
    given = parsed(raw)
    said = complaint(given)
    if said is not None:
        return _complained(said, raw, endpoint, wait=_wait(response))
    if not isinstance(given, dict):
        kind = response.headers.get("content-type", "no content type").split(";")[0]
        size = f"{len(raw)} bytes, {short(digest_bytes(raw))}"
        where = endpoint.told("{url}")
        return unreadable(f"{where} answers no JSON but {kind} ({size}): {_shown(raw, 80)}")
    return cast("dict[str, Any]", given)


def _complained(said: Complaint, raw: bytes, endpoint: Endpoint, *, wait: float | None) -> Failure:
    """An error that came with a status of success."""
    words, named = said.words or _shown(raw), said.status or 500
    return refused(200, words, endpoint, named=named, wait=wait or said.wait)


def _wait(response: aiohttp.ClientResponse) -> float | None:
    """Seconds that it asks to wait; its dates are read by its own clock where it tells the time."""
    return retry_after(response.headers, now=moment(response.headers.get("date", "")))


def _shown(raw: bytes, limit: int = SHOWN) -> str:
    return " ".join(raw[: 4 * limit].decode("utf-8", "replace").split())[:limit]
