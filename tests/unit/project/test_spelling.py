"""A number that is used as text is spelled as its file spells it, whatever the file's format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmops_cli.core.prompt import Case, Target
from llmops_cli.plugins.catalog import scorer_digest
from llmops_cli.plugins.scorers import SCORERS
from llmops_cli.project.evalsets import BLOCK, OPEN, in_memory
from llmops_cli.project.templates import Options, Templates
from llmops_cli.scorers.number import number as number_scorer
from llmops_cli.scorers.text import contains, exact
from tests.unit.project.conftest import CASE, Written
from tests.unit.scorers.answers import reply, value


@pytest.fixture(autouse=True)
def no_other_cases(project: Written) -> None:
    project.remove("evalsets/support.jsonl")


LITERALS = ("3.10", "10.00", "1e3", "1.0")


def inline(literal: str) -> str:
    return f"cases:\n  - inputs: {{question: a}}\n    expected: {literal}\nscorers: [exact]\n"


def expecting(project: Written, name: str, content: str | bytes, scorer: str = "exact") -> Case:
    project.write("evalsets/support.yaml", f"cases: {name}\nscorers: [{scorer}]\n")
    project.write(f"evalsets/{name}", content)
    (case,) = project.evalset().cases
    return case


@pytest.mark.parametrize("literal", [*LITERALS, "0x1F", "+5", ".5"])
def test_a_number_is_expected_as_it_is_written(project: Written, literal: str) -> None:
    project.write("evalsets/support.yaml", inline(literal))
    (case,) = project.evalset().cases
    assert value(exact(case, reply(literal))) == 1
    assert value(number_scorer(case, reply(str(float(case.expected))))) == 1  # type: ignore[arg-type]  # a number
    if literal in LITERALS:
        row = f'{{"inputs": {{"question": "a"}}, "expected": {literal}}}\n'
        assert value(exact(expecting(project, "c.jsonl", row), reply(literal))) == 1


@pytest.mark.parametrize(
    ("expected", "scorer", "passing", "failing"),
    [
        ("3.10", contains, "Python 3.10", "Python 3.13"),
        ("[3.10, 3.20]", exact, "3.20", "3.2"),
    ],
)
def test_a_shortened_number_is_no_part_of_another(
    project: Written, expected: str, scorer: Any, passing: str, failing: str
) -> None:
    project.write("evalsets/support.yaml", inline(expected))
    (case,) = project.evalset().cases
    assert [value(scorer(case, reply(text))) for text in (passing, failing)] == [1, 0]


def test_a_scorer_s_option_keeps_its_spelling(project: Written) -> None:
    project.write("evalsets/support.jsonl", CASE)
    project.write(
        "evalsets/support.yaml",
        "cases: support.jsonl\nscorers: [contains: 3.10, contains: {all: [1.0, '{{ expected }}']}]",
    )
    evalset = project.evalset()
    first, second = (Options(spec).render(evalset.cases[0]) for spec in evalset.scorers)
    assert value(contains(evalset.cases[0], reply("3.13"), **first)) == 0
    assert value(contains(evalset.cases[0], reply("1 and here"), **second)) == 0


def test_an_input_is_printed_into_the_prompt_as_it_is_written(project: Written) -> None:
    project.write(
        "prompts/support.prompt.yml",
        "model: embedded\ninputs: {price: {type: number}, tax: {default: 0.10}}\n"
        'messages: [{role: user, content: "{{ price }} {{ [price] | tojson }} {{ tax }}"}]\n',
    )
    case = expecting(project, "c.csv", "price,expected\n3.10,x\n")
    loaded = project.load()
    (message,) = Templates(loaded.prompts["support"]).messages(case)
    assert message.content == "3.10 [3.10] 0.10"


def test_a_default_that_is_spelled_differently_makes_another_target(project: Written) -> None:
    def digest(default: str) -> str:
        project.write(
            "prompts/support.prompt.yml",
            f"model: embedded\ninputs: {{question: {{default: {default}}}}}\n"
            'messages: [{role: user, content: "{{ question }}"}]\n',
        )
        loaded = project.load()
        prompt = loaded.prompts["support"]
        assert json.loads(json.dumps(prompt.inputs)) == prompt.inputs  # a snapshot loses nothing
        return Target(prompt=prompt, model=loaded.resolve_model("embedded")).digest

    assert digest("1.0") != digest("1")


def test_a_number_that_is_spelled_differently_is_scored_again(project: Written) -> None:
    facts, keys = set(), set()
    for literal in ("1", "1.0", "1.00"):
        written = inline(literal).replace("[exact]", f"[exact: {literal}]")
        project.write("evalsets/support.yaml", written)
        evalset = project.evalset()
        facts.add(evalset.cases[0].facts)
        keys.add(scorer_digest(SCORERS["exact"], evalset.scorers[0], lambda _: b""))
    assert len(facts) == len(keys) == 3


def test_inputs_that_are_spelled_differently_are_two_cases(project: Written) -> None:
    project.write(
        "prompts/support.prompt.yml",
        "model: embedded\nmessages: [{role: user, content: '{{ n }}'}]\n",
    )
    project.write(
        "evalsets/support.yaml",
        "cases: [{inputs: {n: 1.0}}, {inputs: {n: 1}}]\nscorers: [exact: x]\n",
    )
    assert len({case.id for case in project.evalset().cases}) == 2


@pytest.mark.parametrize("literal", ["7", "1.10"])
def test_a_number_may_be_an_id(project: Written, literal: str) -> None:
    row = f'{{"id": {literal}, "inputs": {{"question": "a"}}, "expected": "x"}}\n'
    assert expecting(project, "c.jsonl", row).id == literal


def test_a_large_evalset_keeps_every_spelling(project: Written) -> None:
    project.write("evalsets/support.yaml", inline("[{n: 3.10}, 1.0]").replace("exact", "json"))
    (case,) = project.evalset().cases
    packed = in_memory(case for _ in range(OPEN + BLOCK))
    again: Any = packed[3]
    assert again is not case
    assert (str(again.expected[0]["n"]), str(again.expected[1])) == ("3.10", "1.0")
