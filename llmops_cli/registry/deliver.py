"""Brings what a command wrote into git: nothing unless asked, then committed, or pushed as well.

A push is a comparison and a swap. What the person saw before the first fetch must be what the
branch holds after it, for the prompt and environment that move; other prompts may have moved, and
then the event is decided and written again on top of them. An event that cannot be pushed is
taken back: it is in the shared branch, or it is nowhere.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.core.release import Event, Evidence, Version
from llmops_cli.plugins import load
from llmops_cli.stores.registry import Registry

ATTEMPTS = 40
"""Pushes before it is said that the branch moves too fast."""
PAUSE = 0.4
"""Seconds that are waited after a lost race, at most; a random part of it."""


class Branch(Protocol):
    """The branch that is checked out, as far as flows need it."""

    def head(self) -> str | None: ...

    def undecided(self) -> tuple[str, ...]: ...

    def commit(self, message: str) -> str | None: ...

    def undo(self, commit: str | None) -> None: ...

    def demand_remote(self) -> tuple[str, str, str]: ...

    def catch_up(self) -> None: ...

    def push(self) -> bool: ...


class Moves(Protocol):
    """What came of a command that moves a pointer."""

    @property
    def event(self) -> Event | None:
        """The event that says what runs now; None: nothing was written."""
        ...


M = TypeVar("M", bound=Moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What git is asked to do with what was written."""

    commit: bool = False
    push: bool = False
    """Implies a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The chain of events that a command adds to."""

    registry: Registry
    environment: str
    name: str

    def events(self) -> tuple[Event, ...]:
        """As they stand on disk at this moment."""
        return self.registry.history(self.environment, self.name)


def open_branch(root: Path, *, purpose: str) -> Branch:
    """The branch around `root`; git is loaded here. Raises `Refused` where there is none."""
    opened = cast("Callable[..., Branch]", load("llmops_cli.stores.branch:open_branch"))
    return opened(root, purpose=purpose)


def commit(root: Path, message: str) -> None:
    """Commits what stands under `.llmops/`. Raises `Refused` or `Unmeasured`."""
    open_branch(root, purpose="--commit").commit(message)


def move(root: Path, delivery: Delivery, chain: Chain, act: Callable[[], M], *, decides: bool) -> M:
    """What `act` writes to `chain`, delivered. `act` may be asked again, and then looks anew.

    `decides`: the project's own files have a say, so they must be committed. Raises `Refused`
    where somebody else has moved the same chain, `Unmeasured` where git gets in the way; then
    nothing is left of it.
    """
    if not (delivery.commit or delivery.push):
        return act()
    branch = open_branch(root, purpose="--push" if delivery.push else "--commit")
    if decides:
        _refuse_undecided(branch)
    if not delivery.push:
        return _committed(branch, chain, act)
    branch.demand_remote()
    seen = chain.events()
    for attempt in range(ATTEMPTS):
        branch.catch_up()
        _refuse_moved(seen, chain.events(), chain)
        before, written = branch.head(), chain.events()
        done = _committed(branch, chain, act)
        if done.event is None or _pushed(branch, chain, before, written):
            return done
        time.sleep(random.uniform(0, PAUSE * min(attempt + 1, 5)))  # noqa: S311 - no secret
    raise Unmeasured(
        f"{ATTEMPTS} pushes were overtaken by others: nothing was moved",
        hint="the same command again, when the branch is quieter",
    )


def _committed(branch: Branch, chain: Chain, act: Callable[[], M]) -> M:
    """What `act` wrote, as a commit; where that fails, the event is taken back."""
    written = chain.events()
    done = act()
    if done.event is None:
        return done
    committed = False
    try:
        branch.commit(message(done.event))
        committed = True
    finally:
        if not committed:
            _take_back(chain, written)
    return done


def _pushed(branch: Branch, chain: Chain, before: str | None, written: Sequence[Event]) -> bool:
    """Whether the branch was pushed; if not, commit and event are taken back."""
    pushed = False
    try:
        pushed = branch.push()
    finally:
        if not pushed and branch.head() != before:
            branch.undo(before)
            _take_back(chain, written)
    return pushed


def _take_back(chain: Chain, written: Sequence[Event]) -> None:
    for event in chain.events()[len(written) :]:
        chain.registry.event_file(event).unlink(missing_ok=True)


def _refuse_undecided(branch: Branch) -> None:
    files = branch.undecided()
    if files:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        raise Refused(
            f"not committed: {', '.join(files[:3])}{more}. Who reads the event could not see "
            "what decided",
            hint="git commit them first, or promote without --commit and --push",
        )


def _refuse_moved(seen: Sequence[Event], now: Sequence[Event], chain: Chain) -> None:
    if list(now) == list(seen):
        return
    last = now[-1] if now else None
    told = f": event {last.seq}, {last.action} by {last.actor}" if last else ""
    raise Refused(
        f"{chain.name} was moved in {chain.environment} meanwhile{told}",
        hint=f"it is fetched now: llmops history {chain.name}@{chain.environment}, "
        "then the same command again",
    )


def message(event: Event) -> str:
    """The commit of an event, for whoever reads `git log`."""
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
    lines += [f"Evidence: {each}" for each in event.evidence]
    lines.append(f"Event: {event.seq} {event.digest}")
    return "\n".join(lines)


def release_message(versions: Sequence[Version]) -> str:
    """The commit of versions that were released."""
    return f"Release {', '.join(each.address for each in versions)}"


def evidence_message(evidence: Evidence) -> str:
    """The commit of evidence that was measured."""
    found = evidence.measurement
    verdict = found.verdict
    return (
        f"Measure {found.name}@v{found.number}: {verdict.decision.value}\n\n"
        f"{verdict.why}\n\nEvidence: {evidence.digest}"
    )
