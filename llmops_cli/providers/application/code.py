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
from contextlib import aclosing, asynccontextmanager
from typing import cast

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.application.answer_fields import (
    AnswerReader,
    Application,
    Malformed,
    document_of,
    failed,
    malformed,
)
from llmops_cli.providers.application.checks import program
from llmops_cli.providers.http.responses import strict_json
from llmops_cli.workers.process import LARGEST_ANSWER, CodeFailure, Pool, Worker, environment, run
from llmops_cli.workers.project_code import located

SHOWN = 300
"""Characters of an exception's or a program's own words in a message."""
PARAMETERS = ("inputs", "messages", "parameters")
"""What the function is called with, by position."""


@asynccontextmanager
async def open_python(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Load the function once. Raises `Refused` if it cannot be loaded."""
    path, reader = str(model.options["call"]), AnswerReader(model, strict=True)
    function = located(path, context)
    environ = environment(context, also=cast("list[str]", model.options.get("env") or ()))
    workers = [
        Worker(function, context, parameters=PARAMETERS, largest=LARGEST_ANSWER, environ=environ)
        for _ in range(model.limits.max_concurrency)
    ]

    async def call(request: Request) -> Completion | Failure:
        document = document_of(request)
        message = await pool.call([document[name] for name in PARAMETERS])
        if isinstance(message, CodeFailure):
            return failed(message)
        if "raised" in message:
            error = context.redact(str(message["raised"]))[:SHOWN]  # whole: half a key is a leak
            return Failure(kind=FailureKind.SERVER, message=f"the function raised {error}")
        return reader.outcome(message.get("value"))

    async with aclosing(Pool(workers)) as pool:
        failure = await pool.call(None, seconds=model.limits.timeout)
        if isinstance(failure, CodeFailure):
            why = context.redact(failure.why)[:SHOWN]
            raise Refused(f"{model.name}: {path} cannot be loaded: {why}")
        yield Application(call)


@asynccontextmanager
async def open_command(model: Model, context: PluginContext) -> AsyncIterator[Provider]:
    """Find the program. Raises `Refused` if it is not there."""
    command = program(cast("list[str]", model.options["run"]), context)
    environ = environment(context, also=cast("list[str]", model.options.get("env") or ()))
    reader, is_text = AnswerReader(model, strict=True), model.options.get("output") == "text"

    async def call(request: Request) -> Completion | Failure:
        document = json.dumps(document_of(request)).encode("ascii") + b"\n"
        result = await run(command, document, context, environ)
        if isinstance(result, CodeFailure):
            return failed(result)
        if result.code != 0:
            # Redacted before it is cut: half a key is a leak.
            text = context.redact(" ".join(result.errors.decode("utf-8", "replace").split()))
            how = f"exit code {result.code}" if result.code > 0 else f"signal {-result.code}"
            message = f"the program ended with {how}" + (f": {text[-SHOWN:]}" if text else "")
            return Failure(kind=FailureKind.SERVER, message=message)
        try:
            return reader.completion(_output(result.answer, is_text=is_text))
        except Malformed as why:
            return malformed(why)

    yield Application(call)


def _output(output: bytes, *, is_text: bool) -> Json:
    """Return what a program wrote. Raises `Malformed`."""
    try:
        text = output.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("it is not UTF-8") from error
    if is_text:
        return text.removesuffix("\n")
    try:
        return strict_json(text)
    except (ValueError, RecursionError) as error:
        shown = f"{' '.join(text[:320].split())[:80]!r} (`output: text` takes it as it is)"
        raise Malformed(f"it is not JSON but {shown}") from error
