"""Loading: once per process, by any number of threads, switched by a pin, loud about quarantine."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmops_cli import load_prompt
from llmops_cli.core.errors import Refused
from llmops_cli.runtime import QuarantinedVersion
from llmops_cli.stores.bundle import bundle
from llmops_cli.stores.registry import Registry
from tests.unit.runtime.conftest import quarantine


def test_a_prompt_is_loaded_once(root: Path, bundled: Path) -> None:
    for source in (root, bundled):
        first = load_prompt("support@production", source=source)
        assert load_prompt("support@production", source=source) is first
        assert load_prompt("intent@production", source=source) is not first


def test_a_running_application_keeps_what_it_has_started_with(bundled: Path) -> None:
    first = load_prompt("support@production", source=bundled)
    bundled.write_bytes(b"something else")
    assert load_prompt("support@production", source=bundled) is first


def test_many_threads_share_one_prompt(bundled: Path) -> None:
    def work(number: int) -> tuple[int, object]:
        prompt = load_prompt("support@production", source=bundled)
        return id(prompt), prompt.render(question=f"number {number}").messages[1]["content"]

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(work, range(400)))
    assert len({each for each, _ in found}) == 1
    assert [content for _, content in found] == [
        [{"type": "text", "text": f"number {number}"}] for number in range(400)
    ]


def test_a_pin_switches_without_a_deploy(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_prompt("support@production", source=bundled).version == 2
    monkeypatch.setenv("LLMOPS_PIN", "other=v9, support=v1,")
    assert load_prompt("support@production", source=bundled).version == 1
    assert load_prompt("intent@production", source=bundled).version == 1
    monkeypatch.delenv("LLMOPS_PIN")
    assert load_prompt("support@production", source=bundled).version == 2


@pytest.mark.parametrize("pin", ["support", "support=", "=v1", "support:v1"])
def test_a_pin_that_is_none_is_refused(
    bundled: Path, monkeypatch: pytest.MonkeyPatch, pin: str
) -> None:
    monkeypatch.setenv("LLMOPS_PIN", pin)
    with pytest.raises(Refused, match="is no pin"):
        load_prompt("support@production", source=bundled)


@pytest.mark.parametrize("pin", ["support=v9", "support=working", "support=latest"])
def test_a_pin_to_what_is_not_there_is_refused(
    bundled: Path, monkeypatch: pytest.MonkeyPatch, pin: str
) -> None:
    monkeypatch.setenv("LLMOPS_PIN", pin)
    with pytest.raises(Refused):
        load_prompt("support@production", source=bundled)


def test_a_quarantined_version_warns_and_runs(root: Path, tmp_path: Path) -> None:
    quarantine(root, 2)
    path = tmp_path / "after.json"
    path.write_bytes(bundle(Registry(root), "production").to_bytes())
    for source in (root, path):
        with pytest.warns(QuarantinedVersion, match="support@v2 is quarantined") as caught:
            prompt = load_prompt("support@production", source=source)
        assert prompt.version == 2
        assert [each.filename for each in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_prompt("support@production~1", source=source).version == 1
