"""Run llmops in this process as if it had one of its own: a twentieth of what a process costs.

The command gets its own working directory, environment, arguments and standard streams (real file
descriptors, which the programs that it starts inherit). Afterwards all of them, the signal
handlers and the context variables are what they were, and no thread is left.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import IO

import pytest

from llmops_cli.cli.main import run

HANDLED = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD]


def possible(env: Mapping[str, str]) -> bool:
    """Whether a command with `env` added can run here: the interpreter's variables are read once.

    Only the main thread may: working directory, environment and signal handlers are the process's.
    And none may where an event loop runs already, as the browser's does.
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return False
    read_at_start = ("PYTHON", "LD_", "OPENBLAS", "OMP_", "TZ")
    return threading.current_thread() is threading.main_thread() and not any(
        name.startswith(read_at_start) for name in env
    )


def run_in_process(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str], *, timeout: float
) -> tuple[int, str, str, float]:
    """Return the exit code, standard output, standard error and seconds of `llmops *arguments`."""
    threads = set(threading.enumerate())
    with ExitStack() as stack:
        out, err = (stack.enter_context(TemporaryFile()) for _ in range(2))
        with (
            _standard_streams(out, err),
            _environment(folder, env),
            _signal_handlers(),
            pytest.MonkeyPatch.context() as patch,
            _deadline(timeout),
        ):
            patch.setattr(sys, "argv", ["llmops", *arguments])
            began = time.monotonic()
            code = contextvars.copy_context().run(_exit_code, list(arguments))
            seconds = time.monotonic() - began
        printed, errors = (_text(file) for file in (out, err))
    left = set(threading.enumerate()) - threads
    for thread in left:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in left), f"{arguments} left {left} running"
    return code, printed, errors, seconds


def _exit_code(arguments: list[str]) -> int:
    try:
        return int(run(arguments))
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


@contextmanager
def _standard_streams(out: IO[bytes], err: IO[bytes]) -> Iterator[None]:
    """Let descriptors 0 to 2 and `sys.std*` be those of a process without a terminal."""
    before = sys.stdin, sys.stdout, sys.stderr
    for stream in before[1:]:
        stream.flush()
    with ExitStack() as stack, open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        for number, file in enumerate((nothing, out, err)):
            saved = os.dup(number)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, number)
            os.dup2(file.fileno(), number)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
            "utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        try:
            yield
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                stream.close()
        finally:
            sys.stdin, sys.stdout, sys.stderr = before


@contextmanager
def _environment(folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(env)
    try:
        with chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signal_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Fail the test that still runs after `seconds`."""

    def hangs(_number: int, _frame: FrameType | None) -> None:
        pytest.fail(f"still running after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
