"""Make the bundle of an environment: the versions that it runs, in one file for applications."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.release import Event
from llmops_cli.stores import event_log
from llmops_cli.stores.bundle import Bundle, BundledPrompt
from llmops_cli.stores.registry import Registry


def bundle(registry: Registry, environment: str) -> Bundle:
    """Return what `environment` runs and ran before. The same registry gives the same bundle.

    Raises `UnknownName`, `Refused` where nothing runs there, `IntegrityBroken`.
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
    moves = [event for steps in (0, 1) if (event := event_log.before(chain, steps)) is not None]
    return BundledPrompt(
        versions=tuple(registry.moved_to(event) for event in moves),
        events=tuple(chain[moves[0].seq - 1 :]),
        quarantined=tuple(sorted(registry.quarantined(moves[0].prompt))),
    )
