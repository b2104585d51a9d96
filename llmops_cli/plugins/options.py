"""Short ways to write the options in the catalog's rows."""

from __future__ import annotations

from llmops_cli.core.ports import Option


def option(
    type_: object, help_: str, *, required: bool = False, default: str | None = None
) -> Option:
    """Return an option whose texts may be templates over the facts of a case."""
    return Option(type=type_, help=help_, required=required, default=default)


def fixed(type_: object, help_: str, *, required: bool = False, keyed: bool = True) -> Option:
    """Return an option that is the same for every case."""
    return Option(type=type_, help=help_, required=required, keyed=keyed, template=False)
