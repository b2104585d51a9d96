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

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Provider, World
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.application import (
    Reading,
    failed,
    handed,
    meaningless,
    unreadable,
)
from llmops_cli.providers.said import Malformed
from llmops_cli.workers.function import located, what_is_wrong
from llmops_cli.workers.group import LARGEST_ANSWER, Trouble, environment
from llmops_cli.workers.worker import Pool, Worker, until_left

GIVEN = ("inputs", "messages", "parameters")
"""What the function is handed, by position."""


def check(options: Mapping[str, Any], world: World) -> str | None:
    """What is wrong with a model as it is written. The function's file is parsed, not run."""
    wrong = meaningless(options, "base_url", "headers", "api_key_env", "extra_body")
    return wrong or what_is_wrong(options["call"], world)


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
            raise Refused(f"{model.name}: {call} cannot be loaded: {trouble.why}")
        yield Function(pool, Reading(model, strict=True))


class Function:
    """Calls one function of the project."""

    def __init__(self, pool: Pool, reading: Reading) -> None:
        self._pool = pool
        self._reading = reading

    async def complete(self, request: Request) -> Completion | Failure:
        """What the function answers, or why there is no answer."""
        document = handed(request)
        said = await self._pool.call([document[name] for name in GIVEN])
        if isinstance(said, Trouble):
            return failed(said)
        if "raised" in said:
            message = f"the function raised {said['raised']}"
            return Failure(kind=FailureKind.SERVER, message=message)
        try:
            return self._reading.completion(said.get("value"))
        except Malformed as why:
            return unreadable(why)
