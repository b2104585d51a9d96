"""What an importer makes of foreign files: prompts, evalsets and models as plain values.

They are written out by `writing`, and only then checked like any file that a person wrote.

What an import could not carry over as it was: each with its line, the reason and a way out.

Nothing is dropped silently: whatever an importer leaves out, or has to write differently, passes
through `Notes`. The same note about the same line is said once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_cli.core.errors import Location


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
    cases: Sequence[Mapping[str, Any]]
    repeats: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Everything that one import makes."""

    models: Sequence[ImportedModel]
    prompts: Sequence[ImportedPrompt]
    evalsets: Sequence[ImportedEvalset]
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the person who imports decides."""

    name: str
    """The name of the prompt, and of the evalset that gates it."""
    model: str | None = None
    """`provider/model` where the file names none that can be called."""


FALLBACK = "embedded"
"""The model of a prompt whose own cannot be called: no key, no network, and no LLM."""


def name_for(text: str) -> str:
    """`text` as a name: lower case, digits, dots and dashes. Empty where nothing is left."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")[:60].rstrip("-._")


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` …: the first that is not taken."""
    taken = set(taken)
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def fallback_model(choices: Choices) -> ImportedModel:
    """The model of prompts whose own cannot be called."""
    if choices.model is None:
        return ImportedModel(alias="default", fields={"provider": FALLBACK})
    provider, _, model = choices.model.partition("/")
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
    """Something that has no counterpart here: `str()` says why, `instead` what to do."""

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why)
        self.instead = instead


class Notes:
    """A growing list of notes."""

    def __init__(self) -> None:
        self._found: dict[Note, None] = {}

    def __iter__(self) -> Iterator[Note]:
        order = sorted(self._found, key=lambda each: (each.where.path, each.where.line or 0))
        return iter(order)

    def lost(self, where: Location, what: str, why: str, instead: str) -> None:
        """Note something that was left out."""
        self._found.setdefault(Note(where=where, what=what, why=why, instead=instead))

    def changed(self, where: Location, what: str, why: str, instead: str) -> None:
        """Note something that was carried over and is not quite the same."""
        note = Note(where=where, what=what, why=why, instead=instead, lost=False)
        self._found.setdefault(note)

    def take(self, where: Location, what: str, reason: NotCarried) -> None:
        """Note what was left out for `reason`."""
        self.lost(where, what, str(reason), reason.instead)
