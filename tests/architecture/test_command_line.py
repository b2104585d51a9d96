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


def test_every_command_says_what_it_does() -> None:
    silent = [name for name, command in commands() if not (command.help or "").strip()]
    assert silent == []


def test_every_option_and_argument_says_what_it_is() -> None:
    silent = [
        f"{name} {parameter.name}"
        for name, command in commands()
        for parameter in command.params
        if not (getattr(parameter, "help", None) or "").strip()
    ]
    assert silent == []


def test_the_first_line_of_every_help_is_a_sentence_that_fits_the_list() -> None:
    unfinished = [
        name
        for name, command in commands()
        if not (command.help or "").strip().splitlines()[0].rstrip().endswith(".")
    ]
    assert unfinished == []
