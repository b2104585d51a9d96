"""Commands that take groups of options: each field of a group is an option of its own.

    @grouped
    def evaluate(context: typer.Context, select: Select, limits: Limits) -> int: ...

Typer reads the options of a command from the signature of its function. So the function is
replaced by one with a signature in which a group stands as its fields; the groups are built
before the function is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cached_property
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


class grouped:  # noqa: N801 - a decorator
    """A command whose groups of options Typer sees as single options.

    The signature is made when Typer asks for it, of the one command that is run: reading the
    annotations of all would take as long as importing Typer.
    """

    def __init__(self, command: Callable[..., Any]) -> None:
        self._command = command
        self.__name__ = command.__name__
        self.__doc__ = command.__doc__
        self.__module__ = command.__module__

    def __call__(self, **values: Any) -> Any:  # noqa: ANN401 - what Typer has parsed
        """Build the groups and call the command."""
        groups = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in self._groups.items()
        }
        return self._command(**values, **groups)

    @property
    def __signature__(self) -> Signature:
        return Signature(self._parameters)

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        return {parameter.name: parameter.annotation for parameter in self._parameters}

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self._command, include_extras=True)

    @cached_property
    def _groups(self) -> dict[str, Any]:
        return {name: kind for name, kind in self._hints.items() if is_dataclass(kind)}

    @cached_property
    def _parameters(self) -> list[Parameter]:
        parameters: list[Parameter] = []
        for name, parameter in signature(self._command).parameters.items():
            if name in self._groups:
                parameters += _fields_of(self._groups[name])
            else:
                shown = parameter.replace(annotation=self._hints[name], kind=Parameter.KEYWORD_ONLY)
                parameters.append(shown)
        return parameters


def _fields_of(group: Any) -> list[Parameter]:  # noqa: ANN401 - a dataclass
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
