"""Chains of events: one folder per environment and prompt, one numbered file per event.

`log/production/support/000007.json`. Files named by sequence number merge cleanly for different
prompts and conflict for the same one: git is the lock. Each event holds the digest of the one
before, so an event that was edited, or removed from the middle, is noticed by reading alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmops_cli.core.digest import InvalidRecord
from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.records import Event, event_from
from llmops_cli.stores.atomic import AlreadyThere, create_bytes
from llmops_cli.stores.codec import from_bytes

_MOVES = frozenset({"promote", "rollback", "override"})
_PATTERN = "[0-9]" * 6 + ".json"


def read_chain(folder: Path) -> tuple[Event, ...]:
    """Return the events in `folder`, in order; none if there is no folder.

    Raises `IntegrityBroken` that names the file where the chain breaks.
    """
    return chain_of((path, path.read_bytes) for path in sorted(folder.glob(_PATTERN)))


def chain_of(files: Iterable[tuple[Path, Callable[[], bytes]]]) -> tuple[Event, ...]:
    """Return the events in `files`, each with a function that reads it, in order of their names.

    Raises `IntegrityBroken` that names the file where the chain breaks.
    """
    events: list[Event] = []
    for path, read in files:
        event, seq = _read(path, read), len(events) + 1
        if path.name != _file_name(seq) or event.seq != seq:
            raise _broken(path, f"event {seq} is missing before it")
        if event.previous != (events[-1].digest if events else None):
            raise _broken(path, "it does not follow from the event before it")
        events.append(event)
    return tuple(events)


def is_event(path: Path) -> bool:
    """Return whether a file of this name is an event."""
    return path.match(_PATTERN)


def file_of(folder: Path, event: Event) -> Path:
    """Return the file of `event` in the chain in `folder`."""
    return folder / _file_name(event.seq)


def append(folder: Path, event: Event) -> Path:
    """Write `event` as the next of the chain in `folder`, and return its file.

    Of two writers one wins. Raises `Refused` for the other, with nothing written.
    """
    path = file_of(folder, event)
    content = json.dumps({**event.record(), "digest": event.digest}, indent=2, ensure_ascii=True)
    try:
        create_bytes(path, content.encode() + b"\n")
    except AlreadyThere as error:
        raise Refused(
            f"{event.prompt} was moved in {event.environment} by someone else meanwhile",
            hint="llmops status shows what runs now; then run the same command again",
        ) from error
    return path


def pointer(events: Sequence[Event]) -> Event | None:
    """Return the event that says what runs: the last one that moved the pointer."""
    return next((event for event in reversed(events) if event.action in _MOVES), None)


def quarantined(events: Iterable[Event]) -> frozenset[int]:
    """Return the versions that may not be promoted; an override lifts a quarantine."""
    numbers: set[int] = set()
    for event in events:
        if event.action in {"rollback", "quarantine"} and event.from_version is not None:
            numbers.add(event.from_version.number)
        if event.action == "override" and event.to_version is not None:
            numbers.discard(event.to_version.number)
    return frozenset(numbers)


def before(events: Sequence[Event], steps: int) -> Event | None:
    """Return the last event that moved to the `steps`-th distinct version before the current one.

    None: there were not so many versions.
    """
    last_moves: dict[int, Event] = {}
    for event in reversed(events):
        if event.action in _MOVES and event.to_version is not None:
            last_moves.setdefault(event.to_version.number, event)
    return list(last_moves.values())[steps] if steps < len(last_moves) else None


def prompts(folder: Path) -> tuple[str, ...]:
    """Return every prompt with an event under `folder` (an environment's)."""
    chains = {path.parent for path in folder.rglob(_PATTERN)}
    return tuple(sorted(chain.relative_to(folder).as_posix() for chain in chains))


def _read(path: Path, read: Callable[[], bytes]) -> Event:
    try:
        record = from_bytes(read())
        digest = record.pop("digest", None)
        event = event_from(record)
    except (OSError, InvalidRecord) as error:
        raise _broken(path, str(error)) from error
    if event.digest != digest:
        raise _broken(path, "its content is not what was written")
    if event.action in _MOVES and event.to_version is None:
        raise _broken(path, f"it is a {event.action} to no version")
    return event


def _file_name(seq: int) -> str:
    return f"{seq:06}.json"


def _broken(path: Path, why: str) -> IntegrityBroken:
    hint = "restore it from git: git log --stat shows who changed it"
    return IntegrityBroken(why, where=str(path), hint=hint)
