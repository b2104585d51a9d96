"""Clears away the rows and texts of evidence that no decision can need again.

Versions, events, statements and summaries stay for ever: who decided what on which verdict is
never lost. Rows and texts weigh a thousand times as much, and are kept where they can still speak:

- cited by the event that says what an environment runs, or ran before it,
- the newest of a version that runs, ran before that, is a policy's anchor, or waits for its
  promotion (it is newer than what some environment runs).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llmops_cli.core.release import Event, Evidence
from llmops_cli.stores import event_log as log
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """A file that was, or would be, cleared away."""

    path: Path
    size: int
    """Bytes."""


def gc(
    registry: Registry, anchors: Mapping[str, Collection[int]], *, dry_run: bool
) -> tuple[Cleared, ...]:
    """Clears, and says what. `anchors`: the versions that policies name, by prompt.

    Raises `IntegrityBroken` before anything is cleared where the registry is broken.
    """
    found = [
        Cleared(path=path, size=path.stat().st_size)
        for name in registry.names()
        for evidence in _unneeded(registry, name, anchors.get(name, ()))
        for path in registry.evidence_data(evidence)
    ]
    if not dry_run:
        for each in found:
            each.path.unlink(missing_ok=True)
    return tuple(found)


def _unneeded(registry: Registry, name: str, anchors: Collection[int]) -> Iterator[Evidence]:
    needed = needed_evidence(registry, name, anchors)
    for version in registry.versions(name):
        for evidence in registry.evidence(name, version.number):
            if evidence.digest not in needed:
                yield evidence


def needed_evidence(registry: Registry, name: str, anchors: Collection[int] = ()) -> frozenset[str]:
    """Digests of the evidence of `name` whose rows stay."""
    moves = [
        event
        for environment in registry.environments()
        for event in _last_moves(registry, environment, name)
    ]
    cited = {each for event in moves for each in (*event.evidence, *event.baseline_evidence)}
    current = [
        event.to_version.number
        for environment in registry.environments()
        if (event := registry.pointer(environment, name)) and event.to_version
    ]
    oldest = min(current, default=0)
    ran = {event.to_version.number for event in moves if event.to_version}
    speaking = {
        version.number
        for version in registry.versions(name)
        if version.number in ran or version.number in anchors or version.number > oldest
    }
    newest = {found[-1].digest for number in speaking if (found := _whole(registry, name, number))}
    return frozenset(cited | newest)


def _last_moves(registry: Registry, environment: str, name: str) -> Iterator[Event]:
    """What put the current version and the distinct one before it there, be it by a rollback,
    and the promotion that once let each of them in.
    """
    chain = registry.history(environment, name)
    for steps in (0, 1):
        event = log.before(chain, steps)
        if event is None:
            return
        yield event
        promoted = (each for each in reversed(chain) if each.action == "promote")
        yield from islice((each for each in promoted if each.to_version == event.to_version), 1)


def _whole(registry: Registry, name: str, number: int) -> list[Evidence]:
    """Evidence of a version that has its rows still, newest last."""
    return [each for each in registry.evidence(name, number) if registry.has_rows(each)]
