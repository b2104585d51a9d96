"""The command line explains itself: every command, option and argument has a help text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from llmops_cli.cli.main import full_app


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by name, and the program itself."""
    root: Any = typer.main.get_command(full_app())
    yield "llmops", root
    yield from root.commands.items()


def test_every_command_opens_with_a_sentence_that_fits_the_list() -> None:
    first = {
        name: (command.help or "").strip().partition("\n")[0].rstrip()
        for name, command in commands()
    }
    assert [name for name, line in first.items() if not line.endswith(".")] == []


def test_every_option_and_argument_says_what_it_is() -> None:
    silent = [
        f"{name} {parameter.name}"
        for name, command in commands()
        for parameter in command.params
        if not (getattr(parameter, "help", None) or "").strip()
    ]
    assert silent == []
