"""One function of the project and the process that runs it, one call at a time; a pool of them.

A process that gave no answer is killed, and started again for the next call.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.workers.process import CodeFailure, end, environment, start
from llmops_cli.workers.project_code import Function

SCRIPT = Path(__file__).with_name("child.py")

Message: TypeAlias = Mapping[str, Json]
"""One line from the process: `value`, or what the function `raised`."""


class Worker:
    """One function and its process.

    `parameters` names what the function may be called with by position, in order: the first always,
    the others where it has a parameter of that name. `largest` caps the bytes of one answer.
    """

    def __init__(
        self,
        function: Function,
        context: PluginContext,
        *,
        parameters: Sequence[str],
        largest: int,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-P", "-B", str(SCRIPT), str(function.file), function.name]
        self._command = [*command, *parameters]
        self._context = context
        self._environ = environment(context) if environ is None else environ
        self._largest = largest
        self._process: Process | None = None
        self._answers: BufferedByteReceiveStream | None = None
        self._calls = 0

    async def call(
        self,
        positional: Sequence[Json],
        *,
        arguments: Mapping[str, Json] | None = None,
        seconds: float = math.inf,
    ) -> Message | CodeFailure:
        """Call the function with `positional` and `arguments` by name.

        After a `CodeFailure` the process is gone, as it is when the call is canceled.
        """
        return await self._answer_to(
            {"positional": positional, "arguments": arguments or {}}, seconds
        )

    async def load(self, *, seconds: float = math.inf) -> CodeFailure | None:
        """Load the function, if that is not done; return why it cannot be loaded."""
        answer = await self._answer_to(None, seconds)
        return answer if isinstance(answer, CodeFailure) else None

    async def stop(self) -> None:
        """End the process and all that it started."""
        process, self._process = self._process, None
        if process is not None:
            await end(process)

    async def _answer_to(
        self, request: Mapping[str, Json] | None, seconds: float
    ) -> Message | CodeFailure:
        """Return the process's answer to `request`, or to being started where that is None."""
        alive = False
        try:
            with anyio.fail_after(None if math.isinf(seconds) else seconds):
                if self._process is None and (failure := await self._start()) is not None:
                    return failure
                answer = {} if request is None else await self._exchange(request)
                alive = not isinstance(answer, CodeFailure)
                return answer
        except TimeoutError:
            why = f"the function took more than {seconds:g} s and was stopped"
            return CodeFailure(cause="slow", why=why)
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            why = f"the function ended its process{await self._exit_code()}"
            return CodeFailure(cause="ended", why=why)
        except anyio.DelimiterNotFound:
            why = f"the function returned more than {self._largest:,} bytes"
            return CodeFailure(cause="large", why=why)
        finally:
            if not alive:
                await self.stop()

    async def _start(self) -> CodeFailure | None:
        self._process = await start(
            self._command, self._context, self._environ, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._answers = BufferedByteReceiveStream(self._process.stdout)
        first = await self._line()
        if first.get("ready") is True:
            return None
        return CodeFailure(cause="unloaded", why=str(first.get("broken")))

    async def _exchange(self, request: Mapping[str, Json]) -> Message | CodeFailure:
        assert self._process is not None
        assert self._process.stdin is not None
        self._calls += 1
        line = json.dumps({"id": self._calls, **request}).encode("ascii") + b"\n"
        await self._process.stdin.send(line)
        answer = await self._line()
        if answer.get("id") != self._calls:
            why = "the function wrote to the channel that answers go by"
            return CodeFailure(cause="astray", why=why)
        return answer

    async def _line(self) -> Message:
        assert self._answers is not None
        try:
            message = json.loads(await self._answers.receive_until(b"\n", self._largest))
        except (ValueError, RecursionError):
            message = None
        return message if isinstance(message, dict) else {}

    async def _exit_code(self) -> str:
        if self._process is None:
            return ""
        with anyio.move_on_after(1):
            return f" (exit code {await self._process.wait()})"
        return ""


class Pool:
    """Workers for one function: as many as there are calls at once. Use as `async with Pool(…)`."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._idle = list(reversed(workers))
        self._turn = anyio.Semaphore(len(workers))

    async def call(self, positional: Sequence[Json]) -> Message | CodeFailure:
        """As `Worker.call`, by a worker that is free, the last used one first."""
        async with self._turn:
            worker = self._idle.pop()
            try:
                return await worker.call(positional)
            finally:
                self._idle.append(worker)

    async def load(self, *, seconds: float) -> CodeFailure | None:
        """Load the function in one worker, to see that it can be; return why it cannot."""
        return await self._idle[-1].load(seconds=seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process, however the context is left."""
        with anyio.CancelScope(shield=True):
            for worker in self._workers:
                await worker.stop()
