"""Makes the bundle of an environment, and holds a bundle against the registry it came from."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.release import Event
from llmops_cli.registry.verify import Flaw
from llmops_cli.stores import event_log as log
from llmops_cli.stores.bundle import Bundle, Bundled
from llmops_cli.stores.registry import Registry


def bundle(registry: Registry, environment: str) -> Bundle:
    """What `environment` runs, with what it ran before. The same registry gives the same bundle.

    Raises `UnknownName`, `Refused` where nothing runs there, `IntegrityBroken`.
    """
    known = registry.environments()
    if known and environment not in known:
        raise UnknownName("environment", environment, known)
    prompts = {
        name: _bundled(registry, registry.history(environment, name))
        for name in registry.running(environment)
    }
    if not prompts:
        raise Refused(
            f"{environment} runs nothing yet",
            hint="llmops promote NAME@v1 --initial -m WHY",
        )
    return Bundle.made(environment, prompts)


def departures(registry: Registry, shipped: Bundle, where: str) -> tuple[Flaw, ...]:
    """How the bundle in the file `where` differs from what `registry` gives for its environment.

    A bundle that is only behind is doubtful: all in it once ran there. One that holds what never
    ran there is a flaw. Raises `IntegrityBroken` where registry or bundle was touched.
    """
    place = shipped.environment
    running = set(registry.running(place))
    flaws = [
        Flaw(where=where, message=f"{name} runs in {place} and is not in it", doubtful=True)
        for name in sorted(running - set(shipped.records))
    ]
    for name in sorted(shipped.records):
        held = shipped.prompt(name)
        chain = registry.history(place, name)
        then = chain[: held.events[-1].seq]
        if log.pointer(then) is None or not _same(_bundled(registry, then), held):
            message = f"{_said(held)} is not what the log of {place} says"
            flaws.append(Flaw(where=where, message=message))
        elif (now := _bundled(registry, chain)) != held:
            message = f"it is behind: {_said(held)}, and {place} has {_said(now)}"
            flaws.append(Flaw(where=where, message=message, doubtful=True))
    return tuple(flaws)


def _bundled(registry: Registry, chain: Sequence[Event]) -> Bundled:
    """The prompt of `chain`, which holds an event that moved the pointer."""
    moves = [event for event in (log.before(chain, 0), log.before(chain, 1)) if event is not None]
    return Bundled(
        versions=tuple(registry.moved_to(event) for event in moves),
        events=tuple(chain[moves[0].seq - 1 :]),
        quarantined=tuple(sorted(registry.quarantined(moves[0].prompt))),
    )


def _same(one: Bundled, other: Bundled) -> bool:
    """Whether both say the same; a quarantine may have come since, in any environment."""
    return (one.versions, one.events) == (other.versions, other.events)


def _said(held: Bundled) -> str:
    marks = "".join(f", v{number} quarantined" for number in held.quarantined)
    return f"{held.versions[0].address} (event {held.events[-1].seq}{marks})"
