"""Registries and bundles that an application could start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.stores.bundle import bundle
from llmops_cli.stores.registry import Registry
from tests.unit.releases import event, released


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """production ran v1 of support and runs v2; it runs v1 of intent."""
    folder = tmp_path / "project"
    registry = Registry(folder)
    one, two = (released(folder, text) for text in ("Answer.", "Answer well."))
    registry.append(event(one))
    registry.append(event(two, after=registry.pointer("production", "support")))
    registry.append(event(released(folder, name="intent")))
    return folder


@pytest.fixture
def bundled(root: Path, tmp_path: Path) -> Path:
    """The bundle of production."""
    path = tmp_path / "production.bundle.json"
    path.write_bytes(bundle(Registry(root), "production").to_bytes())
    return path


def quarantine(root: Path, number: int) -> None:
    """Puts a version of support under quarantine; what runs stays."""
    registry = Registry(root)
    version = registry.version("support", number)
    last = registry.history("production", "support")[-1]
    reference = next(
        each.to_version
        for each in registry.history("production", "support")
        if each.to_version is not None and each.to_version.number == version.number
    )
    changes = {"action": "quarantine", "from_version": reference, "to_version": None}
    registry.append(event(version, after=last, changes=changes))
