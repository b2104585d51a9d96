"""The other side of a worker: a process that loads one function and calls it on demand.

Run as a script, `child.py FILE FUNCTION NAME…`; it imports nothing of llmops. The names are those
of a call's positional arguments. It writes one JSON line when the function is loaded or cannot be,
then one for each JSON line that it reads. What the function prints goes nowhere, since standard
output is the channel. An async function finds the event loop of the calls before, so that a client
it keeps goes on working. When llmops is gone, however it went, the process and what it started are
ended, even where the function hangs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

GRACE = 2.0
"""Seconds that a function gets to return when llmops is gone."""


def main(file: str, name: str, *parameters: str) -> None:
    """Answer until standard input ends."""
    own_id = os.getpid()
    # The pipes are moved out of reach of the function's `print` and `input`.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    threading.Thread(target=_end_with_llmops, args=[requests.fileno()], daemon=True).start()
    try:
        function = load(Path(file), name)
        count = positional(function, parameters)
    except Exception as error:  # noqa: BLE001 - the project's code may raise anything on import
        _write(answers, {"broken": described(error)})
        return
    _write(answers, {"ready": True})
    with asyncio.Runner() as runner:
        for line in requests:
            answer = call(function, json.loads(line), count, runner)
            if os.getpid() != own_id:
                os._exit(0)  # the function forked, and this is the child: one answer is enough
            _write(answers, answer)


def load(file: Path, name: str) -> Callable[..., Any]:
    """Return the function `name` of `file`; modules beside it and in the project are found."""
    sys.path[:0] = [str(file.parent), str(Path.cwd())]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, name)
    return function


def call(
    function: Callable[..., Any], request: dict[str, Any], count: int, runner: asyncio.Runner
) -> dict[str, Any]:
    """Return `{"id", "value"}` with what the function returned, or `{"id", "raised"}`."""
    try:
        value = function(*request["positional"][:count], **request["arguments"])
        if inspect.isawaitable(value):
            value = runner.run(_awaited(value))
        json.dumps(value, default=_number)
    except Exception as error:  # noqa: BLE001 - any exception of the project's code is an answer
        return {"id": request["id"], "raised": described(error)}
    return {"id": request["id"], "value": value}


def positional(function: Callable[..., Any], names: Sequence[str]) -> int:
    """Count the positional arguments: the first, and those that the function names alike."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return len(names)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own = [parameter.name for parameter in parameters if parameter.kind in kinds]
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(own[1:], names[1:], strict=False))
    return 1 + len(list(alike))


def described(error: BaseException) -> str:
    """Return an exception's type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:10_000]}" if lines else type(error).__name__


async def _awaited(value: Awaitable[object]) -> object:
    return await value


def _number(value: object) -> object:
    """Return NumPy's scalars as numbers."""
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise TypeError(f"it returned a {type(value).__name__}, which JSON does not know")


def _end_with_llmops(channel: int) -> None:
    """Wait until the other end of `channel` is closed, and then for the function to return."""
    if sys.platform == "win32" or os.getpgrp() != os.getpid():
        return  # no group of its own to end
    watched = select.poll()
    watched.register(channel, 0)  # a hang-up is always reported
    watched.poll()
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


def _write(answers: BinaryIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message, default=_number).encode("ascii") + b"\n")
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
