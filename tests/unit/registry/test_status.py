"""Status says what runs where, since when, by whom, on what evidence, and what stays loud."""

from __future__ import annotations

from pathlib import Path

from llmops_cli.core.policy import Decision
from llmops_cli.judges.index import CalibrationIndex
from llmops_cli.registry.status import EnvironmentStatus, PromptStatus, registry_status
from llmops_cli.stores.registry import Registry
from tests.unit.releases import ADA, NOON, event, promote_all, released, target


def test_a_prompt_that_was_never_released_has_no_version(tmp_path: Path) -> None:
    (found,) = registry_status(
        Registry(tmp_path), ["production"], {"support": target()}, CalibrationIndex(root=tmp_path)
    )
    assert found == PromptStatus(
        prompt="support",
        latest=None,
        working=None,
        removed=False,
        quarantined=(),
        environments=(EnvironmentStatus(environment="production", version=None),),
    )
    assert found.unreleased


def test_every_prompt_in_every_environment(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    one, two = (released(tmp_path, text) for text in ("Answer.", "Answer well."))
    released(tmp_path, name="old")
    _, second = promote_all(registry, one, two)
    registry.append(event(one, after=second, changes={"action": "rollback", "actor": "Eve"}))
    registry.append(event(two, environment="staging", changes={"decision": Decision.PASS}))
    old, support = registry_status(
        registry,
        ["staging", "production"],
        {"support": target("Answer well.")},
        CalibrationIndex(root=tmp_path),
    )
    assert (old.prompt, old.removed, old.unreleased, old.latest) == ("old", True, False, 1)
    assert (support.latest, support.working, support.unreleased) == (2, 2, False)
    assert support.quarantined == (2,)
    staging = EnvironmentStatus(
        environment="staging",
        version=2,
        since=NOON,
        by=ADA.by,
        decision=Decision.PASS,
        remarks=("quarantined",),
    )
    production = EnvironmentStatus(
        environment="production", version=1, since=NOON, by="Eve", remarks=("rolled back",)
    )
    assert support.environments == (staging, production)
