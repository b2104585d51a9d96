"""How a server is reached: through which proxy, with which certificates, over which connections."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # unknown to typeshed

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver

from llmops_cli.core.errors import Refused
from llmops_cli.providers.wire.access import wrong_address

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
