"""One program, run once: it reads its standard input, and what it writes is its answer."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from llmops_cli.core.ports import World
from llmops_cli.workers.group import Trouble, end_of_group, ended, started

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
