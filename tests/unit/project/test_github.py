"""Files made for GitHub Models load unchanged, and none of their tests is lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.prompt import Evalset
from llmops_cli.plugins.catalog import load
from llmops_cli.plugins.scorers import SCORERS
from llmops_cli.project.templates import Options, Templates
from tests.unit.project.conftest import PROMPT, Written
from tests.unit.scorers.answers import reply, value

DIRECT = PROMPT.replace("model: embedded", "model: embedded/embedded")
"""The fixture's prompt, with a model that needs no alias."""


@pytest.fixture
def github(project: Written, repo_root: Path) -> Written:
    project.write("llmops.yaml", "models:\n  judge: {provider: openai, model: judge}\n")
    for path in (repo_root / "tests" / "data" / "github_models").glob("*.prompt.yml"):
        project.write(f"prompts/{path.name}", path.read_bytes())
    project.write("prompts/support.prompt.yml", DIRECT)
    return project


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
    assert [
        (spec.label, spec.kind, spec.options.get("ignore_case", False)) for spec in headline.scorers
    ] == [
        ("Starts with 'Headline -'", "starts_with", True),
        ("ends without a full stop", "ends_with", True),
        ("mentions", "contains", True),
        ("exactly", "exact", False),
        ("close to what was expected", "choice", False),
    ]
    assert not any(spec.advisory for spec in headline.scorers)
    assert headline.scorers[-1].minimum == 0.25  # above one star of five


def test_a_structured_prompt_without_tests_is_a_prompt_only(github: Written) -> None:
    loaded = github.load()
    schema = loaded.prompts["structured"].json_schema
    assert schema is not None
    assert (schema["name"], schema["strict"]) == ("animal", True)
    assert loaded.evalsets_of("structured") == ()


def test_every_judged_evaluator_becomes_a_choice(github: Written) -> None:
    assert github.problems() == []
    tone, *stars = github.evalset("judged").scorers
    assert tone.options["model"] == "openai/gpt-4o"
    assert tone.options["choices"] == {"polite": 1.0, "rude": 0.0}
    criteria = str(tone.options["criteria"])
    assert criteria.startswith("You judge tone.")
    assert "completion" not in criteria
    labels = [spec.label for spec in stars]
    assert labels == ["on topic", "in order", "well written", "true to the source"]
    assert {(each.kind, each.minimum) for each in stars} == {("choice", 0.25)}
    assert stars[-1].options["expected"] is True  # which is what GitHub passed as the context


def test_evaluators_that_name_no_judge_ask_for_one(github: Written) -> None:
    github.write("llmops.yaml", "models: {}\n")
    assert {each.partition(": ")[0] for each in github.problems()} == {
        "prompts/headline.prompt.yml:40",
        *(f"prompts/judged.prompt.yml:{line}" for line in (23, 25, 27, 29)),
    }
    assert all("no model called 'judge'" in each for each in github.problems())


def test_a_file_in_other_spellings_loads_unchanged(github: Written) -> None:
    assert github.load().prompts["spellings"].parameters == {"max_tokens": 20, "top_p": 0.5}
    evalset = github.evalset("spellings")
    assert [spec.label for spec in evalset.scorers] == ["number", "number (2)", "json", "grade"]
    assert len({case.id for case in evalset.cases}) == 2


PROMPT_A = "model: openai/x\nmessages: [{role: user, content: '{{input}}'}]\n"
BASE = PROMPT_A + "testData: [{input: a, expected: b}]\n"


@pytest.mark.parametrize(
    ("evaluator", "answered"),
    [
        ("{name: a, uses: github/similarty}", "(did you mean 'github/similarity'?)"),
        ("{name: a, uses: mine}", "unknown evaluator 'mine'"),
        ("{name: a}", "needs exactly one of string, llm and uses"),
        ("{name: a, string: {}}", "the evaluator 'a' asks for nothing"),
        ("{name: a, string: {startWith: x}}", "(did you mean 'startsWith'?)"),
        ("{name: a, string: {equals: x}, mine: 1}", "unknown key 'mine'"),
        ("{name: a, string: {isJSON: false}}", "'evaluators.0.string.isJSON'"),
        (
            "{name: a, llm: {modelId: x, prompt: p, choices: [{choice: no, score: 0}]}}",
            "no choice of the evaluator 'a' has a score above 0",
        ),
    ],
)
def test_a_wrong_evaluator_is_named_at_its_line(
    project: Written, evaluator: str, answered: str
) -> None:
    (problem,) = project.wrong("prompts/a.prompt.yml", BASE + f"evaluators:\n  - {evaluator}\n")
    assert problem.startswith("prompts/a.prompt.yml:5: ")
    assert answered in problem


@pytest.mark.parametrize(
    "half", ["testData: [{input: a}]", "evaluators: [{name: a, string: {contains: x}}]"]
)
def test_half_of_a_test_is_a_prompt_that_nothing_gates(project: Written, half: str) -> None:
    assert project.wrong("prompts/a.prompt.yml", f"{PROMPT_A}{half}\n") == []
    assert project.load().evalsets_of("a") == ()


def own(project: Written, evaluators: str, rows: str = "[{input: a, expected: b}]") -> Evalset:
    written = f"{PROMPT_A}testData: {rows}\nevaluators: {evaluators}\n"
    assert project.wrong("prompts/a.prompt.yml", written) == []
    return project.evalset("a")


