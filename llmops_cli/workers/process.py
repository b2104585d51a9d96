"""Starts processes that hold code of the project, and ends them with all that they started.

Their environment is a short list that carries no key, and what the project names besides. A
program is run once (`run`: its standard output is its answer), or stays beside llmops (`Server`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from llmops_cli.core.ports import PluginContext

PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV",
    "SYSTEMROOT",
)  # fmt: skip
"""Environment variables that every process gets: none that carries a key."""
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an application's answer."""
LAST_ERRORS = 4000
"""Bytes of the end of standard error that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFailure:
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
    return await anyio.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=context.root,
        env=environ,
        start_new_session=True,
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that has ended."""

    code: int
    answer: bytes
    """Standard output."""
    errors: bytes
    """The last lines of standard error."""


async def run(
    command: Sequence[str],
    stdin: bytes,
    context: PluginContext,
    environ: Mapping[str, str],
    *,
    largest: int,
) -> Finished | CodeFailure:
    """Run `command` with `stdin` on its standard input, until it ends or is canceled.

    When it has ended, all that it started is ended. More than `largest` bytes end it at once.
    """
    try:
        process = await start(command, context, environ, stderr=subprocess.PIPE)
    except OSError as error:
        why = f"{command[0]} cannot be started: {error.strerror or error}"
        return CodeFailure(cause="unloaded", why=why)
    try:
        return await _finish(process, stdin, largest)
    finally:
        await end(process)


async def _finish(process: Process, stdin: bytes, largest: int) -> Finished | CodeFailure:
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
            if len(answer) > largest:
                group.cancel_scope.cancel()
                return CodeFailure(cause="large", why=f"it wrote more than {largest:,} bytes")
    return Finished(code=await process.wait(), answer=bytes(answer), errors=bytes(errors))


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
    earlier = sorted(folder.glob(f"{stem}-*.log"), key=_age)
    for old in earlier[: max(0, len(earlier) - keep)]:
        old.unlink(missing_ok=True)
    return folder / f"{stem}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.log"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process tidies up, too
        return 0.0
