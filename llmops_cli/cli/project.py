"""`init`, `check` and `render`: the commands around the files a person writes."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
