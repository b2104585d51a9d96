"""`report`, `models` and `schema`: the commands that only read."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
