"""`release`, `promote` and `status`: the commands that move what environments run."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
