"""`llmops eval --watch`: wait until a file changes that a verdict depends on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePath

from watchfiles import Change, DefaultFilter, watch

from llmops_cli.project.project import PROJECT_FILE

FOLDERS = ("prompts", "evalsets")
POLL = 200
"""Milliseconds without a change after which the first run begins."""


def changed_files(root: Path, named: Collection[str]) -> Iterator[list[str]]:
    """Yield at first no file, then those that changed, without end.

    They are the prompts, evalsets and Python files of the project at `root`, llmops.yaml, and the
    files in `named`, which may grow: reports, caches and logs start no run. What changes while the
    caller is busy is not missed.
    """
    root = root.resolve()
    is_kept = DefaultFilter()  # no backups and swap files of editors, no .git, no .venv

    def matters(change: Change, path: str) -> bool:
        file = PurePath(path).relative_to(root)
        if not is_kept(change, path) or any(part.startswith(".") for part in file.parts):
            return False
        return (
            file.parts[0] in FOLDERS
            or file.suffix == ".py"
            or file.as_posix() == PROJECT_FILE
            or file.as_posix() in named
        )

    started = False
    for changes in watch(root, watch_filter=matters, rust_timeout=POLL, yield_on_timeout=True):
        if changes or not started:
            started = True
            yield sorted({PurePath(path).relative_to(root).as_posix() for _, path in changes})
