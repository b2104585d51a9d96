"""Which judge a scorer asks, and what is refused before it is asked."""

from __future__ import annotations

import pytest

from llmops_cli.project.models import SHIPPED, shipped
from tests.unit.project.conftest import Written

MODELS = "models:\n  embedded: {provider: embedded}\n  fair: {provider: openai, model: fair-1}\n"
OWN = "model: fair\nmessages: [{role: user, content: '{{ criteria }} {{ answer | tojson }}'}]\n"


@pytest.fixture
def judged(project: Written) -> Written:
    project.write("llmops.yaml", MODELS)
    project.write("prompts/own.prompt.yml", OWN)
    return project


PATH = "evalsets/support.yaml"


def asking(scorer: str) -> str:
    return f"prompt: support\ncases: support.jsonl\nscorers: [{scorer}]\n"


def judge_of(project: Written, scorer: str) -> tuple[str, str]:
    """The judge's digest and the name of its model."""
    project.write(PATH, asking(scorer))
    loaded = project.load()
    (spec,) = loaded.evalset("support").scorers
    judge = loaded.judge_of(loaded.catalog.scorers[spec.kind], spec.options)
    return judge.digest, judge.target.model.name


def test_a_judge_is_named_by_its_prompt_and_its_model_not_by_their_names(judged: Written) -> None:
    named = judge_of(judged, "{rubric: {criteria: polite, model: fair}}")
    direct = judge_of(judged, "{rubric: {criteria: polite, model: openai/fair-1}}")
    other = judge_of(judged, "{rubric: {criteria: polite, model: openai/fair-2}}")
    own = judge_of(judged, "{rubric: {criteria: polite, prompt: own}}")
    assert named[0] == direct[0]
    assert len({named[0], other[0], own[0]}) == 3
    assert own[1] == "fair"


def test_a_model_that_cannot_hold_a_schema_is_another_judge(judged: Written) -> None:
    held = judge_of(judged, "{rubric: {criteria: polite, prompt: own}}")
    judged.write("prompts/own.prompt.yml", OWN + "responseFormat: text\n")
    free = judge_of(judged, "{rubric: {criteria: polite, prompt: own}}")
    assert held[0] != free[0]


@pytest.mark.parametrize(
    ("scorer", "said"),
    [
        ("{rubric: polite}", "no model called 'judge'"),
        ("{rubric: {criteria: polite, model: fiar}}", "did you mean 'fair'?"),
        ("{rubric: {criteria: polite, prompt: onw}}", "did you mean 'own'?"),
        ("{rubric: {criteria: polite, model: fair, scale: [5, 1]}}", "lowest and the highest"),
        ("{choice: {criteria: a, model: fair, choices: {yes: 1}}}", "at least two classes"),
        ("{choice: {criteria: a, model: fair, choices: {x: 1, y: 2}}}", "not between 0 and 1"),
    ],
)
def test_what_no_judge_can_answer_is_named_at_its_line(
    judged: Written, scorer: str, said: str
) -> None:
    (problem,) = judged.wrong(PATH, asking(scorer))
    assert problem.startswith(f"{PATH}:3: ")
    assert said in problem


def test_a_judges_prompt_may_ask_only_for_what_the_scorer_gives(judged: Written) -> None:
    judged.write(
        "prompts/own.prompt.yml",
        "model: fair\ninputs: {answer: {}, mood: {}}\n"
        "messages: [{role: user, content: '{{ answer }} {{ mood }}'}]\n",
    )
    (problem,) = judged.wrong(PATH, asking("{rubric: {criteria: polite, prompt: own}}"))
    assert "needs 'mood', and rubric gives none" in problem


def test_answers_are_set_side_by_side_on_the_whole_evalset_only(judged: Written) -> None:
    scorers = '"scorers": [{"pairwise": {"model": "fair"}}]'
    row = f'{{"id": "a", "inputs": {{"question": "x"}}, "expected": "y", {scorers}}}\n'
    problems = judged.wrong("evalsets/support.jsonl", row)
    assert any("give it to the evalset" in problem for problem in problems)


@pytest.mark.parametrize("name", [each.name.partition(".")[0] for each in SHIPPED.glob("*.yml")])
def test_the_answer_reaches_a_shipped_judge_in_the_users_turn_and_nowhere_else(name: str) -> None:
    system, user = shipped(name).messages
    quoted = ("answer", "first", "second", "asked", "contexts", "expected", "each")
    assert not any(f"{{{{ {each}" in str(system.content) for each in quoted if each != "each")
    for part in ("asked", "expected", "answer" if name != "pairwise" else "first"):
        assert f"{{{{ {part} | tojson }}}}" in str(user.content)
