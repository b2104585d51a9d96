"""One function of the project and the process that runs it, one call at a time; a pool of them.

A process that gave no answer is killed, and made anew for the next call.

`path/to/file.py:function`: where it stands, and whether it is there. Nothing of it is run.

Files of the project that an option names: they stand inside it, links followed.
"""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import World
from llmops_cli.workers.process import Trouble, ended, environment, started

SCRIPT = Path(__file__).with_name("child.py")

Message: TypeAlias = Mapping[str, Json]
"""One line from the process: `value`, or what the function `raised`."""


class Worker:
    """One function and its process.

    `given` names what the function may be handed by position, in order: the first always, the
    others where it has a parameter of that name. `largest` caps the bytes of one answer.
    """

    def __init__(
        self,
        function: Function,
        world: World,
        *,
        given: Sequence[str],
        largest: int,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-P", "-B", str(SCRIPT), str(function.file), function.name]
        self._command = [*command, *given]
        self._world = world
        self._environ = environment(world) if environ is None else environ
        self._largest = largest
        self._process: Process | None = None
        self._answers: BufferedByteReceiveStream | None = None
        self._calls = 0

    async def call(
        self,
        given: Sequence[Json],
        *,
        arguments: Mapping[str, Json] | None = None,
        seconds: float = math.inf,
    ) -> Message | Trouble:
        """What the function makes of `given` (by position) and `arguments` (by name).

        After a `Trouble` the process is gone, as it is when the call is cancelled.
        """
        return await self._asked({"given": given, "arguments": arguments or {}}, seconds)

    async def load(self, *, seconds: float = math.inf) -> Trouble | None:
        """Loads the function, if that is not done; why it cannot be."""
        said = await self._asked(None, seconds)
        return said if isinstance(said, Trouble) else None

    async def stop(self) -> None:
        """Ends the process and all that it started."""
        process, self._process = self._process, None
        if process is not None:
            await ended(process)

    async def _asked(self, request: Mapping[str, Json] | None, seconds: float) -> Message | Trouble:
        """The process's answer to `request`, or to being started where that is None."""
        alive = False
        try:
            with anyio.fail_after(None if math.isinf(seconds) else seconds):
                if self._process is None and (trouble := await self._start()) is not None:
                    return trouble
                answer = {} if request is None else await self._exchange(request)
                alive = not isinstance(answer, Trouble)
                return answer
        except TimeoutError:
            why = f"the function took more than {seconds:g} s and was stopped"
            return Trouble(cause="slow", why=why)
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            why = f"the function ended its process{await self._code()}"
            return Trouble(cause="ended", why=why)
        except anyio.DelimiterNotFound:
            why = f"the function returned more than {self._largest:,} bytes"
            return Trouble(cause="large", why=why)
        finally:
            if not alive:
                await self.stop()

    async def _start(self) -> Trouble | None:
        self._process = await started(
            self._command, self._world, self._environ, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._answers = BufferedByteReceiveStream(self._process.stdout)
        first = await self._line()
        if first.get("ready") is True:
            return None
        return Trouble(cause="unloaded", why=str(first.get("broken")))

    async def _exchange(self, request: Mapping[str, Json]) -> Message | Trouble:
        assert self._process is not None
        assert self._process.stdin is not None
        self._calls += 1
        line = json.dumps({"id": self._calls, **request}).encode("ascii") + b"\n"
        await self._process.stdin.send(line)
        answer = await self._line()
        if answer.get("id") != self._calls:
            why = "the function wrote to the channel that answers go by"
            return Trouble(cause="astray", why=why)
        return answer

    async def _line(self) -> Message:
        assert self._answers is not None
        try:
            read = json.loads(await self._answers.receive_until(b"\n", self._largest))
        except (ValueError, RecursionError):
            read = None
        return read if isinstance(read, dict) else {}

    async def _code(self) -> str:
        if self._process is None:
            return ""
        with anyio.move_on_after(1):
            return f" (exit code {await self._process.wait()})"
        return ""


class Pool:
    """Workers for one function: as many as there are calls at once, the last used one first."""

    def __init__(self, first: Worker, *others: Worker) -> None:
        self._all = (first, *others)
        self._idle = list(reversed(self._all))
        self._turn = anyio.Semaphore(len(self._all))

    async def call(self, given: Sequence[Json]) -> Message | Trouble:
        """As `Worker.call`, by a worker that is free."""
        async with self._turn:
            worker = self._idle.pop()
            try:
                return await worker.call(given)
            finally:
                self._idle.append(worker)

    async def load(self, *, seconds: float) -> Trouble | None:
        """Loads the function in one worker, to see that it can be; why it cannot."""
        return await self._idle[-1].load(seconds=seconds)

    async def stop(self) -> None:
        """Ends every process."""
        for worker in self._all:
            await worker.stop()


@asynccontextmanager
async def until_left(pool: Pool) -> AsyncIterator[Pool]:
    """`pool`, whose processes end with the context, however it is left."""
    try:
        yield pool
    finally:
        with anyio.CancelScope(shield=True):
            await pool.stop()


class Function(NamedTuple):
    """A function of the project, by its file."""

    file: Path
    name: str


def located(call: str, world: World) -> Function:
    """What `call` names. Raises `Refused`."""
    path, colon, name = call.rpartition(":")
    if not colon or not name.isidentifier():
        raise Refused(f"{call!r} does not name a function", hint="write path/to/file.py:function")
    return Function(project_file(world, path), name)


def what_is_wrong(call: str, world: World) -> str | None:
    """Why `call` cannot be called, as far as its file says without being run; None: nothing."""
    try:
        file, name = located(call, world)
        tree = ast.parse(file.read_bytes())
    except Refused as error:
        return error.message
    except (SyntaxError, ValueError) as error:
        return f"{call} is not Python: {error}"
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    named = [each.name for each in tree.body if isinstance(each, functions)]
    if name in named or _assigned(tree, name):
        return None
    return f"{call.partition(':')[0]} has no function {name!r}"


def _assigned(tree: ast.Module, name: str) -> bool:
    """Whether `name` is imported or assigned at the top of the file, so may be a function."""
    for each in tree.body:
        if isinstance(each, (ast.Import, ast.ImportFrom)):
            if any((alias.asname or alias.name) == name for alias in each.names):
                return True
        elif isinstance(each, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in each.targets
        ):
            return True
    return False


LARGEST = 5_000_000
"""Bytes; a schema, a scorer or an application's file beyond this is a mistake."""


def project_file(world: World, path: str) -> Path:
    """Where `path` stands. Raises `Refused` where it leaves the project or is no file."""
    root = world.root.resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root):
        raise Refused(f"{path} is outside the project", hint="keep what llmops runs inside it")
    if not file.is_file():
        raise Refused(f"{path} is not a file of the project")
    if file.stat().st_size > LARGEST:
        raise Refused(f"{path} is larger than {LARGEST:,} bytes")
    return file
