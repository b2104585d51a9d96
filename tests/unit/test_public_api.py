"""What `import llmops_cli` offers to notebooks and tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llmops_cli
from llmops_cli.core.report import Report


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, llmops_cli; print([m for m in sys.modules if m.startswith('llmops_cli.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", llmops_cli.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(llmops_cli, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'judge'"):
        llmops_cli.judge  # noqa: B018 - reading it is the test


def test_a_notebook_evaluates_a_project(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "evalsets").mkdir()
    (tmp_path / "llmops.yaml").write_text("models: {m: {provider: embedded}}\n")
    (tmp_path / "prompts" / "echo.prompt.yml").write_text(
        "model: m\ninputs: {q: {type: string}}\n"
        "messages:\n  - {role: user, content: 'ping'}\n  - {role: assistant, content: 'pong'}\n"
        "  - {role: user, content: '{{ q }}'}\n"
    )
    (tmp_path / "evalsets" / "echo.yaml").write_text(
        "scorers: [{exact: pong}]\ncases:\n  - {id: one, inputs: {q: ping}}\n"
    )
    done = llmops_cli.evaluate(tmp_path)
    assert isinstance(done.report, Report)
    assert done.report.prompts[0].evalsets[0].metrics[0].candidate == 1.0
    assert sorted(llmops_cli.load_project(tmp_path).prompts) == ["echo"]
