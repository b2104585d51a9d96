"""Runs one program and ends it, with all it started, when llmops is gone.

A script for a process of its own between llmops and a server that llmops starts. Its standard
input is a pipe that llmops keeps open and never writes to: the pipe ends when llmops closes it or
dies. Then the program is asked to stop, and what is left of its process group and its descendants
is killed. The same where the program ends by itself and leaves processes behind. Standard library
only; the exit code is the program's, 128 and the signal's number for one that was killed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GRACE = 4.0
"""Seconds that the program gets to stop by itself."""
TICK = 0.1
"""Seconds between two looks at the program."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Of Linux' prctl(2)."""


def main(command: list[str]) -> int:
    """Run `command` until it ends or standard input does."""
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphaned descendants become children of this process
    program = subprocess.Popen(  # noqa: S603 - what llmops was told to start
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        # should this process be killed itself
        preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509 - one thread
    )
    channel = sys.stdin.fileno()
    while program.poll() is None and not signals:
        ready, _, _ = select.select([channel], [], [], TICK)
        if ready and os.read(channel, 1) == b"":
            break  # llmops closed the pipe, or is gone
    _stop(program)
    code = program.returncode
    return code if code >= 0 else 128 - code


def _stop(program: subprocess.Popen[bytes]) -> None:
    if program.poll() is None:
        program.terminate()
        with suppress(subprocess.TimeoutExpired):
            program.wait(GRACE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    until = time.monotonic() + GRACE
    while (left := list(_descendants(os.getpid()))) and time.monotonic() < until:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        time.sleep(TICK / 5)


def _descendants(pid: int) -> Iterator[int]:
    """Yield every process below `pid`, where the system shows them (Linux)."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            after_name = entry.read_text(encoding="ascii", errors="replace").rpartition(")")[2]
            parents.setdefault(int(after_name.split()[1]), []).append(int(entry.parent.name))
    below = parents.get(pid, [])
    while below:
        yield from below
        below = [child for parent in below for child in parents.get(parent, [])]


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
