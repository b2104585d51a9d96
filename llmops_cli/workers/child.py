"""The other side of a worker: a process that loads one function and calls it on demand.

Run as a script in the project's folder, `child.py FILE FUNCTION TRUST NAME…`; it imports nothing of
llmops. TRUST is the JSON list of the files and globs whose code may run: a module of the project
that none of them matches is not imported. The names are those of a call's positional arguments. It
writes one JSON line when the function is loaded or cannot be, then one for each JSON line that it
reads. What the function prints goes nowhere, since standard output is the channel. An async
function finds the event loop of the calls before, so that a client it keeps goes on working. When
llmops is gone, however it went, the process and what it started are ended, even where the function
hangs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import runpy
import select
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

MATCHES = runpy.run_path(str(Path(__file__).parents[1] / "core" / "globs.py"))["matches"]
"""Whether a glob names a path, as everywhere in llmops."""
GRACE = 2.0
"""Seconds that a function gets to return when llmops is gone."""


def main(file: str, name: str, trust: str, *parameters: str) -> None:
    """Answer until standard input ends."""
    own_id = os.getpid()
    # The pipes are moved out of reach of the function's `print` and `input`.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    threading.Thread(target=_end_with_llmops, args=[requests.fileno()], daemon=True).start()
    try:
        function = load(Path(file), name, TrustedFinder(json.loads(trust)))
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


class TrustedFinder(MetaPathFinder):
    """Finds modules as usual, and refuses those of the project that are not trusted."""

    def __init__(self, trust: Sequence[str]) -> None:
        """Take the files and globs whose code may run."""
        self._trust = trust
        self._root = Path.cwd().resolve()
        # An environment in the project's folder holds what was installed, not the project's code.
        prefixes = (Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix))
        self._installed = [prefix for prefix in prefixes if self._root in prefix.parents]

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find. Raises `ImportError` for code without trust."""
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if finder is self or find is None else find(name, path, target)
            if spec is not None:
                return self.checked(spec)
        return None

    def checked(self, spec: ModuleSpec) -> ModuleSpec:
        """Return `spec`, read from its source if it is the project's. Raises `ImportError`."""
        if not spec.has_location or spec.origin is None:
            return spec
        file = Path(spec.origin).resolve()
        if not file.is_relative_to(self._root) or any(map(file.is_relative_to, self._installed)):
            return spec
        path = file.relative_to(self._root).as_posix()
        if not any(MATCHES(path, glob) for glob in self._trust):
            raise ImportError(
                f"{path} is code of the project, and `trust` in llmops.yaml does not name it"
            )
        if isinstance(spec.loader, SourceFileLoader):
            spec.loader = UncachedLoader(spec.name, spec.origin)
        return spec


class UncachedLoader(SourceFileLoader):
    """Compiles a module's source: a `.pyc` in the project may hold other code."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Raise `OSError`: then no cached code is looked for."""
        raise OSError(path)


def load(file: Path, name: str, finder: TrustedFinder) -> Callable[..., Any]:
    """Return the function `name` of `file`; modules beside it and in the project are found."""
    sys.path[:0] = [str(file.parent), str(Path.cwd())]
    sys.meta_path.insert(0, finder)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    spec = finder.checked(spec)
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
