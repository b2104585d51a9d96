"""The RAG example as somebody has it who cloned it: proven, and with a model in its reader.

That a broken retriever and a broken reader fail, each for what it is, its README shows, which
tests/architecture runs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.projects import Project
from tests.servers.faulty import FaultServer, echo

pytestmark = [pytest.mark.needs("ragas"), pytest.mark.needs("langgraph")]


@pytest.fixture
def project(tmp_path: Path, repo_root: Path) -> Project:
    source = repo_root / "examples" / "rag-application"
    ignored = shutil.ignore_patterns("store", "__pycache__")
    return Project(root=Path(shutil.copytree(source, tmp_path / "rag", ignore=ignored)))


def test_what_the_example_runs_can_be_proven(project: Project) -> None:
    assert project.run("check").code == 0
    assert project.run("verify", "production", "--strict").code == 0


@pytest.mark.slow
def test_with_a_model_in_its_reader_the_answers_are_the_models_and_the_pages_are_not(
    project: Project,
) -> None:
    cases = [json.loads(line) for line in project.read("evalsets/support.jsonl").splitlines()]
    known = {case["inputs"]["question"]: case["expected"] for case in cases}
    reader = project.read("app/reader.py").replace("= quote_sentences", "= call_model")
    project.write("app/reader.py", reader)
    with FaultServer(reply=lambda body: known[echo(body)]) as server:
        key = "sk-canary-0123456789"
        result = project.eval(env={"OPENAI_API_KEY": key, "OPENAI_BASE_URL": server.url})
    assert result.code == 0, result.text
    assert result.decision == "PASS"
    metrics = {metric["label"]: metric for metric in result.evalset["metrics"]}
    assert metrics["answer"]["candidate"] == 1.0
    assert metrics["hit_at_k"]["candidate"] == metrics["hit_at_k"]["baseline"] == 0.99
    assert server.last is not None
    assert server.last.headers["authorization"] == f"Bearer {key}"
    assert key not in result.text
