"""Check where a command may write a report: anywhere but onto the project's own files.

`eval --out llmops.yaml` is a typo that would overwrite the project.
"""

from __future__ import annotations

from pathlib import Path

import typer

PROTECTED = (".llmops", "prompts", "evalsets")
"""Folders of the project that contain source files or evidence."""
STORE = (".llmops", "store")
"""Reports may be written there; its databases are never written over."""


def outside_project(context: typer.Context, value: Path | None) -> Path | None:
    """Return `value` if it names a file that can be written and is none of the project's.

    Raises `Refused`.
    """
    if value is None or not isinstance(context.obj, Path):
        return value
    from llmops_cli.core.errors import Refused
    from llmops_cli.project.project import PROJECT_FILE, find_root

    try:
        places = (value.absolute(), value.resolve())
        value.exists()
    except (OSError, RuntimeError) as error:  # a circle of links is either, by Python's version
        why = error.strerror if isinstance(error, OSError) else "a circle of symbolic links"
        raise Refused(f"cannot write to {value}: {why}") from error
    try:
        root = find_root(context.obj)
    except Refused:
        return value  # there is no project; the command says so, if it needs one
    inside = any(_protected(path, root) for path in places)
    if inside or _same(value, root / PROJECT_FILE):
        raise Refused(
            f"{value} belongs to the project: reports are not written there",
            hint="name a file outside of prompts/, evalsets/ and .llmops/, as in run.jsonl.gz",
        )
    return value


def _protected(path: Path, root: Path) -> bool:
    for base in {root, root.resolve()}:
        if path.is_relative_to(base):
            parts = path.relative_to(base).parts
            free = parts[:2] == STORE and ".sqlite" not in path.name
            return parts[:1] != () and parts[0] in PROTECTED and not free
    return False


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
