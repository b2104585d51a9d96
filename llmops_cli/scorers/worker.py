"""The other side of the `python` scorer: a process that holds one function and calls it on demand.

Run as a script, `worker.py FILE FUNCTION`, and standing alone: it imports nothing of llmops. It
writes one JSON line when the function is loaded or cannot be, then one for each JSON line that it
reads. What the function prints goes nowhere, since standard output is the channel.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO


def main(file: str, name: str) -> None:
    """Answers until standard input ends."""
    home = os.getpid()
    requests, answers = _private_channel()
    try:
        function = loaded(Path(file), name)
    except Exception as error:  # noqa: BLE001 - the project's code may raise anything on import
        _write(answers, {"broken": told(error)})
        return
    _write(answers, {"ready": True})
    for line in requests:
        answer = answered(function, json.loads(line))
        if os.getpid() != home:
            os._exit(0)  # the function forked, and this is the child: one answer is enough
        _write(answers, answer)


def loaded(file: Path, name: str) -> Callable[..., Any]:
    """The function `name` of `file`. Modules beside it and in the project's folder are found."""
    sys.path[:0] = [str(file.parent), str(Path.cwd())]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, name)
    return function


def answered(function: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
    """`{"id", "value"}` with what the function returned, or `{"id", "raised"}`."""
    given = (request["text"], request["case"], request["answer"])[: taken(function)]
    try:
        value = function(*given, **request["arguments"])
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        json.dumps(value, default=_number)
    except Exception as error:  # noqa: BLE001 - whatever the project's code raises is an answer
        return {"id": request["id"], "raised": told(error)}
    return {"id": request["id"], "value": value}


def taken(function: Callable[..., Any]) -> int:
    """How many of `text`, `case` and `answer` the function takes by position: 1 to 3."""
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return 3
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [each.name for each in parameters if each.kind in positional]
    known = [
        name
        for name, place in zip(names, ("text", "case", "answer"), strict=False)
        if place in (name, "text")
    ]
    return max(1, len(known))


def told(error: BaseException) -> str:
    """An exception's type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


async def _awaited(value: Awaitable[object]) -> object:
    return await value


def _number(value: object) -> object:
    """NumPy's scalars are numbers too."""
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise TypeError(f"a {type(value).__name__} is neither a score nor a reason")


def _private_channel() -> tuple[BinaryIO, BinaryIO]:
    """The pipes, out of reach of `print` and `input`."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    return requests, answers


def _write(answers: BinaryIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message, default=_number).encode("ascii") + b"\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
