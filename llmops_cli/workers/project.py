"""Files of the project that an option names: they stand inside it, links followed."""

from __future__ import annotations

from pathlib import Path

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import World

LARGEST = 5_000_000
"""Bytes; a schema, a scorer or an application's file beyond this is a mistake."""


def project_file(world: World, path: str) -> Path:
    """Where `path` stands. Raises `Refused` where it leaves the project or is no file."""
    root = world.root.resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root):
        raise Refused(f"{path} is outside the project", hint="keep what llmops runs inside it")
    if not file.is_file():
        raise Refused(f"{path} is not a file of the project")
    if file.stat().st_size > LARGEST:
        raise Refused(f"{path} is larger than {LARGEST:,} bytes")
    return file
