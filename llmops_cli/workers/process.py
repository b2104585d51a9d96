"""Starts processes that hold code of the project, and ends them with all that they started.

Their environment is a short list that carries no key, and what the project names besides. A
program is run once (`run`: its standard output is its answer), or stays beside llmops (`Server`). A
function has a process that answers one call after the other (`Worker`), or several (`Pool`).
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.workers.project_code import Function

PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV",
    "SYSTEMROOT",
)  # fmt: skip
"""Environment variables that every process gets: none that carries a key."""
_PR_SET_DUMPABLE = 4
"""Of Linux' prctl(2)."""
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an application's answer."""
LAST_ERRORS = 4000
"""Bytes of the end of standard error that are kept."""


class CodeFailure(NamedTuple):
    """Why code gave no answer."""

    cause: Literal["ended", "slow", "large", "astray", "unloaded"]
    """Its process ended; its time was up; it wrote too much; it wrote where only answers go; it
    could not be loaded."""
    why: str


def environment(context: PluginContext, *, also: Sequence[str] = ()) -> Mapping[str, str]:
    """Return the variables that code of the project sees: the short list and those in `also`."""
    environ = context.environ
    return {name: environ[name] for name in (*PASSED_ON, *also) if name in environ}


async def start(
    command: Sequence[str], context: PluginContext, environ: Mapping[str, str], *, stderr: int
) -> Process:
    """Start `command` in the project's folder, in a group of its own, with pipes.

    Raises `OSError` if it cannot be started.
    """
    _hide_environment()
    return await anyio.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=context.root,
        env=environ,
        start_new_session=True,
    )


@cache
def _hide_environment() -> None:
    """Keep what is started from reading this process, whose environment and memory hold the keys.

    Only root reads /proc/PID/environ, or attaches to a process, that is not dumpable: proc(5).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


async def end(process: Process) -> None:
    """End `process` and all that it started, now; not interrupted by a canceled run."""
    kill_group(process)
    with anyio.CancelScope(shield=True):
        await process.aclose()


def kill_group(process: Process) -> None:
    """Kill `process`, if it runs, and all that it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):  # it may have ended, with all that it started
            os.killpg(process.pid, signal.SIGKILL)


class Finished(NamedTuple):
    """A program that has ended."""

    code: int
    answer: bytes
    """Standard output."""
    errors: bytes
    """The last lines of standard error."""


async def run(
    command: Sequence[str], stdin: bytes, context: PluginContext, environ: Mapping[str, str]
) -> Finished | CodeFailure:
    """Run `command` with `stdin` on its standard input, until it ends or is canceled.

    When it has ended, all that it started is ended. More than `LARGEST_ANSWER` ends it at once.
    """
    try:
        process = await start(command, context, environ, stderr=subprocess.PIPE)
    except OSError as error:
        return CodeFailure("unloaded", f"{command[0]} cannot be started: {error.strerror or error}")
    try:
        return await _finish(process, stdin)
    finally:
        await end(process)


async def _finish(process: Process, stdin: bytes) -> Finished | CodeFailure:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    answer, errors = bytearray(), bytearray()
    async with anyio.create_task_group() as group:
        group.start_soon(_send, process.stdin, stdin)
        group.start_soon(_read_last, process.stderr, errors)
        group.start_soon(_kill_what_is_left, process)
        async for part in process.stdout:
            answer += part
            if len(answer) > LARGEST_ANSWER:
                group.cancel_scope.cancel()
                return CodeFailure("large", f"it wrote more than {LARGEST_ANSWER:,} bytes")
    return Finished(await process.wait(), bytes(answer), bytes(errors))


async def _send(pipe: ByteSendStream, stdin: bytes) -> None:
    # Not every program reads what it is given.
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await pipe.send(stdin)
        await pipe.aclose()


async def _read_last(stderr: ByteReceiveStream, errors: bytearray) -> None:
    async for part in stderr:
        errors += part
        if len(errors) > LAST_ERRORS:
            start_of_line = errors.find(b"\n", len(errors) - LAST_ERRORS) + 1
            del errors[: start_of_line or -LAST_ERRORS]


async def _kill_what_is_left(process: Process) -> None:
    """End what the program leaves behind, which would keep its pipes open."""
    await process.wait()
    kill_group(process)


GUARD = Path(__file__).with_name("guard.py")
STOPPING = 10.0
"""Seconds for the guard to end everything, before it is killed itself."""
LAST_LINES = 200
"""Lines kept in memory."""
LONGEST_LINE = 65536
"""Bytes; a longer line is several."""
LARGEST_LOG = 20_000_000
"""Characters of a log; what comes after is shown in errors and not written."""


