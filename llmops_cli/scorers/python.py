"""The `python` scorer: a function of the project, run in a process of its own.

    def polite(text: str, case: dict) -> bool: ...

`text` is the answer. `case` holds the facts of the case (`inputs`, `expected`, `contexts`,
`messages`, `metadata`) and nothing else, since only facts are part of a score's key. A third
parameter named `answer` gets `tool_calls`, `finish_reason`, `contexts` and `ids`. The function may
be async, and returns True or False, a number from 0 to 1, a text (what is wrong: a 0 with its
reason), or `{"score": …, "reason": …}`.

Whatever else it does — raise, return NaN, exit, hang, fork — leaves that one answer Unscored; its
process is killed and made anew. The process sees no secrets: its environment is a short list.
"""

from __future__ import annotations

import ast
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, cast

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Scorer, World
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.project import project_file
from llmops_cli.scorers.quoting import quoted
from llmops_cli.scorers.reading import answer

SCRIPT = Path(__file__).with_name("worker.py")

PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV",
    "SYSTEMROOT",
)  # fmt: skip
"""Environment variables that the process gets: none that carries a key."""

LARGEST_ANSWER = 1_000_000
"""Bytes of one line from the process."""

GIVE_UP = 5
"""Deaths in a row after which a function is left alone: a hang costs its whole timeout."""

Message: TypeAlias = Mapping[str, Json]
"""One line from the process."""


@asynccontextmanager
async def open_python(world: World) -> AsyncIterator[Scorer]:
    """The scorer, with one process for each function that it is asked for."""
    async with AsyncExitStack() as stack:
        workers: dict[str, Worker] = {}

        async def python(
            case: Case,
            completion: Completion,
            *,
            call: str,
            arguments: Mapping[str, Json] | None = None,
            timeout: float = 30.0,  # noqa: ASYNC109 - an option that people write, per call
            identity: Json = None,  # noqa: ARG001 - a part of the scorer's key, and of nothing else
        ) -> Score | Unscored:
            if call not in workers:
                workers[call] = Worker(*located(call, world), world)
                stack.push_async_callback(workers[call].stop)
            request = _request(case, completion, arguments or {})
            return await workers[call].score(request, timeout)

        yield cast("Scorer", python)  # its options have names and types


def check(options: Mapping[str, Any], world: World) -> str | None:
    """Whether the function is there. The file is parsed, not run."""
    try:
        file, name = located(options["call"], world)
        tree = ast.parse(file.read_bytes())
    except Refused as error:
        return error.message
    except (SyntaxError, ValueError) as error:
        return f"{options['call']} is not Python: {error}"
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    named = [each.name for each in tree.body if isinstance(each, functions)]
    if name in named or _assigned(tree, name):
        return None
    return f"{options['call'].partition(':')[0]} has no function {name!r}"


def located(call: str, world: World) -> tuple[Path, str]:
    """File and function name of `path/to/file.py:function`. Raises `Refused`."""
    path, colon, name = call.rpartition(":")
    if not colon or not name.isidentifier():
        raise Refused(f"{call!r} does not name a function", hint="write path/to/file.py:function")
    return project_file(world, path), name


