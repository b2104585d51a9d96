"""Weights are named by their bytes, and their bytes are read once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmops_cli.cli.main import run
from llmops_cli.project.models import Weights
from tests.git_project import GitProject
from tests.projects import without_rights


@pytest.fixture
def root(tmp_path: Path) -> Path:
    model = tmp_path / "models" / "tiny"
    model.mkdir(parents=True)
    (tmp_path / ".llmops" / "store").mkdir(parents=True)
    (model / "config.json").write_text("{}", encoding="utf-8")
    (model / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def weights_of(root: Path) -> Weights:
    return Weights(root, root / ".llmops" / "store")


def test_a_folder_is_named_by_the_names_and_bytes_of_its_files_wherever_it_stands(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    named = weights_of(root).digest("models/tiny")
    other = tmp_path_factory.mktemp("other")
    for name, content in (("config.json", b"{}"), ("model.safetensors", b"weights")):
        (other / name).write_bytes(content)
    assert weights_of(root).digest(str(other)) == named
    (other / ".cache").mkdir()
    (other / ".cache" / "lock").write_text("", encoding="utf-8")
    assert weights_of(root).digest(str(other)) == named
    (other / "model.safetensors").write_bytes(b"WEIGHTS")
    assert weights_of(root).digest(str(other)) != named


def test_what_is_not_there_and_an_empty_folder_have_no_name(root: Path) -> None:
    (root / "empty").mkdir()
    assert weights_of(root).digest("org/tiny") is None
    assert weights_of(root).digest("empty") is None


def test_weights_in_a_folder_that_cannot_be_read_are_refused(root: Path) -> None:
    model = "models: {m: {provider: vllm, model: models/tiny, base_url: 'http://127.0.0.1:9'}}\n"
    (root / "llmops.yaml").write_text(model, encoding="utf-8")
    (root / "models" / "tiny" / "adapter").mkdir(mode=0)
    result = GitProject(root).start("models", before=without_rights).wait()
    assert result.code == 2, result.text
    assert "models/tiny cannot be read: Permission denied" in result.text


def test_bytes_are_read_once_and_again_when_they_may_have_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_cli.project.models.SETTLED", -1.0)
    first = weights_of(root)
    named = first.digest("models/tiny")
    first.save()
    with monkeypatch.context() as without:
        without.setattr("llmops_cli.project.models.file_digest", _never)
        assert weights_of(root).digest("models/tiny") == named
    weights = root / "models/tiny/model.safetensors"
    times = (weights.stat().st_atime_ns, weights.stat().st_mtime_ns)
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=times)  # as a copying program would leave it
    assert weights_of(root).digest("models/tiny") != named


def test_weights_that_take_long_to_read_are_announced_once_and_on_standard_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("SETTLED", -1.0), ("LARGE", 5)):
        monkeypatch.setattr(f"llmops_cli.project.models.{name}", value)
    model = "models: {m: {provider: vllm, model: models/tiny, base_url: 'http://127.0.0.1:9'}}\n"
    (root / "llmops.yaml").write_text(model, encoding="utf-8")
    assert run(["-C", str(root), "models"]) == 0
    told = "reading the weights at models/tiny to name them, 0.0 GB"
    out, err = capfd.readouterr()
    assert (err.splitlines(), told in out) == ([told], False)
    assert run(["-C", str(root), "models"]) == 0
    assert capfd.readouterr().err == ""


def test_a_file_that_was_written_a_moment_ago_is_not_believed_next_time(root: Path) -> None:
    first = weights_of(root)
    first.digest("models/tiny")
    first.save()
    kept = root / ".llmops/store/weights.json"
    assert not kept.exists() or kept.read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("broken", ["", "[]", "{", '{"a": 1}'])
def test_a_broken_memory_is_no_memory(root: Path, broken: str) -> None:
    named = weights_of(root).digest("models/tiny")
    (root / ".llmops/store/weights.json").write_text(broken, encoding="utf-8")
    assert weights_of(root).digest("models/tiny") == named


def _never(*_: object) -> object:
    raise AssertionError("it was read again")
