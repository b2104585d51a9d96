"""A crash, written down so that it can be pasted into an issue: redacted, in the user's cache.

Where a crash came from, the project may never have been read. So every variable of the
environment that a project file merely mentions counts as a secret here, whatever it is called.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from platformdirs import user_log_path

from llmops_cli import __version__
from llmops_cli.core.redact import Redactor

PROJECT_FILE = "llmops.yaml"


def redactor(arguments: Sequence[str]) -> Redactor:
    """Return what takes the secrets out of the last words of `llmops *arguments`."""
    mentioned = {word for text in _project_files(arguments) for word in re.findall(r"\w+", text)}
    return Redactor.of(os.environ, mentioned)


def write_bug_log(trace: str, arguments: list[str]) -> Path | None:
    """Write the trace and the versions it happened on; None if no folder can be written."""
    redact = redactor(arguments)
    text = "\n".join(
        (
            f"llmops {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"$ {' '.join(arguments)}",
            "",
            trace,
        )
    )
    try:
        folder = user_log_path("llmops", ensure_exists=True)
        path = folder / f"bug-{os.getpid()}.log"
        path.write_text(redact(text), encoding="utf-8", errors="replace")
    except OSError:
        return None
    return path


def _project_files(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the text of every project file around this folder and those in `arguments`."""
    named = {Path(), *(Path(argument.rpartition("=")[2]) for argument in arguments)}
    with suppress(OSError, ValueError):  # a crash handler must not crash itself
        for start in named:
            for folder in (start.resolve(), *start.resolve().parents):
                path = folder / PROJECT_FILE
                if path.is_file():
                    yield path.read_text(encoding="utf-8", errors="replace")
