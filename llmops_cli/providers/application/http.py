"""An application behind a URL: a JSON document goes there, and a JSON document comes back.

What is sent is `{"inputs": …, "messages": …, "parameters": …}`, or what `request` makes of them;
where the answer's parts stand is said by `response`. The wire is that of the model servers: no
redirects, a cap on the body, every status and every fault with its place. Which addresses may be
called is `reach`'s to say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Provider, World
from llmops_cli.core.private_urls import host_of
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure
from llmops_cli.providers.application.address_policy import Judged
from llmops_cli.providers.application.answer_fields import Malformed, Reading, handed, unreadable
from llmops_cli.providers.application.config_checks import hosts, wrong_url
from llmops_cli.providers.http.access import headers_of
from llmops_cli.providers.http.exchange import Method, Wire, open_wire

OURS = {"accept": "application/json", "content-type": "application/json", "user-agent": "llmops"}


@asynccontextmanager
async def open_http(model: Model, world: World) -> AsyncIterator[Provider]:
    """Opens a session. Raises `Refused` for an address that is never called."""
    url, allowed = str(model.base_url), hosts(model.options)
    wrong = wrong_url(url, allowed)
    if wrong is not None:
        raise Refused(f"{model.name}: {wrong}")
    headers = {**OURS, **{name.lower(): each for name, each in headers_of(model, world).items()}}
    judged = Judged(host_of(url), allowed)
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
