"""The sample prompts and recorded answers of the README: accuracy follows the prompt."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_cli.core.ports import PluginContext, Provider
from llmops_cli.core.prompt import Evalset, Message, Prompt
from llmops_cli.core.result import Completion, Score
from llmops_cli.gate.score_test import sample, z
from llmops_cli.plugins.catalog import catalog, open_scorer
from llmops_cli.project.project import Project, load_project
from llmops_cli.project.templates import Options, Templates
from llmops_cli.providers.embedded import Embedded
from llmops_cli.providers.replay import Recorded

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "examples" / "gsm8k-recorded"

BREAK = ["sed", "-i.bak", "/# --- second half/,/# --- end of/d", "prompts/intent.prompt.yml"]
"""How the README has people delete half of the examples."""

SURE = 1.645
"""The normal quantile behind α = β = 0.05."""

SYSTEMS = {
    "6b_finetuning": 89,
    "6b_verification": 156,
    "175b_finetuning": 146,
    "175b_verification": 224,
}
"""Right answers of 400 by the data's own `is_correct`: 22.25, 39, 36.5 and 56 %."""


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(ROOT, catalog())


@pytest.fixture(scope="module")
def gsm8k() -> Project:
    return load_project(RECORDED, catalog())


def passed(
    project: Project, prompt: Prompt, evalset: Evalset, model: Provider | None = None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """1 for each case that passes every gating scorer, shape (cases,)."""
    return asyncio.run(_passed(project, prompt, evalset, model or Embedded()))


async def _passed(
    project: Project, prompt: Prompt, evalset: Evalset, model: Provider
) -> np.ndarray[Any, np.dtype[np.float64]]:
    target, templates = project.target(prompt), Templates(prompt)
    right = np.ones(len(evalset.cases))
    answers = list[Completion]()
    for case in evalset.cases:
        request = target.request(templates.messages(case))
        if isinstance(model, Recorded):
            request = replace(request, identity=model.identity(case.id, request))
        answer = await model.complete(request)
        assert isinstance(answer, Completion)
        answers.append(answer)
    for spec in evalset.scorers:
        if spec.advisory:
            continue
        kind = project.catalog.scorers[spec.kind]
        options = Options(spec, kind)
        async with open_scorer(kind, PluginContext(root=project.root, environ={})) as scorer:
            for at, (case, answer) in enumerate(zip(evalset.cases, answers, strict=True)):
                score = scorer(case, answer, **options.render(case))
                assert isinstance(score, Score)
                low = spec.minimum is None or score.value >= spec.minimum
                high = spec.maximum is None or score.value <= spec.maximum
                right[at] *= low and high
    return right


def examples(prompt: Prompt) -> list[tuple[Message, Message]]:
    """The few-shot turns, which stand between the system turn and the question."""
    turns = prompt.messages[1:-1]
    return list(zip(turns[::2], turns[1::2], strict=True))


def with_examples(prompt: Prompt, shots: list[tuple[Message, Message]]) -> Prompt:
    turns = (turn for shot in shots for turn in shot)
    return replace(prompt, messages=(prompt.messages[0], *turns, prompt.messages[-1]))


def with_first(prompt: Prompt, count: int) -> Prompt:
    """The prompt with only the first `count` examples of each intent."""
    seen = Counter[str]()
    remaining = []
    for passage, answered in examples(prompt):
        seen[str(answered.content)] += 1
        if seen[str(answered.content)] <= count:
            remaining.append((passage, answered))
    return with_examples(prompt, remaining)


def test_the_sample_project_is_as_large_as_its_readme_says(project: Project) -> None:
    intent, qa = project.load(["intent", "qa"])
    labels = Counter(case.expected for case in intent.cases)
    assert (len(intent.cases), len(labels), set(labels.values())) == (400, 20, {20})
    assert Counter(str(example.content) for _, example in examples(project.prompts["intent"])) == {
        str(label): 10 for label in labels
    }
    assert len(qa.cases) == 300


def test_no_example_in_the_prompt_is_a_case(project: Project) -> None:
    passage = {
        str(example.content).casefold() for example, _ in examples(project.prompts["intent"])
    }
    cases = {str(case.inputs["message"]).casefold() for case in project.evalset("intent").cases}
    assert passage & cases == set()


def test_more_examples_make_the_intent_prompt_better(project: Project) -> None:
    prompt, evalset = project.prompts["intent"], project.evalset("intent")
    accuracies = [passed(project, with_first(prompt, n), evalset).mean() for n in (1, 5, 10)]
    assert accuracies == pytest.approx([0.3425, 0.5975, 0.68])


def test_wrong_examples_make_the_intent_prompt_worse(project: Project) -> None:
    prompt, evalset = project.prompts["intent"], project.evalset("intent")
    shots = examples(prompt)
    answers = [answered for _, answered in shots]
    moved = [*answers[50:], *answers[:50]]
    half_wrong = [
        (passage, wrong if at % 2 else right)
        for at, ((passage, right), wrong) in enumerate(zip(shots, moved, strict=True))
    ]
    all_wrong = [(passage, wrong) for (passage, _), wrong in zip(shots, moved, strict=True)]
    assert passed(project, with_examples(prompt, half_wrong), evalset).mean() < 0.45
    assert passed(project, with_examples(prompt, all_wrong), evalset).mean() < 0.05


def test_the_working_intent_prompt_passes_against_six_examples_each(project: Project) -> None:
    prompt, evalset = project.prompts["intent"], project.evalset("intent")
    gained = passed(project, prompt, evalset) - passed(project, with_first(prompt, 6), evalset)
    assert z(sample(gained), -0.05) > SURE


def test_the_critical_cases_of_the_intent_prompt_pass(project: Project) -> None:
    prompt, evalset = project.prompts["intent"], project.evalset("intent")
    critical = [case.critical for case in evalset.cases]
    for shots in (6, 10):
        assert passed(project, with_first(prompt, shots), evalset)[critical].tolist() == [1] * 6


def test_deleting_half_of_the_examples_as_the_readme_says_is_a_regression(
    project: Project, tmp_path: Path
) -> None:
    for name in ("llmops.yaml", "prompts", "evalsets"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    subprocess.run(BREAK, cwd=tmp_path, check=True)
    broken = load_project(tmp_path, catalog()).prompts["intent"]
    evalset = project.evalset("intent")
    baseline = with_first(project.prompts["intent"], 6)
    assert len(examples(broken)) == 100
    lost = passed(project, broken, evalset) - passed(project, baseline, evalset)
    assert z(sample(lost), 0.0) < -SURE


def test_a_chatty_system_message_makes_the_question_answerer_worse(project: Project) -> None:
    prompt, evalset = project.prompts["qa"], project.evalset("qa")
    system, question = prompt.messages
    chatty = Message(
        role="system",
        content="You are a helpful assistant who answers the questions of readers.\n"
        "Which passage answers the question that the reader was asked?\n"
        f"The answer is in one of the passages.\n{system.content}",
    )
    better = passed(project, prompt, evalset)
    worse = passed(project, replace(prompt, messages=(chatty, question)), evalset)
    assert 0.6 < worse.mean() < better.mean() < 0.9
    assert z(sample(better - worse), -0.05) > SURE


@pytest.mark.parametrize(("system", "right"), SYSTEMS.items())
def test_the_number_scorer_agrees_with_the_recorded_judgement_of_every_answer(
    gsm8k: Project, system: str, right: int
) -> None:
    evalset = gsm8k.evalset("gsm8k")
    with Recorded(gsm8k.models[system], gsm8k.root) as model:
        scored = passed(gsm8k, gsm8k.prompts[system], evalset, model)
    judged = is_correct(system)
    assert scored.tolist() == [judged[case.id] for case in evalset.cases]
    assert scored.sum() == right


def test_the_recorded_regression_is_blocked_and_its_reverse_passes(gsm8k: Project) -> None:
    better, worse = is_correct("175b_verification"), is_correct("175b_finetuning")
    gain = np.array([float(better[case]) - float(worse[case]) for case in better])
    assert z(sample(-gain), 0.0) < -SURE
    assert z(sample(gain), -0.05) > SURE


def is_correct(system: str) -> Mapping[str, bool]:
    lines = (RECORDED / "recorded" / "solutions-400.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in lines.splitlines()]
    return {record["id"]: record[system]["is_correct"] for record in records}
