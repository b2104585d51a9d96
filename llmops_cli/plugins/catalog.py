"""Find every scorer and provider of this installation, and load the code behind a row.

A plug-in is an entry point in the group `llmops.scorers` or `llmops.providers` that names a
`ScorerKind` or a `ProviderKind`. Reading the catalog imports no scorer, provider or vendor. The
code is imported when a score or a call is due; what is missing there is reported before any call:
a library that is not installed as `MissingExtra`, anything else as `Refused` with the row's name.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llmops_cli.core.digest import Json, digest, digest_bytes
from llmops_cli.core.errors import MissingExtra, Refused
from llmops_cli.core.literals import with_literals
from llmops_cli.core.ports import (
    Catalog,
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
from llmops_cli.core.prompt import Model, ScorerSpec
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


Kind = TypeVar("Kind", ScorerKind, ProviderKind)

BROKEN = (
    ImportError, AttributeError, SyntaxError, NameError, TypeError, ValueError, LookupError,
    ArithmeticError, OSError, RuntimeError,
)  # fmt: skip
"""What importing a plug-in may raise."""

JUDGE_OPTIONS = frozenset({"model", "prompt", "embeddings"})
"""Options of a judged scorer that name its judge: the judge's digest stands for them."""


def catalog(path: Sequence[str] | None = None) -> Catalog:
    """Return the catalog; `path` is where distributions are looked for, by default `sys.path`.

    Raises `Refused`, naming the entry point, where a plug-in cannot be imported, is not a row, or
    takes a name that is taken.
    """
    points = list(_entry_points(sys.path if path is None else path))
    scorers = _joined(SCORERS, points, "llmops.scorers", ScorerKind)
    for name, kind in scorers.items():
        if kind.unit == "pass" and kind.minimum is None and kind.maximum is None:
            scorers[name] = replace(kind, minimum=1.0)
    return Catalog(
        scorers=scorers,
        providers=_joined(PROVIDERS, points, "llmops.providers", ProviderKind),
    )


def _entry_points(path: Iterable[str]) -> Iterator[EntryPoint]:
    """Yield entry points; `importlib.metadata` is loaded only where a file names our groups."""
    for folder in dict.fromkeys(path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - start-up time: hundreds of names
        except OSError:
            continue  # a zip file, or a folder that is not there
        for name in sorted(names):
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            distribution = Path(folder or ".", name)
            try:
                content = (distribution / "entry_points.txt").read_bytes()
            except OSError:
                continue  # this distribution names no entry points
            if b"llmops." in content:
                from importlib.metadata import PathDistribution  # noqa: PLC0415 - 30 ms at start

                yield from PathDistribution(distribution).entry_points


def _joined(
    built_in: Mapping[str, Kind], points: Iterable[EntryPoint], group: str, row: type[Kind]
) -> dict[str, Kind]:
    rows = dict(built_in)
    seen = dict[str, str]()
    for point in points:
        if point.group != group or seen.get(point.name) == point.value:
            continue  # another group, or the same distribution met twice along the path
        if point.name in rows:
            raise _broken(point, "the name is taken")
        seen[point.name] = point.value
        try:
            kind = load(point.value)
        except BROKEN as error:
            raise _broken(point, f"{type(error).__name__}: {error}") from error
        if not isinstance(kind, row):
            raise _broken(point, f"it is a {type(kind).__name__}, not a {row.__name__}")
        if kind.name != point.name:
            raise _broken(point, f"the row it names is called {kind.name!r}")
        rows[point.name] = kind
    return rows


def _broken(point: EntryPoint, why: str) -> Refused:
    return Refused(
        f"the entry point {point.name!r} of {point.group} ({point.value}) is broken: {why}",
        hint="fix or uninstall the package that brings it",
    )


def load(target: str) -> object:
    """Return the object that `module:attribute` names. This is the only import by name.

    Raises `ImportError`, or whatever importing the module raises, and `AttributeError`.
    """
    module, _, attribute = target.partition(":")
    return reduce(getattr, attribute.split("."), importlib.import_module(module))


def _code(kind: ScorerKind | ProviderKind, target: str) -> object:
    what = f"the {'scorer' if isinstance(kind, ScorerKind) else 'provider'} {kind.name!r}"
    try:
        return load(target)
    except (ImportError, AttributeError) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        # The missing module may be the target's own, or a package around it: then no extra helps.
        own = absent is not None and f"{target.partition(':')[0]}.".startswith(f"{absent}.")
        if absent is not None and kind.extra and not own:
            raise MissingExtra(what, extra=kind.extra) from error
        raise Refused(
            f"{what} cannot be loaded from {target}: {error}",
            hint="reinstall llmops, or the plug-in that brings it",
        ) from error


def open_scorer(kind: ScorerKind, context: PluginContext) -> AbstractAsyncContextManager[Scorer]:
    """Open any scorer for the length of a run: what it keeps open is closed on leaving."""
    code = _code(kind, kind.target)
    return cast("OpenScorer", code)(context) if kind.opens else nullcontext(cast("Scorer", code))


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
    """Return what is wrong with `options` beyond their types, such as a pattern; None: nothing."""
    return kind.check and cast("CheckOptions", _code(kind, kind.check))(options, context)


def scorer_digest(
    kind: ScorerKind, spec: ScorerSpec, read: Callable[[str], bytes], *, judge: str | None = None
) -> str:
    """Return the scorer's digest: the part of a score's key that is neither case nor answer.

    In it: name, revision, options, bytes of the files it names (which `read` returns), the judge's
    digest, library version. Not in it: label, threshold, negation and `advisory`, which decide
    about a raw value later; nor where a file stands. Raises `MissingExtra` if the scorer's library
    is not installed, and what `read` raises.
    """
    options: dict[str, Json] = {
        name: _by_content(value, read) if name in kind.files else value
        for name, value in spec.options.items()
        if not (kind.judged and name in JUDGE_OPTIONS)
    }
    return digest(
        "llmops/scorer/v1",
        with_literals(
            {
                "name": kind.name,
                "revision": kind.revision,
                "options": options,
                "judge": judge,
                "library": None if kind.library is None else [kind.library, _version(kind)],
            }
        ),
    )


def volatile(kind: ScorerKind, spec: ScorerSpec) -> bool:
    """Return whether scores are only valid for one run: code without declared inputs."""
    return kind.code and spec.options.get("identity") is None


def _by_content(value: Json, read: Callable[[str], bytes]) -> Json:
    """Return a file option with a digest of its bytes for each path; `path:name` keeps `name`."""
    if isinstance(value, str):
        path, colon, name = value.partition(":")
        return digest_bytes(read(path)) + colon + name
    if isinstance(value, (list, tuple)):
        return [_by_content(item, read) for item in value]
    return value


def _version(kind: ScorerKind) -> str:
    from importlib.metadata import version  # noqa: PLC0415 - 30 ms at start

    assert kind.library is not None
    try:
        return version(kind.library)
    except ModuleNotFoundError as error:  # PackageNotFoundError is one
        if kind.extra:
            raise MissingExtra(f"the scorer {kind.name!r}", extra=kind.extra) from error
        raise Refused(f"{kind.library} is not installed", hint="reinstall llmops") from error
