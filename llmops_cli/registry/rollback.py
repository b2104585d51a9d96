"""Moves an environment back, at once: no eval, no network, no question about evidence.

What ran there let its callers down, so it is quarantined: the rollback event says from where it
moved, and `promote` refuses that version until somebody overrides it on the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmops_cli.core.errors import Refused
from llmops_cli.core.release import Event, Version, VersionRef
from llmops_cli.registry.promote import breaking
from llmops_cli.stores.event_log import pointer
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRequest:
    """Who moves which prompt back, where, and why."""

    name: str
    environment: str
    to: int | None
    """The version to go to; None: the last distinct one that is not quarantined."""
    reason: str | None
    actor: str
    at: str
    """UTC, ISO 8601."""
    run_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """The event that was written, and what callers of the prompt must know."""

    event: Event
    left: Version
    now: Version
    breaking: tuple[str, ...]
    """How calls that were right for the version that was left are wrong now."""


def rollback(registry: Registry, retreat: RollbackRequest) -> RolledBack:
    """Appends the rollback event.

    Raises `Refused` where nothing runs there, no reason is given, or there is nothing to go back
    to; `UnknownName` for a version that is not there; `IntegrityBroken` for a broken registry.
    """
    events = registry.history(retreat.environment, retreat.name)
    current = pointer(events)
    if current is None:
        raise Refused(f"{retreat.environment} does not run {retreat.name}")
    if not retreat.reason:
        raise Refused("a rollback is recorded with a reason", hint="say it: -m WHY")
    assert current.to_version is not None
    left = registry.version(retreat.name, current.to_version.number)
    now = registry.moved_to(_destination(registry, retreat, events, left.number))
    event = Event(
        seq=len(events) + 1,
        environment=retreat.environment,
        prompt=retreat.name,
        action="rollback",
        from_version=current.to_version,
        to_version=VersionRef(number=now.number, digest=now.digest),
        previous=events[-1].digest,
        reason=retreat.reason,
        actor=retreat.actor,
        run_url=retreat.run_url,
        at=retreat.at,
    )
    registry.append(event)
    return RolledBack(
        event=event, left=left, now=now, breaking=tuple(breaking(left.prompt, now.prompt))
    )


def _destination(
    registry: Registry, retreat: RollbackRequest, events: Sequence[Event], running: int
) -> Event:
    """What put the version there that is gone back to: it ran, and nobody took it away since."""
    ran = [(each.to_version.number, each) for each in reversed(events) if each.to_version]
    quarantined = registry.quarantined(retreat.name)
    if retreat.to is not None:
        if retreat.to == running:
            raise Refused(f"{retreat.environment} runs v{running} already")
        if retreat.to not in dict(ran):
            raise Refused(
                f"{retreat.environment} has never run {retreat.name}@v{retreat.to}",
                hint="rollback goes back; llmops promote goes on",
            )
        return next(event for number, event in ran if number == retreat.to)
    for number, event in ran:
        if number != running and number not in quarantined:
            return event
    raise Refused(
        f"{retreat.environment} has run no other version of {retreat.name} that is fit to run",
        hint=f"another one: llmops promote {retreat.name}@vN --override -m WHY moves at once",
    )
