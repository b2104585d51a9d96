"""Make the bundle of an environment, and compare a bundle with the registry it came from.

A bundle is what an environment runs, in one file for applications.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmops_cli.core.errors import LlmopsError, Refused, UnknownName
from llmops_cli.core.records import Event
from llmops_cli.registry.problems import RegistryProblem
from llmops_cli.stores.bundle import Bundle, BundledPrompt, bundle_of
from llmops_cli.stores.registry import Registry, last_move, move_before


def bundle(registry: Registry, environment: str) -> Bundle:
    """Return what `environment` runs and ran before. The same registry gives the same bundle.

    Raises `UnknownName`, `Refused` if nothing runs there, `IntegrityBroken`.
    """
    known = registry.environments()
    if known and environment not in known:
        raise UnknownName("environment", environment, known)
    prompts = {
        name: bundled_prompt(registry, registry.history(environment, name))
        for name in registry.running(environment)
    }
    if not prompts:
        raise Refused(
            f"{environment} runs nothing yet", hint="llmops promote NAME@v1 --initial -m WHY"
        )
    return Bundle.of(environment, prompts)


def bundled_prompt(registry: Registry, chain: Sequence[Event]) -> BundledPrompt:
    """Return what a bundle holds of the prompt of `chain`, whose pointer was moved at least once.

    Raises `IntegrityBroken`.
    """
    moves = [event for steps in (0, 1) if (event := move_before(chain, steps)) is not None]
    return BundledPrompt(
        versions=tuple(registry.moved_to(event) for event in moves),
        events=tuple(chain[moves[0].seq - 1 :]),
        quarantined=tuple(sorted(registry.quarantined(moves[0].prompt))),
    )


def bundle_problems(
    registry: Registry, environment: str, file: Path
) -> tuple[RegistryProblem, ...]:
    """Return what is wrong with the bundle in `file`. Raises `Refused` if it cannot be read."""
    try:
        shipped = bundle_of(file.read_bytes(), file)
        if shipped.environment == environment:
            return compare_bundle(registry, shipped, str(file))
        message = f"it is a bundle of {shipped.environment}, not of {environment}"
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    except LlmopsError as error:
        message = error.message
    return (RegistryProblem(where=str(file), message=message),)


def compare_bundle(registry: Registry, shipped: Bundle, where: str) -> tuple[RegistryProblem, ...]:
    """Return how the bundle in the file `where` differs from its environment in `registry`.

    A bundle that is only behind is a warning: all that it holds once ran there. One that holds
    what never ran there is a problem. Raises `IntegrityBroken` if either was tampered with.
    """
    environment = shipped.environment
    missing = sorted(set(registry.running(environment)) - set(shipped.records))
    problems = [
        RegistryProblem(
            where=where, message=f"{name} runs in {environment} and is not in it", warning=True
        )
        for name in missing
    ]
    for name in sorted(shipped.records):
        bundled = shipped.prompt(name)
        chain = registry.history(environment, name)
        chain_then = chain[: bundled.events[-1].seq]
        if last_move(chain_then) is None or not _same_moves(
            bundled_prompt(registry, chain_then), bundled
        ):
            message = f"{_describe(bundled)} is not what the log of {environment} says"
            problems.append(RegistryProblem(where=where, message=message))
        elif (today := bundled_prompt(registry, chain)) != bundled:
            message = (
                f"it is behind: {_describe(bundled)}, and {environment} has {_describe(today)}"
            )
            problems.append(RegistryProblem(where=where, message=message, warning=True))
    return tuple(problems)


def _same_moves(bundled: BundledPrompt, other: BundledPrompt) -> bool:
    """Return whether both are equal but for quarantines, which may come later."""
    return (bundled.versions, bundled.events) == (other.versions, other.events)


def _describe(bundled: BundledPrompt) -> str:
    quarantined = "".join(f", v{number} quarantined" for number in bundled.quarantined)
    return f"{bundled.versions[0].address} (event {bundled.events[-1].seq}{quarantined})"
