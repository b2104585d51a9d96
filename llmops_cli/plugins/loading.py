"""From a row of the catalogue to the code behind it: the only lazy import besides the CLI's.

A library that is not installed is a `MissingExtra`, anything else that fails to import is named
with its row: both are `Refused`, both come before any call.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import reduce
from typing import Any, cast

from llmops_cli.core.catalog import ProviderKind, ScorerKind
from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.ports import (
    CheckOptions,
    OpenProvider,
    OpenRecords,
    OpenScorer,
    Ready,
    Runs,
    Scorer,
    World,
)
from llmops_cli.core.prompt import Model


def load(target: str) -> object:
    """The object that `module:attribute` names.

    Raises `ImportError`, or whatever importing the module raises, and `AttributeError`.
    """
    module, _, attribute = target.partition(":")
    return reduce(getattr, attribute.split("."), importlib.import_module(module))


def load_scorer(kind: ScorerKind) -> Scorer:
    """The function behind a scorer that needs nothing opened (`not kind.opens`)."""
    assert not kind.opens
    return cast("Scorer", _code("scorer", kind, kind.target))


def open_scorer(kind: ScorerKind, world: World) -> AbstractAsyncContextManager[Scorer]:
    """Any scorer, for the length of a run: what it keeps open is closed on leaving."""
    if kind.opens:
        return cast("OpenScorer", _code("scorer", kind, kind.target))(world)
    return _nothing_to_open(load_scorer(kind))


def open_provider(kind: ProviderKind) -> OpenProvider:
    """What makes a provider of this kind."""
    return cast("OpenProvider", _code("provider", kind, kind.target))


def open_records(kind: ProviderKind) -> OpenRecords:
    """What opens the records of a provider whose answers are named one by one."""
    assert kind.records is not None
    return cast("OpenRecords", _code("provider", kind, kind.records))


def check_ready(kind: ProviderKind, model: Model, world: World) -> str | None:
    """What asking `model` starts here, in words; None: nothing.

    Raises `Refused` where it cannot be asked for want of a program.
    """
    if kind.ready is None:
        return None
    return cast("Ready", _code("provider", kind, kind.ready))(model, world)


def command_of(kind: ProviderKind, model: Model) -> Sequence[str] | None:
    """The command that `model` starts and that trust is needed for; None: none."""
    if kind.runs is None:
        return None
    return cast("Runs", _code("provider", kind, kind.runs))(model)


def wrong_options(
    kind: ScorerKind | ProviderKind, options: Mapping[str, Any], world: World
) -> str | None:
    """What is wrong with `options`, beyond their types; None: nothing.

    A pattern that does not compile, a schema that is none, a function that is not there.
    """
    if kind.check is None:
        return None
    what = "scorer" if isinstance(kind, ScorerKind) else "provider"
    return cast("CheckOptions", _code(what, kind, kind.check))(options, world)


@asynccontextmanager
async def _nothing_to_open(scorer: Scorer) -> AsyncIterator[Scorer]:
    yield scorer


def _code(what: str, kind: ScorerKind | ProviderKind, target: str) -> object:
    try:
        return load(target)
    except (ImportError, AttributeError) as error:
        absent = isinstance(error, ModuleNotFoundError)
        if absent and kind.extra and not _is_part_of(target, error.name):
            raise MissingExtra(f"the {what} {kind.name!r}", extra=kind.extra) from error
        raise Refused(
            f"the {what} {kind.name!r} cannot be loaded from {target}: {error}",
            hint="reinstall llmops, or the plug-in that brings it",
        ) from error


def _is_part_of(target: str, module: str | None) -> bool:
    """Whether the module that was not found is the target's own, and not a library of it."""
    return module is not None and f"{target.partition(':')[0]}.".startswith(f"{module}.")
