"""`bundle`: what an application needs of an environment, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmops_cli.cli.written import elsewhere


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(bundle)


def bundle(
    context: typer.Context,
    environment: Annotated[str, typer.Argument(metavar="ENV", help="for example production")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=elsewhere,
            help="Where to; default: ENV.bundle.json; - prints it.",
        ),
    ] = None,
) -> None:
    """Write what ENV runs as one file, for applications.

    Holds the current and the previous version of every prompt. The same registry makes the same
    bytes. An application reads it with load_prompt("NAME@ENV"), without git and network.
    """
    import sys

    from llmops_cli.cli.output import Output
    from llmops_cli.files.project import find_root
    from llmops_cli.flows.ledger.bundle import bundle as made_of
    from llmops_cli.stores.atomic import write_bytes
    from llmops_cli.stores.registry import Registry

    made = made_of(Registry(find_root(context.obj)), environment)
    if out == Path("-"):
        sys.stdout.write(made.to_bytes().decode())
        return
    path = out or Path(f"{environment}.bundle.json")
    write_bytes(path, made.to_bytes())
    output = Output()
    for name in made.records:
        held = " and ".join(f"v{version.number}" for version in made.prompt(name).versions)
        output.say(f"{name}  {held}")
    output.say(f"wrote {path}")
    output.say(f"next  LLMOPS_BUNDLE={path}")
