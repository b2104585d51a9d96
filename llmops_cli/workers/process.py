"""Starts a process that holds code of the project, and ends it with all that it started.

Its environment is a short list that carries no key, and what the project names besides.

One program, run once: it reads its standard input, and what it writes is its answer.

A program that serves beside us: started, its words kept, ended with all it started.

It runs below a guard (`guard`), which ends it also where this process is killed. What it writes
goes into a log file, without secrets; the last lines are at hand for what must be said about it.
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

from llmops_cli.core.ports import World

PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV",
    "SYSTEMROOT",
)  # fmt: skip
"""Environment variables that every process gets: none that carries a key."""

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an application's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What came of code that gave no answer: `why`, and what became of it."""

    cause: Literal["ended", "slow", "large", "astray", "unloaded"]
    """Its process ended; its time was up; it wrote too much; it wrote where only answers go; it
    could not be loaded."""
    why: str


def environment(world: World, *, also: Sequence[str] = ()) -> Mapping[str, str]:
    """The variables that code of the project sees: the short list and those named in `also`."""
    environ = world.environ
    return {name: environ[name] for name in (*PASSED_ON, *also) if name in environ}


async def started(
    command: Sequence[str], world: World, environ: Mapping[str, str], *, stderr: int
) -> Process:
    """`command` in the project's folder, in a group of its own, its ends as pipes.

    Raises `OSError` where it cannot be started.
    """
    return await anyio.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=world.root,
        env=environ,
        start_new_session=True,
    )


async def ended(process: Process) -> None:
    """Ends `process` and all that it started, now; not cut short by a cancelled run."""
    end_of_group(process)
    with anyio.CancelScope(shield=True):
        await process.aclose()


def end_of_group(process: Process) -> None:
    """Ends `process`, if it runs, and all that it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):  # it may have ended, with all that it started
            os.killpg(process.pid, signal.SIGKILL)


SAID = 4000
"""Bytes of the end of standard error that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A program that has ended."""

    code: int
    answer: bytes
    """Standard output."""
    said: bytes
    """The last lines of standard error."""


async def run(
    command: Sequence[str], given: bytes, world: World, environ: Mapping[str, str], *, largest: int
) -> Ran | Trouble:
    """Runs `command` with `given` on its standard input, until it ends or is cancelled.

    When it has ended, all that it started ends, too. More than `largest` bytes end it at once.
    """
    try:
        process = await started(command, world, environ, stderr=subprocess.PIPE)
    except OSError as error:
        why = f"{command[0]} cannot be started: {error.strerror or error}"
        return Trouble(cause="unloaded", why=why)
    try:
        return await _finished(process, given, largest)
    finally:
        await ended(process)


async def _finished(process: Process, given: bytes, largest: int) -> Ran | Trouble:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    answer, said = bytearray(), bytearray()
    async with anyio.create_task_group() as group:
        group.start_soon(_hand, process.stdin, given)
        group.start_soon(_read, process.stderr, said)
        group.start_soon(_until_ended, process)
        async for part in process.stdout:
            answer += part
            if len(answer) > largest:
                group.cancel_scope.cancel()
                return Trouble(cause="large", why=f"it wrote more than {largest:,} bytes")
    return Ran(code=await process.wait(), answer=bytes(answer), said=bytes(said))


async def _hand(stdin: ByteSendStream, given: bytes) -> None:
    """Not every program reads what it is given."""
    try:
        await stdin.send(given)
        await stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


async def _read(stderr: ByteReceiveStream, said: bytearray) -> None:
    async for part in stderr:
        said += part
        if len(said) > SAID:
            start = said.find(b"\n", len(said) - SAID)
            del said[: start + 1 or -SAID]


async def _until_ended(process: Process) -> None:
    """Ends what the program leaves behind, which would keep its pipes open."""
    await process.wait()
    end_of_group(process)


GUARD = Path(__file__).with_name("guard.py")
STOPPING = 10.0
"""Seconds for the guard to end everything, before it is killed itself."""
KEPT = 200
"""Last lines in memory."""
LONGEST = 65536
"""Bytes of a line; a longer one is several."""
LARGEST_LOG = 20_000_000
"""Characters of a log; what comes after is told in errors and not written."""


class Server:
    """A program that runs until `stop`, or until it ends."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        log: Path,
        redact: Callable[[str], str],
    ) -> None:
        """Starts `command` in `folder`. Raises `OSError` where the log cannot be written."""
        self._redact = redact
        self._lines: deque[str] = deque(maxlen=KEPT)
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
        """The last lines it wrote, at most `lines`."""
        return list(self._lines)[-lines:]

    def let_go(self) -> None:
        """Has it end, with all it started; waits for nothing."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()

    def stop(self) -> None:
        """Ends it and all it started, and returns when they are gone."""
        self.let_go()
        try:
            self._guard.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._reader.join(1.0)

    def _read(self) -> None:
        assert self._guard.stdout is not None
        written = 0
        with self._log as log, self._guard.stdout as said:
            for raw in iter(lambda: said.readline(LONGEST), b""):
                line = self._redact(raw.decode("utf-8", "replace").rstrip())
                self._lines.append(line)
                if written < LARGEST_LOG:
                    written += len(line) + 1
                    log.write(line + "\n")
                    log.flush()


def fresh_log(folder: Path, stem: str, *, keep: int) -> Path:
    """A new log's path in `folder`; of earlier ones with this stem the newest `keep` stay."""
    earlier = sorted(folder.glob(f"{stem}-*.log"), key=_age)
    for old in earlier[: max(0, len(earlier) - keep)]:
        old.unlink(missing_ok=True)
    return folder / f"{stem}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.log"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process tidies up too
        return 0.0
