"""The result of an import: prompts, evalsets and models, and a note on every loss.

They are written out by `writing`, and then checked like any file that a person wrote. Nothing is
dropped silently: whatever an importer leaves out, or has to write differently, is a `Note` with
its line, the reason and a way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from llmops_cli.core.errors import Location

Case: TypeAlias = dict[str, Any]
"""A case as it is written, with `scorers` always there."""

FALLBACK = "embedded"
"""The model of a prompt whose own cannot be called: no key, no network, and no LLM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """An entry under `models:` of llmops.yaml; `fields` as they are written there."""

    alias: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPrompt:
    """A file under `prompts/`."""

    name: str
    description: str
    model: str
    messages: Sequence[Mapping[str, Any]]
    inputs: Mapping[str, Mapping[str, Any]]
    shape: Mapping[str, Any] = field(default_factory=dict)
    """`responseFormat`, `jsonSchema` and `tools`, as they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEvalset:
    """A file under `evalsets/`, with its cases."""

    name: str
    prompts: Sequence[str]
    scorers: Sequence[Any]
    cases: Sequence[Case]
    repeats: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Everything that one import produces."""

    models: Sequence[ImportedModel]
    prompts: Sequence[ImportedPrompt]
    evalsets: Sequence[ImportedEvalset]
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportChoices:
    """The choices of the user."""

    name: str
    """The name of the prompt, and of the evalset that gates it."""
    model: str | None = None
    """`provider/model` where the file names none that can be called."""

    def fallback_model(self) -> ImportedModel:
        """Return the model of prompts whose own cannot be called."""
        provider, _, model = (self.model or FALLBACK).partition("/")
        fields = {"provider": provider, "model": model} if model else {"provider": provider}
        return ImportedModel(alias="default", fields=fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that is not as it was in the file that was imported."""

    where: Location
    what: str
    why: str
    instead: str
    lost: bool = True
    """False: it was carried over, and can decide differently in rare cases."""


class NotCarried(Exception):
    """Something that can't be imported. `str()` is the reason, `instead` the alternative."""

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why)
        self.instead = instead


class Notes:
    """A growing list of notes, in which the same note about the same line stands once."""

    def __init__(self) -> None:
        self._notes: dict[Note, None] = {}

    def __iter__(self) -> Iterator[Note]:
        return iter(sorted(self._notes, key=lambda note: (note.where.path, note.where.line or 0)))

    def lost(self, where: Location, what: str, why: str, instead: str) -> None:
        """Note something that was left out."""
        self._notes.setdefault(Note(where=where, what=what, why=why, instead=instead))

    def changed(self, where: Location, what: str, why: str, instead: str) -> None:
        """Note something that was carried over and is not quite the same."""
        self._notes.setdefault(Note(where=where, what=what, why=why, instead=instead, lost=False))

    def take(self, where: Location, what: str, reason: NotCarried) -> None:
        """Note what was left out for `reason`."""
        self.lost(where, what, str(reason), reason.instead)


def name_for(text: str) -> str:
    """Return `text` as a name: lower case, digits, dots and dashes; empty if nothing is left."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")[:60].rstrip("-._")


def free_name(name: str, taken: Iterable[str], *, separator: str = "-") -> str:
    """Return the first of `name`, `name-2`, `name-3` … that is not taken."""
    taken = set(taken)
    numbered, number = name, 1
    while numbered in taken:
        number += 1
        numbered = f"{name}{separator}{number}"
    return numbered
