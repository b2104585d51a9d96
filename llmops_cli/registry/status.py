"""Report what each environment runs, since when, by whom and on what evidence; and its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_cli.core.errors import UnknownName
from llmops_cli.core.policy import Decision
from llmops_cli.core.prompt import Target
from llmops_cli.core.records import Event
from llmops_cli.judges.index import CalibrationIndex, JudgeStatus
from llmops_cli.project.project import find_root
from llmops_cli.run.selection import environment_of
from llmops_cli.run.workspace import Workspace, open_project
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentStatus:
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
    """Override, accepted inconclusive, first promotion, rollback, quarantine."""
    judges: tuple[JudgeStatus, ...] = ()
    """Of every judged metric that it was measured by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptStatus:
    """One prompt in all environments."""

    prompt: str
    latest: int | None
    """The newest version; None: never released."""
    working: int | None
    """The version that the working copy equals; None: it equals none, or it was removed."""
    removed: bool
    """It is no longer in the working copy."""
    quarantined: tuple[int, ...]
    environments: tuple[EnvironmentStatus, ...]

    @property
    def unreleased(self) -> bool:
        """Whether the working copy differs from every version."""
        return not self.removed and self.working is None


def status(workspace: Workspace) -> tuple[PromptStatus, ...]:
    """Return the status of every prompt. Raises `IntegrityBroken`."""
    project = workspace.project
    return registry_status(
        workspace.registry,
        [environment.name for environment in project.environments],
        {name: project.target(prompt) for name, prompt in project.prompts.items()},
        CalibrationIndex(root=workspace.root),
    )


def registry_status(
    registry: Registry,
    environments: Sequence[str],
    working: Mapping[str, Target],
    calibrations: CalibrationIndex,
) -> tuple[PromptStatus, ...]:
    """Return the status of every released prompt and of those in the working copy, by name.

    `working` are the targets of the working copy by prompt. Raises `IntegrityBroken`.
    """
    prompts = []
    for name in sorted({*registry.names(), *working}):
        versions, target = registry.versions(name), working.get(name)
        quarantined = registry.quarantined(name)
        equal = [v.number for v in versions if target is not None and v.target == target.digest]
        status = PromptStatus(
            prompt=name,
            latest=versions[-1].number if versions else None,
            working=equal[0] if equal else None,
            removed=target is None,
            quarantined=tuple(sorted(quarantined)),
            environments=tuple(
                _environment_status(registry, environment, name, quarantined, calibrations)
                for environment in environments
            ),
        )
        prompts.append(status)
    return tuple(prompts)


def prompts_to_release(workspace: Workspace, environment: str | None) -> list[str]:
    """Return the prompts whose working copy differs from what `environment` (None: the last) runs.

    Prompts whose working copy is a quarantined version are left out: it cannot be promoted.
    """
    name = environment_of(workspace.project, environment).name
    return [
        prompt.prompt
        for prompt in status(workspace)
        for running in prompt.environments
        if running.environment == name
        and not prompt.removed
        and prompt.working not in prompt.quarantined
        and (prompt.unreleased or prompt.working != running.version)
    ]


def history(start: Path, address: str) -> list[Event]:
    """Return every event of a prompt, newest first: in one environment (`name@env`) or in all."""
    root = find_root(start)
    registry = Registry(root)
    name, _, environment = address.partition("@")
    known = registry.environments()
    if environment and environment not in known:
        raise UnknownName("environment", environment, known)
    chains = (registry.history(key, name) for key in ([environment] if environment else known))
    events = [event for chain in chains for event in chain]
    if not events and name not in registry.names():
        prompts = {*registry.names(), *open_project(root).prompts}
        if name not in prompts:
            raise UnknownName("prompt", name, prompts)
    return events[::-1]


def _environment_status(
    registry: Registry,
    environment: str,
    name: str,
    quarantined: frozenset[int],
    calibrations: CalibrationIndex,
) -> EnvironmentStatus:
    event = registry.pointer(environment, name)
    if event is None:
        return EnvironmentStatus(environment=environment, version=None)
    version = registry.moved_to(event)
    remarks = {
        "override": event.action == "override",
        "rolled back": event.action == "rollback",
        "accepted": event.accept_inconclusive,
        "first promotion": event.initial,
        "quarantined": version.number in quarantined,
    }
    evalsets = event.judged_by
    if not evalsets:  # a rollback or an override decides nothing: use the version's evidence
        for evidence in registry.evidence(name, version.number)[-1:]:
            evalsets = evidence.measurement.evalsets
    return EnvironmentStatus(
        environment=environment,
        version=version.number,
        since=event.at,
        by=event.actor,
        decision=event.decision,
        remarks=tuple(remark for remark, applies in remarks.items() if applies),
        judges=tuple(
            calibrations.of(facts.evalset, metric, facts.policy)
            for facts in evalsets
            for metric in facts.metrics
            if metric.judged
        ),
    )
