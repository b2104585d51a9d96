"""What an import could not carry over as it was: each with its line, the reason and a way out.

Nothing is dropped silently: whatever an importer leaves out, or has to write differently, passes
through `Notes`. The same note about the same line is said once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmops_cli.core.errors import Location


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
