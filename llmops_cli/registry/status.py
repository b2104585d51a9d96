"""Where every prompt stands: what each environment runs, since when, by whom, on what evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llmops_cli.core.prompt import Target
from llmops_cli.core.release import Event, Version
from llmops_cli.core.verdict import Decision
from llmops_cli.judges.calibration_index import CalibrationIndex, KnownJudge
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One prompt in one environment."""

    environment: str
    version: int | None
    """None: it does not run there."""
    since: str | None = None
    """UTC, ISO 8601."""
    by: str | None = None
    decision: Decision | None = None
    """What the evidence said; None: nothing was decided (override, rollback)."""
    remarks: tuple[str, ...] = ()
    """What stays loud: override, accepted inconclusive, first promotion, rollback, quarantine."""
    judges: tuple[KnownJudge, ...] = ()
    """Of every judged metric that it was measured by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptStatus:
    """One prompt over all environments."""

    prompt: str
    latest: int | None
    """The newest version; None: never released."""
    working: int | None
    """The version that the working copy equals; None: it is ahead of all, or gone."""
    gone: bool
    """It is not in the working copy any more."""
    quarantined: tuple[int, ...]
    standings: tuple[Standing, ...]

    @property
    def ahead(self) -> bool:
        """Whether the working copy holds what was never released."""
        return not self.gone and self.working is None


def status(
    registry: Registry,
    environments: Sequence[str],
    working: Mapping[str, Target],
    judges: CalibrationIndex,
) -> tuple[PromptStatus, ...]:
    """Every prompt that was released or stands in the working copy, by name.

    `working` are the targets of the working copy by prompt. Raises `IntegrityBroken`.
    """
    names = sorted({*registry.names(), *working})
    return tuple(_status(registry, environments, name, working.get(name), judges) for name in names)


def _status(
    registry: Registry,
    environments: Sequence[str],
    name: str,
    target: Target | None,
    judges: CalibrationIndex,
) -> PromptStatus:
    versions = registry.versions(name)
    quarantined = registry.quarantined(name)
    return PromptStatus(
        prompt=name,
        latest=versions[-1].number if versions else None,
        working=None if target is None else _equal_to(target, versions),
        gone=target is None,
        quarantined=tuple(sorted(quarantined)),
        standings=tuple(
            replace(standing, judges=_judges(registry, event, judges))
            for each in environments
            for event in [registry.pointer(each, name)]
            for standing in [_standing(registry, each, event, quarantined)]
        ),
    )


def _equal_to(target: Target, versions: Sequence[Version]) -> int | None:
    return next((each.number for each in versions if each.target == target.digest), None)


def _judges(
    registry: Registry, event: Event | None, judges: CalibrationIndex
) -> tuple[KnownJudge, ...]:
    """What is known of those by whom that was measured which `event` lets run."""
    if event is None or event.to_version is None:
        return ()
    asked = event.judged_by  # a rollback or an override decides nothing: then its evidence knows
    if not asked:
        for evidence in registry.evidence(event.prompt, event.to_version.number)[-1:]:
            asked = evidence.measurement.evalsets
    return tuple(known for facts in asked for known in judges.of_facts(facts))


def _standing(
    registry: Registry, environment: str, event: Event | None, quarantined: frozenset[int]
) -> Standing:
    if event is None:
        return Standing(environment=environment, version=None)
    version = registry.moved_to(event)
    remarks = {
        "override": event.action == "override",
        "rolled back": event.action == "rollback",
        "accepted": event.accept_inconclusive,
        "first promotion": event.initial,
        "quarantined": version.number in quarantined,
    }
    return Standing(
        environment=environment,
        version=version.number,
        since=event.at,
        by=event.actor,
        decision=event.decision,
        remarks=tuple(remark for remark, holds in remarks.items() if holds),
    )
