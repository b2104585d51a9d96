"""Commit and push what a command wrote: nothing unless asked.

A push is a compare-and-swap. The events that the person saw before the first fetch must still be
there after it, for the prompt and environment that move. Other prompts may have moved: then the
event is decided and written again on top of them. An event that cannot be pushed is removed: it is
either in the shared branch or nowhere.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.core.records import Action, Event, Evidence, Version, VersionRef
from llmops_cli.run.workspace import actor, now, run_url
from llmops_cli.stores.git import Checkout, require_git
from llmops_cli.stores.registry import Registry, last_move

ATTEMPTS = 40
"""Pushes before giving up because others keep pushing first."""
PAUSE = 0.4
"""The most seconds to wait after another push won; the actual wait is random."""


class HasEvent(Protocol):
    """The result of a command that moves an environment."""

    @property
    def event(self) -> Event | None:
        """The event that says what runs now; None: nothing was written."""
        ...


R = TypeVar("R", bound=HasEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What to do in git with what was written."""

    commit: bool = False
    push: bool = False
    """Implies a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOrigin:
    """Who writes an event, when, and in which CI run."""

    actor: str
    at: str
    """UTC, ISO 8601."""
    run_url: str | None = None

    @classmethod
    def of(cls, root: Path, environ: Mapping[str, str]) -> EventOrigin:
        """Return the origin of what this process writes now."""
        return cls(actor=actor(root, environ), at=now(), run_url=run_url(environ))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventChain:
    """The events of a prompt in an environment, which a command appends to."""

    registry: Registry
    environment: str
    prompt: str

    def events(self) -> tuple[Event, ...]:
        """Read the events that are on disk at this moment."""
        return self.registry.history(self.environment, self.prompt)

    def pointer(self) -> Event | None:
        """Return the event that says what runs; None: the prompt does not run there."""
        return last_move(self.events())

    def next_event(self, action: Action, to: Version, origin: EventOrigin) -> Event:
        """Return an event that moves the environment to `to`; it is not written."""
        events = self.events()
        current = last_move(events)
        return Event(
            seq=len(events) + 1,
            environment=self.environment,
            prompt=self.prompt,
            action=action,
            from_version=current.to_version if current else None,
            to_version=VersionRef(number=to.number, digest=to.digest),
            previous=events[-1].digest if events else None,
            actor=origin.actor,
            run_url=origin.run_url,
            at=origin.at,
        )


def commit(root: Path, message: str) -> None:
    """Commit what is under `.llmops/`. Raises `Refused` or `Unmeasured`."""
    require_git(root, purpose="--commit").commit(message)


def deliver(
    root: Path,
    delivery: Delivery,
    chain: EventChain,
    write_event: Callable[[], R],
    *,
    reads_project: bool,
) -> R:
    """Write an event to `chain`, and commit and push it if asked.

    `write_event` may be called again, and must then decide from the files as they are now.
    `reads_project`: the project's own files decide too, so they must be committed. Raises
    `Refused` where somebody else moved the same chain, `Unmeasured` where git fails; then nothing
    is left of the event.
    """
    if not (delivery.commit or delivery.push):
        return write_event()
    checkout = require_git(root, purpose="--push" if delivery.push else "--commit")
    files = checkout.uncommitted_inputs() if reads_project else ()
    if files:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        raise Refused(
            f"not committed: {', '.join(files[:3])}{more}. The decision depends on these files, "
            "so they must be in the same history as the event",
            hint="git commit them first, or promote without --commit and --push",
        )
    events_seen = chain.events()
    for attempt in range(ATTEMPTS):
        if delivery.push:
            checkout.catch_up()
            _refuse_moved(events_seen, chain)
        result = _write_and_commit(checkout, chain, write_event, push=delivery.push)
        if result is not None:
            return result
        time.sleep(random.uniform(0, PAUSE * min(attempt + 1, 5)))  # noqa: S311 - no secret
    raise Unmeasured(
        f"others pushed first {ATTEMPTS} times: nothing was moved",
        hint="run the same command again when the branch is quieter",
    )


def _write_and_commit(
    checkout: Checkout, chain: EventChain, write_event: Callable[[], R], *, push: bool
) -> R | None:
    """Return what `write_event` wrote, after it was committed and, if asked, pushed.

    None if another push was first. Then, and where git fails, the commit and the event are removed.
    """
    head, events_before = checkout.head(), chain.events()
    result = write_event()
    if result.event is None:
        return result
    delivered = False
    try:
        checkout.commit(event_message(result.event))
        delivered = not push or checkout.push()
    finally:
        if not delivered:
            if checkout.head() != head:
                checkout.undo(head)
            for event in chain.events()[len(events_before) :]:
                chain.registry.event_file(event).unlink(missing_ok=True)
    return result if delivered else None


def _refuse_moved(events_seen: Sequence[Event], chain: EventChain) -> None:
    events = chain.events()
    if events == events_seen:
        return
    last = events[-1] if events else None
    detail = f": event {last.seq}, {last.action} by {last.actor}" if last else ""
    raise Refused(
        f"{chain.prompt} was moved in {chain.environment} meanwhile{detail}",
        hint=f"it is fetched now: see llmops history {chain.prompt}@{chain.environment}, "
        "then run the same command again",
    )


def event_message(event: Event) -> str:
    """Return the commit message of an event."""
    version = f"v{event.to_version.number}" if event.to_version else ""
    subjects = {
        "promote": f"Promote {event.prompt}@{version} to {event.environment}",
        "override": f"Promote {event.prompt}@{version} to {event.environment} BY OVERRIDE",
        "rollback": f"Roll {event.prompt} back to {version} in {event.environment}",
    }
    started = f"v{event.from_version.number}" if event.from_version else "nothing"
    lines = [subjects.get(event.action, f"{event.action} {event.prompt}"), ""]
    lines += [event.reason, ""] if event.reason else []
    lines.append(f"From: {started}")
    lines += [f"Verdict: {event.decision.value}"] if event.decision else []
    lines += [f"Evidence: {digest}" for digest in event.evidence]
    lines.append(f"Event: {event.seq} {event.digest}")
    return "\n".join(lines)


def release_message(versions: Sequence[Version]) -> str:
    """Return the commit message of released versions."""
    return f"Release {', '.join(version.address for version in versions)}"


def evidence_message(evidence: Sequence[Evidence]) -> str:
    """Return the commit message of evidence."""
    measurements = [made.measurement for made in evidence]
    subject = ", ".join(
        f"{made.name}@v{made.number}: {made.verdict.decision.value}" for made in measurements
    )
    whys = "\n".join(made.verdict.why for made in measurements)
    digests = "\n".join(f"Evidence: {made.digest}" for made in evidence)
    return f"Measure {subject}\n\n{whys}\n\n{digests}"
