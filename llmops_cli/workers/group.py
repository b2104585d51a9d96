"""Starts a process that holds code of the project, and ends it with all that it started.

Its environment is a short list that carries no key, and what the project names besides.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import anyio
from anyio.abc import Process

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
