"""An application as a program: JSON on its standard input, its answer on its standard output.

The program is run once for every answer, without a shell, in the project's folder. It reads
`{"inputs": …, "messages": …, "parameters": …}` and writes one JSON document, or, with
`output: text`, the text itself. Its environment is a short list and what `env` names. An exit
code other than 0 is a failure, told by the end of its standard error.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn, cast

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import Provider, World
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.application.answer_fields import (
    Malformed,
    Reading,
    failed,
    handed,
    unreadable,
)
from llmops_cli.providers.application.config_checks import program
from llmops_cli.workers.process import LARGEST_ANSWER, Ran, Trouble, environment, run

SHOWN = 300
"""Characters of the end of standard error in a message."""


@asynccontextmanager
async def open_command(model: Model, world: World) -> AsyncIterator[Provider]:
    """The program, ready to be run. Raises `Refused` where it is not there."""
    yield Program(model, world)


class Program:
    """Runs one program for every answer."""

    def __init__(self, model: Model, world: World) -> None:
        self._command = program(cast("list[str]", model.options["run"]), world)
        self._world = world
        self._environ = environment(world, also=cast("list[str]", model.options.get("env") or ()))
        self._reading = Reading(model, strict=True)
        self._plain = model.options.get("output") == "text"

    async def complete(self, request: Request) -> Completion | Failure:
        """What the program answers, or why there is no answer."""
        given = json.dumps(handed(request)).encode("ascii") + b"\n"
        ran = await run(self._command, given, self._world, self._environ, largest=LARGEST_ANSWER)
        if isinstance(ran, Trouble):
            return failed(ran)
        if ran.code != 0:
            return Failure(kind=FailureKind.SERVER, message=self._ended(ran))
        try:
            return self._reading.completion(self._answer(ran.answer))
        except Malformed as why:
            return unreadable(why)

    def _ended(self, ran: Ran) -> str:
        """How it ended, and the last it said, redacted whole: half a key is a leak, too."""
        said = self._world.redact(" ".join(ran.said.decode("utf-8", "replace").split()))[-SHOWN:]
        how = f"exit code {ran.code}" if ran.code > 0 else f"signal {-ran.code}"
        return f"the program ended with {how}" + (f": {said}" if said else "")

    def _answer(self, written: bytes) -> Json:
        try:
            text = written.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("it is not UTF-8") from error
        if self._plain:
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
