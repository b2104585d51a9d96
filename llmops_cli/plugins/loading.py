"""Import the code behind a row of the catalog. This is the only import by name.

A library that is not installed is a `MissingExtra`, anything else that fails to import is named
with its row: both are `Refused`, and both come before any call.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import reduce
from typing import Any, cast

from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.ports import (
    CheckOptions,
    OpenProvider,
    OpenRecords,
    OpenScorer,
    PluginContext,
    ProviderKind,
    Ready,
    Runs,
    Scorer,
    ScorerKind,
)
from llmops_cli.core.prompt import Model


def load(target: str) -> object:
    """Return the object that `module:attribute` names.

    Raises `ImportError`, or whatever importing the module raises, and `AttributeError`.
    """
    module, _, attribute = target.partition(":")
    return reduce(getattr, attribute.split("."), importlib.import_module(module))


def load_scorer(kind: ScorerKind) -> Scorer:
    """Return the function behind a scorer that needs nothing opened (`not kind.opens`)."""
    assert not kind.opens
    return cast("Scorer", _code(kind, kind.target))


def open_scorer(kind: ScorerKind, context: PluginContext) -> AbstractAsyncContextManager[Scorer]:
    """Open any scorer for the length of a run: what it keeps open is closed on leaving."""
    if kind.opens:
        return cast("OpenScorer", _code(kind, kind.target))(context)
    return nullcontext(load_scorer(kind))


def open_provider(kind: ProviderKind) -> OpenProvider:
    """Return the function that makes a provider of this kind."""
    return cast("OpenProvider", _code(kind, kind.target))


def open_records(kind: ProviderKind) -> OpenRecords:
    """Return the function that opens the records of a provider that replays them."""
    assert kind.records is not None
    return cast("OpenRecords", _code(kind, kind.records))


def check_ready(kind: ProviderKind, model: Model, context: PluginContext) -> str | None:
    """Return what calling `model` starts here, in words; None: nothing.

    Raises `Refused` if it cannot be called for want of a program.
    """
    return kind.ready and cast("Ready", _code(kind, kind.ready))(model, context)


def command_of(kind: ProviderKind, model: Model) -> Sequence[str] | None:
    """Return the command that `model` starts and that trust is needed for; None: none."""
    return cast("Runs", _code(kind, kind.runs))(model) if kind.runs else None


def wrong_options(
    kind: ScorerKind | ProviderKind, options: Mapping[str, Any], context: PluginContext
) -> str | None:
    """Return what is wrong with `options`, beyond their types; None: nothing.

    A pattern that does not compile, a schema that is none, a function that is not there.
    """
    return kind.check and cast("CheckOptions", _code(kind, kind.check))(options, context)


def _code(kind: ScorerKind | ProviderKind, target: str) -> object:
    what = f"the {'scorer' if isinstance(kind, ScorerKind) else 'provider'} {kind.name!r}"
    try:
        return load(target)
    except (ImportError, AttributeError) as error:
        absent = isinstance(error, ModuleNotFoundError)
        if absent and kind.extra and not _is_part_of(target, error.name):
            raise MissingExtra(what, extra=kind.extra) from error
        raise Refused(
            f"{what} cannot be loaded from {target}: {error}",
            hint="reinstall llmops, or the plug-in that brings it",
        ) from error


def _is_part_of(target: str, module: str | None) -> bool:
    """Tell whether the module that was not found is the target's own, and no library of it."""
    return module is not None and f"{target.partition(':')[0]}.".startswith(f"{module}.")
