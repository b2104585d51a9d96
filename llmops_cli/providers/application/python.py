"""An application as a function of the project, run in processes of its own.

    def answer(inputs: dict, messages: list) -> str | dict: ...

`inputs` are the case's. A second parameter named `messages` gets the prompt's rendered messages, a
third named `parameters` its parameters. The function may be async, and returns its text, or a
mapping with `text` and what else is known: `contexts`, `ids`, `tool_calls`, `usage`, `cost`.

There are as many processes as the model may have calls at once, each loaded when it is first
needed. Their environment is a short list and what `env` names. Raising, hanging, exiting, forking
and printing cost the one answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.application.answer_fields import AnswerReader, document_of, failed
from llmops_cli.workers.process import LARGEST_ANSWER, CodeFailure, environment
from llmops_cli.workers.project_code import located
from llmops_cli.workers.worker import Pool, Worker

SHOWN = 300
"""Characters of an exception's own words in a message."""
PARAMETERS = ("inputs", "messages", "parameters")
"""What the function is called with, by position."""


@asynccontextmanager
async def open_python(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Load the function once. Raises `Refused` if it cannot be loaded."""
    call = str(model.options["call"])
    function = located(call, context)
    environ = environment(context, also=cast("list[str]", model.options.get("env") or ()))
    workers = [
        Worker(function, context, parameters=PARAMETERS, largest=LARGEST_ANSWER, environ=environ)
        for _ in range(model.limits.max_concurrency)
    ]
    async with Pool(workers) as pool:
        failure = await pool.load(seconds=model.limits.timeout)
        if failure is not None:
            why = context.redact(failure.why)[:SHOWN]
            raise Refused(f"{model.name}: {call} cannot be loaded: {why}")
        yield PythonApplication(pool, AnswerReader(model, strict=True), context.redact)


class PythonApplication:
    """Calls one function of the project."""

    def __init__(self, pool: Pool, reader: AnswerReader, redact: Redactor) -> None:
        self._pool = pool
        self._reader = reader
        self._redact = redact

    async def complete(self, request: Request) -> Completion | Failure:
        """Return what the function answers, or why there is no answer."""
        document = document_of(request)
        message = await self._pool.call([document[name] for name in PARAMETERS])
        if isinstance(message, CodeFailure):
            return failed(message)
        if "raised" in message:
            error = self._redact(str(message["raised"]))[:SHOWN]  # whole: half a key is a leak
            return Failure(kind=FailureKind.SERVER, message=f"the function raised {error}")
        return self._reader.outcome(message.get("value"))
