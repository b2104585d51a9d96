"""An application behind a URL: a JSON document goes there, and a JSON document comes back.

What is sent is `{"inputs": …, "messages": …, "parameters": …}`, or what `request` makes of them;
`response` says where the parts of the answer are. Redirects, sizes, statuses and faults are treated
as those of a model server. `http.addresses` decides which addresses may be called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure
from llmops_cli.providers.application.answer_fields import AnswerReader, Application, document_of
from llmops_cli.providers.application.checks import allowed_hosts, wrong_url
from llmops_cli.providers.http.access import headers_of
from llmops_cli.providers.http.client import Method, open_client

OURS = {"accept": "application/json", "content-type": "application/json", "user-agent": "llmops"}


@asynccontextmanager
async def open_http(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Open a client. Raises `Refused` for an address that is never called."""
    url, allowed = str(model.base_url), allowed_hosts(model.options)
    problem = wrong_url(url, allowed)
    if problem is not None:
        raise Refused(f"{model.name}: {problem}")
    headers = OURS | {name.lower(): value for name, value in headers_of(model, context).items()}
    about_key = f"check the `headers` of {model.name}"
    async with open_client(
        url, headers, context.environ, about_key=about_key, allowed=allowed
    ) as client:
        method = cast("Method", model.options.get("method") or "POST")
        reader = AnswerReader(model, strict=False)

        async def call(request: Request) -> Completion | Failure:
            answer = await client.send(document_of(request), method=method)
            return answer if isinstance(answer, Failure) else reader.outcome(answer)

        yield Application(call)
