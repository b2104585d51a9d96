"""A release freezes a target; the same target is the same version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.prompt import Limits, Price
from llmops_cli.registry.release import release_target
from llmops_cli.stores.registry import Registry, target_of
from tests.unit.releases import ADA, target
from tests.unit.stores.values import plain


def test_the_same_target_is_the_same_version(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = release_target(registry, target(), {"support.prompt.yml": b"one"}, ADA, redact=plain)
    worded = target()
    worded = replace(worded, prompt=replace(worded.prompt, description="said better"))
    again = release_target(registry, worded, {"support.prompt.yml": b"two"}, ADA, redact=plain)
    assert (first.new, again.new) == (True, False)
    assert again.version == first.version


def test_another_target_takes_the_next_number(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    numbers = [
        release_target(registry, each, {}, ADA, redact=plain).version.number
        for each in (target("a"), target("b"), target("a"), target("a", model="other"))
    ]
    assert numbers == [1, 2, 1, 3]


def test_what_belongs_to_the_caller_is_not_frozen(tmp_path: Path) -> None:
    whole = target()
    whole = replace(
        whole,
        model=replace(
            whole.model,
            base_url="https://gateway.example/v1",
            headers={"authorization": "Bearer x"},
            limits=Limits(rpm=3),
            price=Price(input=1, output=2),
        ),
    )
    version = release_target(Registry(tmp_path), whole, {}, ADA, redact=plain).version
    frozen = target_of(version)
    assert frozen.digest == whole.digest
    assert frozen.model == replace(whole.model, headers={}, limits=Limits(), price=None)


@pytest.mark.parametrize("place", ["support.prompt.yml", "llmops.yaml"])
def test_a_secret_is_never_released(tmp_path: Path, place: str) -> None:
    secret = "sk-123"
    whole = target()
    if place == "llmops.yaml":
        url = f"https://{secret}@gateway.example"
        whole = replace(whole, model=replace(whole.model, base_url=url))
    sources = {"support.prompt.yml": secret.encode() if place != "llmops.yaml" else b""}
    registry = Registry(tmp_path)
    with pytest.raises(Refused, match=f"{place} contains a secret"):
        release_target(
            registry, whole, sources, ADA, redact=lambda text: text.replace(secret, "***")
        )
    assert not (tmp_path / ".llmops").exists()
