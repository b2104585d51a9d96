"""A real vLLM that runs already: gated, promoted on, judged by, asked for an adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from llmops_cli.providers.vllm.model import KNOWN
from tests.projects import Project, Result
from tests.vllm.conftest import Local

pytestmark = pytest.mark.needs("vllm")

CASES = 60
PROMPT = {
    "model": "local",
    "inputs": {"question": {"type": "string"}},
    "messages": [{"role": "user", "content": "{{ question }}"}],
}


@pytest.fixture
def project(project: Project, served: str, local: Local) -> Project:
    """A prompt on the model, with a judge and an adapter beside it."""
    model = {"provider": "vllm", "model": "models/model", "base_url": served}
    project.settings = {
        "gate": {"margin": 0.1},
        "models": {
            "local": {**model, "served_name": "tiny", "modelParameters": {"temperature": 0}},
            "tuned": {**model, "served_name": "tuned", "modelParameters": {"temperature": 0}},
            "judge": {**model, "served_name": "tiny", "modelParameters": judging(local.models)},
        },
    }
    project.llmops_yaml()
    prompt(project, "Say: {{ question }}")
    project.cases(
        {"id": f"c{at:02}", "inputs": {"question": f"say {at}"}, "contexts": ["It was said."]}
        for at in range(CASES)
    )
    project.evalset(scorers=[{"length": {"min": 4}}])
    return project


def prompt(project: Project, user: str, *, tokens: int = 12) -> None:
    messages = [{"role": "user", "content": user}]
    document = {**PROMPT, "messages": messages, "modelParameters": {"maxTokens": tokens}}
    project.write("prompts/support.prompt.yml", json.dumps(document))


BIAS = {'"': 9, "{": 9, "}": 9, "]": 7, "1": 8, "-": -100, ",": -2}
"""Short texts, lists of one, the number 1."""


def judging(models: Path) -> dict[str, Any]:
    """Parameters with which a model that says nothing comes to the end of its JSON."""
    words = json.loads((models / "model" / "tokenizer.json").read_text(encoding="utf-8"))
    bias = {str(words["model"]["vocab"][sign]): value for sign, value in BIAS.items()}
    return {"temperature": 1, "seed": 2, "maxTokens": 700, "logitBias": bias}


def test_a_real_local_model_is_gated_released_measured_and_promoted(project: Project) -> None:
    project.promote_v1()
    prompt(project, "Repeat: {{ question }}")
    better = project.eval()
    assert (better.code, better.decision) == (0, "PASS"), better.text
    assert better.report["calls"] == CASES
    for arguments in (
        ["release", "support"],
        ["measure", "support@v2"],
        ["promote", "support@v2", "-m", "as good"],
        ["verify", "production"],
    ):
        result = project.run(*arguments)
        assert result.code == 0, f"{arguments}: {result.text}"
    prompt(project, "Repeat: {{ question }}", tokens=1)
    worse = project.eval()
    assert (worse.code, worse.decision) == (1, "FAIL"), worse.text


def test_an_adapter_of_a_server_that_runs_is_compared_with_its_model(project: Project) -> None:
    result = project.eval("--case", "c0*")
    tuned = project.eval("--case", "c0*", "--model", "tuned")
    assert [item.report["calls"] for item in (result, tuned)] == [10, 10]
    assert tuned.prompt["candidate"] != result.prompt["candidate"]


def test_a_real_judge_with_a_schema_gives_a_verdict_on_every_answer(project: Project) -> None:
    project.evalset(scorers=[{"rubric": {"name": "tone", "criteria": "Is the answer polite?"}}])
    result = project.eval("--case", "c00", "--case", "c01", "--case", "c02", "--case", "c03")
    assert result.report["spent"]["judge"]["calls"] == 4
    assert scored(result, "tone") == 4


@pytest.mark.needs("ragas")
def test_faithfulness_is_measured_by_ragas_on_a_real_judge(project: Project) -> None:
    project.evalset(scorers=["faithfulness"])
    chosen = [option for case in ("c00", "c01", "c02", "c03") for option in ("--case", case)]
    # ragas starts a thread that never ends: a process of its own
    result = project.run_alone("eval", "--json", *chosen)
    assert scored(result, "faithfulness") == 4
    assert result.report["spent"]["judge"]["calls"] > 4  # statements of each, and verdicts on them


def scored(result: Result, label: str) -> int:
    """The answers that a scorer gave a score to."""
    (metric,) = (metric for metric in result.evalset["metrics"] if metric["label"] == label)
    return int(metric["candidate_n"])


def test_every_parameter_that_is_let_through_is_one_that_a_real_server_knows(served: str) -> None:
    with urlopen(served.replace("/v1", "/openapi.json")) as answer:  # noqa: S310 - loopback
        schemas = json.load(answer)["components"]["schemas"]
    assert KNOWN - set(schemas["ChatCompletionRequest"]["properties"]) == set()
