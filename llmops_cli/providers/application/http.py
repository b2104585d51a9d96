"""An application behind a URL: a JSON document goes there, and a JSON document comes back.

What is sent is `{"inputs": …, "messages": …, "parameters": …}`, or what `request` makes of them;
`response` says where the parts of the answer are. Redirects, sizes, statuses and faults are treated
as those of a model server. `checks` decides which addresses may be called.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import DefaultResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Model, Request, host_of
from llmops_cli.core.result import Completion, Failure
from llmops_cli.providers.application.answer_fields import AnswerReader, Application, document_of
from llmops_cli.providers.application.checks import allowed_hosts, forbidden, wrong_url
from llmops_cli.providers.http.access import headers_of
from llmops_cli.providers.http.client import Forbidden, Method, open_client

OURS = {"accept": "application/json", "content-type": "application/json", "user-agent": "llmops"}


@asynccontextmanager
async def open_http(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Open a client. Raises `Refused` for an address that is never called."""
    url, allowed = str(model.base_url), allowed_hosts(model.options)
    problem = wrong_url(url, allowed)
    if problem is not None:
        raise Refused(f"{model.name}: {problem}")
    headers = OURS | {name.lower(): value for name, value in headers_of(model, context).items()}
    resolver = SafeResolver(host_of(url), allowed)
    about_key = f"check the `headers` of {model.name}"
    async with open_client(
        url, headers, context.environ, about_key=about_key, resolver=resolver
    ) as client:
        method = cast("Method", model.options.get("method") or "POST")
        reader = AnswerReader(model, strict=False)

        async def call(request: Request) -> Completion | Failure:
            answer = await client.send(document_of(request), method=method)
            return answer if isinstance(answer, Failure) else reader.outcome(answer)

        yield Application(call)


class SafeResolver(AbstractResolver):
    """Resolves names as usual, and gives only those addresses that may be called.

    The connection goes to the very address that was checked, so that no second answer of a name
    server counts. Where a proxy is in between, it resolves the name, and its own rules hold.
    """

    def __init__(self, host: str, allowed: Collection[str]) -> None:
        """`host`: of the URL. Another one, a proxy's, is not checked."""
        self._host = host
        self._allowed = allowed
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises `Forbidden` if none of them may be called."""
        addresses = await self._resolver.resolve(host, port, family)
        if host != self._host:
            return addresses
        problems = [forbidden(row["host"], host=host, allowed=self._allowed) for row in addresses]
        fine = [row for row, why in zip(addresses, problems, strict=True) if why is None]
        if addresses and not fine:
            raise Forbidden(str(problems[0]))
        return fine

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._resolver.close()
