"""A new project evaluates at once, and editors find its schemas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_cli.commands.check import check_all
from llmops_cli.commands.evaluate import evaluate
from llmops_cli.commands.init import all_schemas, start_project, write_schemas
from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Decision


def test_a_new_project_is_valid_and_evaluates(tmp_path: Path) -> None:
    written = start_project(tmp_path, "embedded")
    assert all((tmp_path / path).is_file() for path in written)
    assert (check_all(tmp_path).prompts, check_all(tmp_path).cases) == (1, 6)
    report = evaluate(tmp_path).report
    assert report is not None
    (prompt,) = report.prompts
    assert prompt.verdict.decision is Decision.INCONCLUSIVE
    (passing, *_) = prompt.evalsets[0].metrics
    assert passing.candidate == 1.0


@pytest.mark.parametrize("model", ["openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5"])
def test_another_model_is_written(tmp_path: Path, model: str) -> None:
    start_project(tmp_path, model)
    provider, _, name = model.partition("/")
    assert f"{{provider: {provider}, model: {name}}}" in (tmp_path / "llmops.yaml").read_text()
    check_all(tmp_path)


def test_an_unknown_provider_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="unknown provider 'opnai'"):
        start_project(tmp_path, "opnai/gpt")
    assert list(tmp_path.iterdir()) == []


def test_files_that_exist_are_not_touched(tmp_path: Path) -> None:
    start_project(tmp_path, "embedded")
    before = (tmp_path / "llmops.yaml").read_bytes()
    with pytest.raises(Refused, match="exists already"):
        start_project(tmp_path, "openai/gpt-4.1-mini")
    assert (tmp_path / "llmops.yaml").read_bytes() == before


def test_every_file_names_its_schema_where_it_is(tmp_path: Path) -> None:
    start_project(tmp_path, "embedded")
    for path in ("llmops.yaml", "prompts/sentiment.prompt.yml", "evalsets/sentiment.yaml"):
        first = (tmp_path / path).read_text().splitlines()[0]
        schema = (tmp_path / path).parent / first.partition("$schema=")[2]
        assert json.loads(schema.read_text())["$schema"]


def test_schemas_are_written_again(tmp_path: Path) -> None:
    start_project(tmp_path, "embedded")
    (tmp_path / ".llmops/schemas/prompt.json").unlink()
    assert write_schemas(tmp_path) == [f".llmops/schemas/{name}.json" for name in all_schemas()]
    assert (tmp_path / ".llmops/schemas/prompt.json").is_file()
