"""Finds every scorer and provider of this installation: built-in rows and those of plug-ins.

A plug-in is an entry point in the group `llmops.scorers` or `llmops.providers` that names a
`ScorerKind` or a `ProviderKind`. Looking for them is cheap: `importlib.metadata` is asked only
where the file system shows that some distribution has such a group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import Catalog, ProviderKind, ScorerKind
from llmops_cli.plugins.loading import load
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


Kind = TypeVar("Kind", ScorerKind, ProviderKind)

SCORER_GROUP = "llmops.scorers"
PROVIDER_GROUP = "llmops.providers"

BROKEN = (
    ImportError,
    AttributeError,
    SyntaxError,
    NameError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    OSError,
    RuntimeError,
)
"""What importing a plug-in may raise."""


def catalog(path: Sequence[str] | None = None) -> Catalog:
    """Return the catalog; `path` is where distributions are looked for, by default `sys.path`.

    Raises `Refused`, naming the entry point, where a plug-in cannot be imported, is not a row, or
    takes a name that is taken.
    """
    points = list(_entry_points(sys.path if path is None else path))
    scorers = _joined(SCORERS, points, SCORER_GROUP, ScorerKind)
    return Catalog(
        scorers={name: _with_threshold(kind) for name, kind in scorers.items()},
        providers=_joined(PROVIDERS, points, PROVIDER_GROUP, ProviderKind),
    )


def _entry_points(path: Iterable[str]) -> Iterator[EntryPoint]:
    for file in _entry_point_files(path):
        try:
            content = file.read_bytes()
        except OSError:
            continue  # this distribution names no entry points
        if b"llmops." in content:
            from importlib.metadata import PathDistribution  # noqa: PLC0415 - 30 ms at start

            yield from PathDistribution(file.parent).entry_points


def _entry_point_files(path: Iterable[str]) -> Iterator[Path]:
    for folder in dict.fromkeys(path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - start-up time: hundreds of names
        except OSError:
            continue  # a zip file, or a folder that is not there
        for name in sorted(names):
            if name.endswith((".dist-info", ".egg-info")):
                yield Path(folder or ".", name, "entry_points.txt")


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
        rows[point.name] = _row(point, row)
    return rows


def _row(point: EntryPoint, row: type[Kind]) -> Kind:
    try:
        kind = load(point.value)
    except BROKEN as error:
        raise _broken(point, f"{type(error).__name__}: {error}") from error
    if not isinstance(kind, row):
        raise _broken(point, f"it is a {type(kind).__name__}, not a {row.__name__}")
    if kind.name != point.name:
        raise _broken(point, f"the row it names is called {kind.name!r}")
    return kind


def _broken(point: EntryPoint, why: str) -> Refused:
    return Refused(
        f"the entry point {point.name!r} of {point.group} ({point.value}) is broken: {why}",
        hint="fix or uninstall the package that brings it",
    )


def _with_threshold(kind: ScorerKind) -> ScorerKind:
    """Set the threshold of a pass/fail scorer to 1 if its row has none."""
    if kind.unit == "pass" and kind.minimum is None and kind.maximum is None:
        return replace(kind, minimum=1.0)
    return kind
