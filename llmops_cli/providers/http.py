"""An application behind a URL: a JSON document goes there, and a JSON document comes back.

What is sent is `{"inputs": …, "messages": …, "parameters": …}`, or what `request` makes of them;
where the answer's parts stand is said by `response`. The wire is that of the model servers: no
redirects, a cap on the body, every status and every fault with its place. Which addresses may be
called is `reach`'s to say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Provider, World
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure
from llmops_cli.providers.access import headers_of
from llmops_cli.providers.application import (
    Reading,
    handed,
    meaningless,
    unreadable,
    wrong_paths,
)
from llmops_cli.providers.reach import Judged, forbidden, literal
from llmops_cli.providers.said import Malformed
from llmops_cli.providers.wire import Method, Wire, open_wire

OURS = {"accept": "application/json", "content-type": "application/json", "user-agent": "llmops"}


def check(options: Mapping[str, Any], world: World) -> str | None:
    """What is wrong with a model as it is written. Nothing is resolved or called."""
    del world
    if not options.get("base_url"):
        return "'base_url' is missing: where the application answers"
    wrong = meaningless(options, "api_key_env", "extra_body")
    return wrong or _wrong_url(options["base_url"], _hosts(options)) or wrong_paths(options)


@asynccontextmanager
async def open_http(model: Model, world: World) -> AsyncIterator[Provider]:
    """Opens a session. Raises `Refused` for an address that is never called."""
    url, allowed = str(model.base_url), _hosts(model.options)
    wrong = _wrong_url(url, allowed)
    if wrong is not None:
        raise Refused(f"{model.name}: {wrong}")
    headers = {**OURS, **{name.lower(): each for name, each in headers_of(model, world).items()}}
    judged = Judged(_host(url), allowed)
    about_key = f"check the `headers` of {model.name}"
    async with open_wire(url, headers, world.environ, about_key=about_key, resolver=judged) as wire:
        method = cast("Method", model.options.get("method") or "POST")
        yield Http(wire, method, Reading(model, strict=False))


class Http:
    """Calls one URL."""

    def __init__(self, wire: Wire, method: Method, reading: Reading) -> None:
        self._wire = wire
        self._method = method
        self._reading = reading

    async def complete(self, request: Request) -> Completion | Failure:
        """What the application answers, or why there is no answer."""
        answer = await self._wire.send(self._method, handed(request))
        if isinstance(answer, Failure):
            return answer
        try:
            return self._reading.completion(answer)
        except Malformed as why:
            return unreadable(why)


def _wrong_url(url: str, allowed: Collection[str]) -> str | None:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        return "'base_url' holds a password: send it as a header, `authorization: env:NAME`"
    host = _host(url)
    if parts.scheme not in {"http", "https"} or not host:
        return f"'base_url' {url!r} is not an http(s) URL"
    return forbidden(host, host=host, allowed=allowed) if literal(host) else None


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _hosts(options: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(each.lower() for each in options.get("allow_hosts") or ())