class Worker:
    """One function and the process that runs it, one call at a time."""

    def __init__(self, file: Path, name: str, world: World) -> None:
        self._command = [sys.executable, "-P", "-B", str(SCRIPT), str(file), name]
        self._world = world
        self._turn = anyio.Lock()
        self._process: Process | None = None
        self._answers: BufferedByteReceiveStream | None = None
        self._calls = 0
        self._deaths = 0
        self._given_up: str | None = None

    async def score(self, request: Mapping[str, Json], seconds: float) -> Score | Unscored:
        """What the function makes of one answer, in at most `seconds` from its turn."""
        async with self._turn:
            if self._given_up is not None:
                return Unscored(why=self._given_up)
            given = await self._asked(request, seconds)
            if not isinstance(given, Unscored):
                self._deaths = 0
                return _read(given)
            self._deaths += 1
            if self._deaths == GIVE_UP and self._given_up is None:
                self._given_up = f"left alone after {GIVE_UP} failures in a row: {given.why}"
            return given

    async def stop(self) -> None:
        """Ends the process and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if sys.platform == "win32":
            process.kill()
        else:
            with suppress(ProcessLookupError):  # it may have ended, with all that it started
                os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()

    async def _asked(self, request: Mapping[str, Json], seconds: float) -> Message | Unscored:
        """The message of the process, or why there is none, after which it is gone."""
        alive = False
        try:
            with anyio.fail_after(seconds):
                if self._process is None and (why := await self._start()) is not None:
                    self._given_up = why
                    return Unscored(why=why)
                given = await self._exchange(request)
                alive = not isinstance(given, Unscored)
                return given
        except TimeoutError:
            return Unscored(why=f"the function took more than {seconds:g} s and was stopped")
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            return Unscored(why=f"the function ended its process{await self._code()}")
        except anyio.DelimiterNotFound:
            return Unscored(why=f"the function returned more than {LARGEST_ANSWER:,} bytes")
        finally:
            if not alive:
                await self.stop()

    async def _start(self) -> str | None:
        """Starts the process; why the function cannot be loaded, or None."""
        environ = self._world.environ
        self._process = await anyio.open_process(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._world.root,
            env={name: environ[name] for name in PASSED_ON if name in environ},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._answers = BufferedByteReceiveStream(self._process.stdout)
        first = await self._line()
        if first.get("ready") is True:
            return None
        return f"the function cannot be loaded: {quoted(str(first.get('broken')), 300)}"

    async def _exchange(self, request: Mapping[str, Json]) -> Message | Unscored:
        assert self._process is not None
        assert self._process.stdin is not None
        self._calls += 1
        line = json.dumps({"id": self._calls, **request}).encode("ascii") + b"\n"
        await self._process.stdin.send(line)
        given = await self._line()
        if given.get("id") != self._calls:
            return Unscored(why="the function wrote to the channel that answers go by")
        return given

    async def _line(self) -> Message:
        assert self._answers is not None
        try:
            read = json.loads(await self._answers.receive_until(b"\n", LARGEST_ANSWER))
        except ValueError:
            read = None
        return read if isinstance(read, dict) else {}

    async def _code(self) -> str:
        if self._process is None:
            return ""
        with anyio.move_on_after(1):
            return f" (exit code {await self._process.wait()})"
        return ""


def _request(case: Case, completion: Completion, arguments: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "text": answer(completion.text),
        "case": {
            "inputs": dict(case.inputs),
            "expected": case.expected,
            "contexts": list(case.contexts),
            "messages": [each.plain() for each in case.messages],
            "metadata": dict(case.metadata),
        },
        "answer": {
            "tool_calls": [
                {"name": each.name, "arguments": each.arguments} for each in completion.tool_calls
            ],
            "finish_reason": completion.finish_reason,
            "contexts": list(completion.contexts or ()),
            "ids": list(completion.ids or ()),
        },
        "arguments": dict(arguments),
    }


def _read(message: Message) -> Score | Unscored:
    """The score in a message of the process."""
    if "raised" in message:
        return Unscored(why=f"the function raised {quoted(str(message['raised']), 300)}")
    value: Json = message.get("value")
    reason = ""
    if isinstance(value, Mapping):
        if not value.keys() <= {"score", "reason"}:
            return Unscored(why="the function returned a mapping with more than score and reason")
        reason = str(value.get("reason") or "")
        value = value.get("score")
    elif isinstance(value, str) and value:
        reason = value
        value = False
    if not isinstance(value, (bool, int, float)):
        return Unscored(why=f"the function returned {quoted(str(value))}, which is no score")
    if not (math.isfinite(value) and 0 <= value <= 1):
        return Unscored(why=f"the function returned {value}; a score is from 0 to 1")
    return Score(value=float(value), reason=reason[:1000] or f"the function returned {value}")


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
