"""An application as a function of the project, run in processes of its own.

    def answer(inputs: dict, messages: list) -> str | dict: ...

`inputs` are the case's. A second parameter named `messages` gets the prompt's rendered messages, a
third named `parameters` its parameters. The function may be async, and returns its text, or a
mapping with `text` and what else is known: `contexts`, `ids`, `tool_calls`, `usage`, `cost`.

As many processes as the model may have calls at once, each loaded when it is first needed. Their
environment is a short list and what `env` names. Raising, hanging, exiting, forking and printing
cost the one answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Provider, World
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.application.answer_fields import (
    Malformed,
    Reading,
    failed,
    handed,
    unreadable,
)
from llmops_cli.workers.process import LARGEST_ANSWER, Trouble, environment
from llmops_cli.workers.worker import Pool, Worker, located, until_left

SHOWN = 300
"""Characters of an exception's own words in a message."""
GIVEN = ("inputs", "messages", "parameters")
"""What the function is handed, by position."""


@asynccontextmanager
async def open_python(model: Model, world: World) -> AsyncIterator[Provider]:
    """The function, loaded once. Raises `Refused` where it cannot be."""
    call = str(model.options["call"])
    function = located(call, world)
    environ = environment(world, also=cast("list[str]", model.options.get("env") or ()))
    workers = [
        Worker(function, world, given=GIVEN, largest=LARGEST_ANSWER, environ=environ)
        for _ in range(model.limits.max_concurrency)
    ]
    async with until_left(Pool(*workers)) as pool:
        trouble = await pool.load(seconds=model.limits.timeout)
        if trouble is not None:
            why = world.redact(trouble.why)[:SHOWN]
            raise Refused(f"{model.name}: {call} cannot be loaded: {why}")
        yield Function(pool, Reading(model, strict=True), world.redact)


class Function:
    """Calls one function of the project."""

    def __init__(self, pool: Pool, reading: Reading, redact: Redactor) -> None:
        self._pool = pool
        self._reading = reading
        self._redact = redact

    async def complete(self, request: Request) -> Completion | Failure:
        """What the function answers, or why there is no answer."""
        document = handed(request)
        said = await self._pool.call([document[name] for name in GIVEN])
        if isinstance(said, Trouble):
            return failed(said)
        if "raised" in said:
            told = self._redact(str(said["raised"]))[:SHOWN]  # whole: half a key is a leak, too
            message = f"the function raised {told}"
            return Failure(kind=FailureKind.SERVER, message=message)
        try:
            return self._reading.completion(said.get("value"))
        except Malformed as why:
            return unreadable(why)
