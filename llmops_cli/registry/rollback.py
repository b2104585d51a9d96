"""Roll an environment back at once: no eval, no network, no question about evidence.

The version that is left is quarantined: `promote` refuses it until somebody overrides that on the
record. Only the registry is read, so an invalid project file does not stop a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmops_cli.core.errors import LlmopsError, Refused, UnknownName
from llmops_cli.core.records import Event, Version
from llmops_cli.project.project import find_root
from llmops_cli.registry.deliver import Delivery, EventChain, EventOrigin, deliver
from llmops_cli.registry.promote import breaking_changes
from llmops_cli.run.selection import environment_of
from llmops_cli.run.workspace import open_project
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRequest:
    """Which prompt to roll back, where, and why."""

    address: str
    """`support@production`; without an environment, the last one of llmops.yaml."""
    to: str | None = None
    """The version to return to (`v2`); None: the last distinct one that is not quarantined."""
    reason: str | None = None
    delivery: Delivery = field(default_factory=Delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The event that was written, and what callers of the prompt must know."""

    event: Event
    left: Version
    now: Version
    breaking: tuple[str, ...]
    """How calls that suit the version that was left are wrong now."""
    still_in_working_copy: bool = False
    """Whether the working copy is still the version that was rolled back."""


def rollback(start: Path, request: RollbackRequest, *, environ: Mapping[str, str]) -> Rollback:
    """Roll back and deliver the event to git.

    Raises `Refused` if nothing runs there, no reason is given, there is nothing to return to
    or somebody else moved the environment meanwhile; `UnknownName` for a version that does not
    exist; `IntegrityBroken` for a broken registry; `Unmeasured` where git cannot be reached.
    """
    root = find_root(start)
    registry = Registry(root)
    name, _, environment = request.address.partition("@")
    environment = environment or environment_of(open_project(root), None).name
    known = registry.environments()
    if known and environment not in known:
        raise UnknownName("environment", environment, known)
    chain = EventChain(registry=registry, environment=environment, prompt=name)

    def write_event() -> Rollback:
        return append_rollback(chain, request, EventOrigin.of(root, environ))

    rolled_back = deliver(root, request.delivery, chain, write_event, reads_project=False)
    return replace(rolled_back, still_in_working_copy=_is_in_working_copy(root, rolled_back.left))


def append_rollback(chain: EventChain, request: RollbackRequest, origin: EventOrigin) -> Rollback:
    """Append the rollback event to `chain`. Raises as `rollback` does."""
    registry = chain.registry
    current = chain.pointer()
    if current is None:
        raise Refused(f"{chain.environment} does not run {chain.prompt}")
    if not request.reason:
        raise Refused("a rollback is recorded with a reason", hint="say why: -m WHY")
    assert current.to_version is not None
    left = registry.version(chain.prompt, current.to_version.number)
    now = registry.moved_to(_destination(chain, request.to, left.number))
    event = replace(chain.next_event("rollback", now, origin), reason=request.reason)
    registry.append(event)
    breaking = breaking_changes(left.prompt, now.prompt)
    return Rollback(event=event, left=left, now=now, breaking=tuple(breaking))


def _destination(chain: EventChain, to: str | None, running: int) -> Event:
    """Return the event that once moved the environment to the version to return to."""
    events: Sequence[Event] = chain.events()
    moves = [(event.to_version.number, event) for event in events[::-1] if event.to_version]
    if to is not None:
        number = chain.registry.resolve(chain.prompt, to)
        if number == running:
            raise Refused(f"{chain.environment} runs v{running} already")
        if number not in dict(moves):
            raise Refused(
                f"{chain.environment} has never run {chain.prompt}@v{number}",
                hint="a rollback returns to an earlier version; llmops promote moves to a new one",
            )
        return next(event for moved_to, event in moves if moved_to == number)
    quarantined = chain.registry.quarantined(chain.prompt)
    for number, event in moves:
        if number != running and number not in quarantined:
            return event
    raise Refused(
        f"{chain.environment} has run no other version of {chain.prompt} that is not quarantined",
        hint=f"llmops promote {chain.prompt}@vN --override -m WHY moves it to any version at once",
    )


def _is_in_working_copy(root: Path, version: Version) -> bool:
    """Return whether the working copy is `version`; False if the project cannot be read."""
    try:
        project = open_project(root)
    except LlmopsError:
        return False
    prompt = project.prompts.get(version.name)
    return prompt is not None and project.target(prompt).digest == version.target