class Server:
    """A program that runs until `stop`, or until it ends.

    It runs below a guard (`guard`), which ends it also where this process is killed. What it
    writes goes into a log file, without secrets; the last lines are in memory for error messages.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        log: Path,
        redact: Callable[[str], str],
    ) -> None:
        """Start `command` in `folder`. Raises `OSError` if the log cannot be written."""
        _hide_environment()
        self._redact = redact
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._log = os.fdopen(handle, "w", encoding="utf-8")
        self._guard = subprocess.Popen(  # noqa: S603 - what the project says, where it is trusted
            [sys.executable, "-I", str(GUARD), *command],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is llmops' to deal with
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> str | None:
        """How it ended by itself: `exit code 1`, `killed by SIGKILL`; None while it runs."""
        code = self._guard.poll()
        if code is None:
            return None
        self._reader.join(1.0)  # its last words
        try:
            return f"killed by {signal.Signals(code - 128).name}"
        except ValueError:
            return f"exit code {code}"

    def last(self, lines: int) -> list[str]:
        """Return the last lines it wrote, at most `lines`."""
        return list(self._lines)[-lines:]

    def ask_to_end(self) -> None:
        """Stop it and its subprocesses without waiting."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()

    def stop(self) -> None:
        """Stop it and its subprocesses, and wait until they are gone."""
        self.ask_to_end()
        try:
            self._guard.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._reader.join(1.0)

    def _read(self) -> None:
        assert self._guard.stdout is not None
        written = 0
        with self._log as log, self._guard.stdout as output:
            for raw in iter(lambda: output.readline(LONGEST_LINE), b""):
                line = self._redact(raw.decode("utf-8", "replace").rstrip())
                self._lines.append(line)
                if written < LARGEST_LOG:
                    written += len(line) + 1
                    log.write(line + "\n")
                    log.flush()


def new_log(folder: Path, stem: str, *, keep: int) -> Path:
    """Return a new log's path in `folder`; of earlier ones, the newest `keep` stay."""
    earlier = sorted(folder.glob(f"{stem}-*.log"), key=lambda log: log.stem.rsplit("-", 2)[1])
    for old in earlier[: max(0, len(earlier) - keep)]:
        old.unlink(missing_ok=True)
    return folder / f"{stem}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.log"


Message: TypeAlias = Mapping[str, Json]
"""One line from the process of a function: `value`, or what the function `raised`."""


class Worker:
    """One function of the project and its process, one call at a time.

    `parameters` names what the function may be called with by position, in order: the first always,
    the others where it has a parameter of that name. `largest` caps the bytes of one answer. A
    process that gave no answer is killed, and started again for the next call.
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
        script = str(Path(__file__).with_name("child.py"))
        trust = json.dumps([*context.trust])
        command = [sys.executable, "-P", "-B", script, str(function.file), function.name, trust]
        self._command = [*command, *parameters]
        self._context = context
        self._environ = environment(context) if environ is None else environ
        self._largest = largest
        self._process: Process | None = None
        self._answers: BufferedByteReceiveStream | None = None
        self._calls = 0

    async def call(
        self,
        positional: Sequence[Json] | None,
        *,
        arguments: Mapping[str, Json] | None = None,
        seconds: float = math.inf,
    ) -> Message | CodeFailure:
        """Call the function with `positional` and `arguments` by name; None: only load it.

        After a `CodeFailure` the process is gone, as it is when the call is canceled.
        """
        alive = False
        try:
            with anyio.fail_after(None if math.isinf(seconds) else seconds):
                if self._process is None and (failure := await self._start()) is not None:
                    return failure
                answer: Message | CodeFailure = {}
                if positional is not None:
                    answer = await self._exchange(positional, arguments or {})
                alive = not isinstance(answer, CodeFailure)
                return answer
        except TimeoutError:
            return CodeFailure("slow", f"the function took more than {seconds:g} s and was stopped")
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            return CodeFailure("ended", f"the function ended its process{await self._exit_code()}")
        except anyio.DelimiterNotFound:
            return CodeFailure("large", f"the function returned more than {self._largest:,} bytes")
        finally:
            if not alive:
                await self.stop()

    async def stop(self) -> None:
        """End the process and all that it started."""
        process, self._process = self._process, None
        if process is not None:
            await end(process)

    async def _start(self) -> CodeFailure | None:
        self._process = await start(
            self._command, self._context, self._environ, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._answers = BufferedByteReceiveStream(self._process.stdout)
        first = await self._line()
        if first.get("ready") is True:
            return None
        return CodeFailure("unloaded", str(first.get("broken")))

    async def _exchange(
        self, positional: Sequence[Json], arguments: Mapping[str, Json]
    ) -> Message | CodeFailure:
        assert self._process is not None
        assert self._process.stdin is not None
        self._calls += 1
        request = {"id": self._calls, "positional": positional, "arguments": arguments}
        await self._process.stdin.send(json.dumps(request).encode("ascii") + b"\n")
        answer = await self._line()
        if answer.get("id") != self._calls:
            return CodeFailure("astray", "the function wrote to the channel that answers go by")
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
    """Workers for one function: as many as there are calls at once. Use with `aclosing`."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._idle = list(reversed(workers))
        self._turn = anyio.Semaphore(len(workers))

    async def call(
        self, positional: Sequence[Json] | None, *, seconds: float = math.inf
    ) -> Message | CodeFailure:
        """As `Worker.call`, by a worker that is free, the last used one first."""
        async with self._turn:
            worker = self._idle.pop()
            try:
                return await worker.call(positional, seconds=seconds)
            finally:
                self._idle.append(worker)

    async def aclose(self) -> None:
        """End every process."""
        for worker in self._workers:
            await worker.stop()
