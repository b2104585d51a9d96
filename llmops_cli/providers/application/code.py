"""Applications that are code of the project: a function, or a program.

A function runs in processes of its own:

    def answer(inputs: dict, messages: list) -> str | dict: ...

`inputs` are the case's. A second parameter named `messages` gets the prompt's rendered messages, a
third named `parameters` its parameters. The function may be async, and returns its text, or a
mapping with `text` and what else is known: `contexts`, `ids`, `tool_calls`, `usage`, `cost`. There
are as many processes as the model may have calls at once, each loaded when it is first needed.
Raising, hanging, exiting, forking and printing cost the one answer.

A program is run once for every answer, without a shell, in the project's folder. It reads
`{"inputs": …, "messages": …, "parameters": …}` and writes one JSON document, or, with
`output: text`, the text itself. An exit code other than 0 is a failure, described by the end of
its standard error.

The environment of both is a short list and what `env` names.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn, cast

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.application.answer_fields import (
    AnswerReader,
    Malformed,
    document_of,
    failed,
    malformed,
)
from llmops_cli.providers.application.checks import program
from llmops_cli.workers.process import LARGEST_ANSWER, CodeFailure, Finished, environment, run
from llmops_cli.workers.project_code import located
from llmops_cli.workers.worker import Pool, Worker

SHOWN = 300
"""Characters of an exception's or a program's own words in a message."""
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


@asynccontextmanager
async def open_command(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Find the program. Raises `Refused` if it is not there."""
    yield CommandApplication(model, context)


class CommandApplication:
    """Runs one program for every answer."""

    def __init__(self, model: Model, context: PluginContext) -> None:
        self._command = program(cast("list[str]", model.options["run"]), context)
        self._context = context
        self._environ = environment(context, also=cast("list[str]", model.options.get("env") or ()))
        self._reader = AnswerReader(model, strict=True)
        self._is_text = model.options.get("output") == "text"

    async def complete(self, request: Request) -> Completion | Failure:
        """Return what the program answers, or why there is no answer."""
        document = json.dumps(document_of(request)).encode("ascii") + b"\n"
        result = await run(
            self._command, document, self._context, self._environ, largest=LARGEST_ANSWER
        )
        if isinstance(result, CodeFailure):
            return failed(result)
        if result.code != 0:
            return Failure(kind=FailureKind.SERVER, message=self._ended(result))
        try:
            return self._reader.completion(self._answer(result.answer))
        except Malformed as why:
            return malformed(why)

    def _ended(self, result: Finished) -> str:
        """Return its exit status and the end of its output, redacted before it is cut: half a key
        is a leak.
        """
        text = " ".join(result.errors.decode("utf-8", "replace").split())
        words = self._context.redact(text)[-SHOWN:]
        how = f"exit code {result.code}" if result.code > 0 else f"signal {-result.code}"
        return f"the program ended with {how}" + (f": {words}" if words else "")

    def _answer(self, output: bytes) -> Json:
        try:
            text = output.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("it is not UTF-8") from error
        if self._is_text:
            return text.removesuffix("\n")
        try:
            return cast("Json", json.loads(text, parse_constant=_no_number))
        except (ValueError, RecursionError) as error:
            shown = " ".join(text[:320].split())[:80]
            raise Malformed(
                f"it is not JSON but {shown!r} (`output: text` takes it as it is)"
            ) from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