@pytest.mark.parametrize(
    ("condition", "text", "answer", "passes"),
    [
        ("equals", "hi", "hi", 1),
        ("equals", "hi", " hi\n", 1),  # `gh models eval` trims the answer first
        ("equals", "hi", "Hi", 0),
        ("startsWith", "hi", "  Hi there", 1),
        ("endsWith", "there", "Hi There\n", 1),
        ("contains", "42", "It is 42.", 1),
        ("contains", "3.10", "Python 3.13", 0),
        ("contains", "true", "It is TRUE.", 1),
    ],
)
def test_a_string_evaluator_decides_as_on_github(
    project: Written, condition: str, text: str, answer: str, passes: int
) -> None:
    evalset = own(project, f"[{{name: n, string: {{{condition}: {text}}}}}]")
    (spec,) = evalset.scorers
    scorer: Any = load(SCORERS[spec.kind].target)
    assert value(scorer(evalset.cases[0], reply(answer), **spec.options)) == passes


@pytest.mark.parametrize("column", ["expected", "urgent"])
def test_a_boolean_column_is_written_as_github_wrote_it(project: Written, column: str) -> None:
    evaluators = f"[{{name: n, string: {{equals: 'is {{{{{column}}}}}'}}}}]"
    evalset = own(project, evaluators, f"[{{input: hi, {column}: true}}]")
    (spec,) = evalset.scorers
    assert Options(spec, SCORERS[spec.kind]).render(evalset.cases[0])["value"] == "is true"


def test_json_may_be_required(project: Written) -> None:
    (spec,) = own(project, "[{string: {isJSON: true}}]").scorers
    assert (spec.kind, spec.label, spec.options) == ("json", "json", {"fence": False})


def test_evaluators_of_one_name_and_several_conditions_are_numbered(project: Written) -> None:
    evaluators = "[{name: n, string: {contains: x, endsWith: y}}, {name: n, string: {contains: a}}]"
    labels = [(spec.kind, spec.label) for spec in own(project, evaluators).scorers]
    assert labels == [("contains", "n"), ("ends_with", "n (2)"), ("contains", "n (3)")]


CHOICES = {
    "[{choice: 0, score: -1}, {choice: 1, score: 2}, {choice: 2, score: 5}]": (
        {"0": 0.0, "1": 0.4, "2": 1.0},
        0.4,
    ),
    "[{choice: good, score: 1}]": ({"good": 1.0, "none of these": 0.0}, 1.0),
    "[{choice: Good, score: 1}, {choice: good, score: 0}, {choice: bad, score: 0}]": (
        {"Good": 1.0, "bad": 0.0},
        1.0,
    ),
}


@pytest.mark.parametrize(
    ("written", "read"),
    CHOICES.items(),
    ids=["scores of any size are 0 to 1", "one choice", "choices that a judge can't tell apart"],
)
def test_choices_are_what_github_made_of_them(
    project: Written, written: str, read: tuple[dict[str, float], float]
) -> None:
    llm = f"{{modelId: openai/x, prompt: 'Good?', choices: {written}}}"
    (spec,) = own(project, f"[{{name: n, llm: {llm}}}]").scorers
    assert (spec.options["choices"], spec.minimum) == read


def test_an_evaluator_finds_the_columns_that_no_message_uses(project: Written) -> None:
    evalset = own(
        project,
        "[{name: n, string: {contains: '{{city}}'}}, {name: m, llm: {model: openai/x, "
        "prompt: 'Is {{ completion }} in {{city}}, {{expected}}?', "
        "choices: [{choice: yes, score: 1}, {choice: no, score: 0}]}}]",
        "[{input: a, expected: b, city: Oslo}]",
    )
    first, second = (Options(spec).render(evalset.cases[0]) for spec in evalset.scorers)
    assert first["value"] == "Oslo"
    assert second["criteria"] == "Is (the answer to sort, below) in Oslo, b?"


def test_a_row_that_is_here_twice_is_two_cases(project: Written) -> None:
    evaluators = "[{name: n, string: {contains: x}}]"
    rows = "[{input: a, expected: b}, {input: a, expected: c}, {input: a, id: third}]"
    ids = [case.id for case in own(project, evaluators, rows).cases]
    assert ids[0].startswith("a-")
    assert ids[1:] == ["a-row-2", "third"]


@pytest.mark.parametrize("model", ["", "model: ''\n", "model:\n"])
def test_a_prompt_that_names_no_model_runs_on_the_default_one(project: Written, model: str) -> None:
    models = "models: {default: {provider: embedded}, embedded: {provider: embedded}}\n"
    project.write("llmops.yaml", models)
    prompt = project.prompt(f"{model}messages: [{{role: user, content: hi}}]\n")
    assert project.load().target(prompt).model.name == "default"


def test_an_evalset_of_the_same_name_is_refused(github: Written) -> None:
    problems = github.wrong("evalsets/headline.yaml", "cases: support.jsonl\nscorers: [json]\n")
    assert (
        "evalsets/headline.yaml: a second evalset named 'headline'"
        " (the first is prompts/headline.prompt.yml)"
    ) in problems


def test_an_input_that_a_row_lacks_is_an_error(project: Written) -> None:
    written = PROMPT_A + "testData: [{inptu: a}]\nevaluators: [{string: {contains: x}}]\n"
    (problem,) = project.wrong("prompts/a.prompt.yml", written)
    assert problem == "prompts/a.prompt.yml:3: the input 'input' is missing"
