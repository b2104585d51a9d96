"""Files made for GitHub Models load unchanged, and none of their tests is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_cli.core.case import Evalset
from llmops_cli.project.templates import Templates
from tests.unit.project.conftest import Written


@pytest.fixture
def github(project: Written, repo_root: Path) -> Written:
    project.write("llmops.yaml", "models:\n  judge: {provider: openai, model: judge}\n")
    for path in (repo_root / "tests" / "data" / "github_models").glob("*.prompt.yml"):
        project.write(f"prompts/{path.name}", path.read_bytes())
    project.write("prompts/support.prompt.yml", project_prompt(project))
    return project


def project_prompt(project: Written) -> str:
    """The fixture's prompt with a model that needs no alias."""
    text = (project.root / "prompts/support.prompt.yml").read_text()
    return text.replace("model: embedded", "model: embedded/embedded")


@pytest.fixture
def headline(github: Written) -> Evalset:
    return github.evalset("headline")


def test_the_prompt_is_named_by_its_path_and_its_names_are_its_inputs(github: Written) -> None:
    prompt = github.load().prompts["headline"]
    assert prompt.model == "openai/gpt-4o-mini"
    assert list(prompt.inputs) == ["style", "input"]
    assert prompt.parameters == {"temperature": 0.5, "max_tokens": 60, "top_p": 0.9}


def test_the_file_is_its_own_evalset(github: Written, headline: Evalset) -> None:
    assert github.load().evalsets_of("headline") == ("headline",)
    assert headline.path == "prompts/headline.prompt.yml"
    assert [sorted(case.inputs) for case in headline.cases] == [["input", "style"]] * 2
    assert headline.cases[1].expected == "Headline - Bridge open"
    assert headline.cases[1].metadata == {"urgent": True}
    assert [str(case.where) for case in headline.cases] == [
        "prompts/headline.prompt.yml:18",
        "prompts/headline.prompt.yml:23",
    ]


def test_its_messages_render(github: Written, headline: Evalset) -> None:
    templates = Templates(github.load().prompts["headline"])
    assert templates.messages(headline.cases[1])[1].content == (
        "Write a headline for the paragraph, in the style of a telegram:\n"
        "<text>\nThe bridge is open again.\n</text>\n"
    )


def test_string_evaluators_become_scorers_with_the_rules_of_github(headline: Evalset) -> None:
    kinds = [(each.kind, each.options.get("ignore_case", False)) for each in headline.scorers]
    assert kinds == [
        ("starts_with", True),
        ("ends_with", True),
        ("contains", True),
        ("exact", False),
        ("choice", False),
    ]
    assert [each.label for each in headline.scorers] == [
        "Starts with 'Headline -'",
        "ends without a full stop",
        "mentions",
        "exactly",
        "close to what was expected",
    ]
    assert not any(each.advisory for each in headline.scorers)


def test_similarity_passes_above_one_star_of_five(headline: Evalset) -> None:
    assert headline.scorers[-1].minimum == 0.25


def test_a_structured_prompt_without_tests_is_a_prompt_only(github: Written) -> None:
    loaded = github.load()
    schema = loaded.prompts["structured"].json_schema
    assert schema is not None
    assert schema["required"] == ["name", "legs"]
    assert loaded.evalsets_of("structured") == ()


def test_every_judged_evaluator_becomes_a_choice(github: Written) -> None:
    assert github.problems() == []
    tone, *stars = github.evalset("judged").scorers
    assert tone.options["model"] == "openai/gpt-4o"
    assert tone.options["choices"] == {"polite": 1.0, "rude": 0.0}
    criteria = str(tone.options["criteria"])
    assert criteria.startswith("You judge tone.")
    assert "completion" not in criteria
    assert [each.label for each in stars] == [
        "on topic",
        "in order",
        "well written",
        "true to the source",
    ]
    assert {(each.kind, each.minimum) for each in stars} == {("choice", 0.25)}
    assert stars[-1].options["expected"] is True


def test_evaluators_that_name_no_judge_ask_for_one(github: Written) -> None:
    github.write("llmops.yaml", "models: {}\n")
    assert {each.partition(": ")[0] for each in github.problems()} == {
        "prompts/headline.prompt.yml:40",
        *(f"prompts/judged.prompt.yml:{line}" for line in (23, 25, 27, 29)),
    }
    assert all("no model called 'judge'" in each for each in github.problems())


BASE = (
    "model: openai/x\nmessages: [{role: user, content: '{{input}}'}]\n"
    "testData: [{input: a, expected: b}]\n"
)


@pytest.mark.parametrize(
    ("evaluator", "said"),
    [
        ("{name: a, uses: github/similarty}", "(did you mean 'github/similarity'?)"),
        ("{name: a, uses: mine}", "unknown evaluator 'mine'"),
        ("{name: a}", "needs exactly one of string, llm and uses"),
        ("{name: a, string: {}}", "the evaluator 'a' asks for nothing"),
        ("{name: a, string: {startWith: x}}", "(did you mean 'startsWith'?)"),
        ("{string: {equals: x}}", "'evaluators.0.name' is missing"),
    ],
)
def test_a_wrong_evaluator_is_named_at_its_line(
    project: Written, evaluator: str, said: str
) -> None:
    project.write("prompts/a.prompt.yml", BASE + f"evaluators:\n  - {evaluator}\n")
    (problem,) = project.problems()
    assert problem.startswith("prompts/a.prompt.yml:5: ")
    assert said in problem


def test_an_evaluator_with_two_conditions_checks_both(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        BASE + "evaluators: [{name: both, string: {contains: x, endsWith: y}}]\n",
    )
    labels = [(each.kind, each.label) for each in project.evalset("a").scorers]
    assert labels == [("contains", "both"), ("ends_with", "both (ends_with)")]


def test_tests_that_assert_nothing_and_evaluators_without_tests_are_errors(
    project: Written,
) -> None:
    project.write("prompts/a.prompt.yml", BASE)
    project.write(
        "prompts/b.prompt.yml",
        "model: openai/x\nmessages: [{role: user, content: hi}]\n"
        "evaluators: [{name: a, string: {contains: x}}]\n",
    )
    assert project.problems() == [
        (
            "prompts/a.prompt.yml:3: testData without evaluators asserts nothing"
            " (add `evaluators`, or an evalset with scorers)"
        ),
        "prompts/b.prompt.yml:1: the evalset 'b' has no cases",
    ]


def test_an_input_that_a_row_lacks_is_an_error(project: Written) -> None:
    project.write(
        "prompts/a.prompt.yml",
        BASE.replace("input: a", "inptu: a") + "evaluators: [{name: a, string: {contains: x}}]\n",
    )
    assert project.problems() == ["prompts/a.prompt.yml:3: the input 'input' is missing"]


def test_an_evalset_of_the_same_name_is_refused(github: Written) -> None:
    github.write("evalsets/headline.yaml", "cases: support.jsonl\nscorers: [json]\n")
    problems = github.problems()
    assert (
        "evalsets/headline.yaml: a second evalset named 'headline'"
        " (the first is prompts/headline.prompt.yml)"
    ) in problems
