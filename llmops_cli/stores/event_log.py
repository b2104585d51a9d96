"""The event chains: one folder per environment and prompt, one numbered file per event.

`log/production/support/000007.json`. Files named by sequence number merge cleanly for different
prompts and conflict for the same one: git is the lock. Each event holds the digest of the one
before, so an event that was edited, or removed from the middle, is seen by reading alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmops_cli.core.codec import Misshapen
from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.release import Event, event_from
from llmops_cli.stores.atomic import AlreadyThere, create_bytes
from llmops_cli.stores.codec import BadRecord, from_bytes

_MOVES = frozenset({"promote", "rollback", "override"})
_PATTERN = "[0-9]" * 6 + ".json"


def read_chain(folder: Path) -> tuple[Event, ...]:
    """The events in `folder`, in order; none where there is no folder.

    Raises `IntegrityBroken` that names the file where the chain breaks.
    """
    return chain_of((path, path.read_bytes) for path in sorted(folder.glob(_PATTERN)))


def chain_of(files: Iterable[tuple[Path, Callable[[], bytes]]]) -> tuple[Event, ...]:
    """The events in `files`, each with what reads it, in order of their names.

    Raises `IntegrityBroken` that names the file where the chain breaks.
    """
    events: list[Event] = []
    for path, read in files:
        event = _read(path, read)
        expected = events[-1].digest if events else None
        if path.name != _file_name(len(events) + 1) or event.seq != len(events) + 1:
            raise _broken(path, f"event {len(events) + 1} is missing before it")
        if event.previous != expected:
            raise _broken(path, "it does not follow from the event before it")
        events.append(event)
    return tuple(events)


def is_event(path: Path) -> bool:
    """Whether a file of this name is an event."""
    return path.match(_PATTERN)


def place_of(folder: Path, event: Event) -> Path:
    """The file of `event` in the chain in `folder`."""
    return folder / _file_name(event.seq)


def append(folder: Path, event: Event) -> Path:
    """Write `event` as the next of the chain in `folder`: of two writers one wins.

    Raises `Refused` for the other, with nothing written.
    """
    path = place_of(folder, event)
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
    """The event that says what runs: the last one that moved the pointer."""
    return next((each for each in reversed(events) if each.action in _MOVES), None)


def quarantined(events: Sequence[Event]) -> frozenset[int]:
    """Numbers of the versions that may not be promoted; an override lifts a quarantine."""
    found: set[int] = set()
    for event in events:
        if event.action in {"rollback", "quarantine"} and event.from_version is not None:
            found.add(event.from_version.number)
        if event.action == "override" and event.to_version is not None:
            found.discard(event.to_version.number)
    return frozenset(found)


def before(events: Sequence[Event], steps: int) -> Event | None:
    """The event that put the `steps`-th distinct version before the current one there."""
    moves = [each for each in events if each.action in _MOVES and each.to_version is not None]
    if not moves or steps == 0:
        return moves[-1] if moves else None
    seen = dict.fromkeys(_number(each) for each in reversed(moves))
    numbers = list(seen)
    if steps >= len(numbers):
        return None
    return next(each for each in reversed(moves) if _number(each) == numbers[steps])


def prompts(folder: Path) -> tuple[str, ...]:
    """Every prompt with an event under `folder` (an environment's)."""
    chains = {path.parent for path in folder.rglob(_PATTERN)}
    return tuple(sorted(chain.relative_to(folder).as_posix() for chain in chains))


def _number(event: Event) -> int:
    assert event.to_version is not None
    return event.to_version.number


def _read(path: Path, read: Callable[[], bytes]) -> Event:
    try:
        record = from_bytes(read())
        stated = record.pop("digest", None)
        event = event_from(record)
    except (OSError, BadRecord, Misshapen) as error:
        raise _broken(path, str(error)) from error
    if event.digest != stated:
        raise _broken(path, "its content is not what was written")
    if event.action in _MOVES and event.to_version is None:
        raise _broken(path, f"it says {event.action}, and not to which version")
    return event


def _file_name(seq: int) -> str:
    return f"{seq:06}.json"


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(
        why, where=str(path), hint="restore it from git: git log --stat -- shows who touched it"
    )
