"""A crash, written down so that it can be pasted into an issue: redacted, in the user's cache."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from platformdirs import user_log_path

from llmops_cli import __version__
from llmops_cli.core.redact import Redactor


def write_bug_log(trace: str, arguments: list[str]) -> Path | None:
    """Writes the trace beside the versions it happened on; None where no folder can be written."""
    redact = Redactor.of(os.environ)
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
        path.write_text(redact(text), encoding="utf-8")
    except OSError:
        return None
    return path
