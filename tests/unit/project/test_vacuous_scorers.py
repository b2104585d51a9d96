"""Scorers that no answer can fail, or that could score none, are refused before any call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.project.conftest import Written


def evalset(*scorers: Any) -> str:
    lines = "".join(f"  - {json.dumps(scorer)}\n" for scorer in scorers)
    return f"cases: support.jsonl\nscorers:\n{lines}"


@pytest.mark.parametrize(
    ("scorer", "said"),
    [
        ({"exact": []}, "an empty list expects nothing"),
        ({"contains": ""}, "the expected text is empty"),
        ({"contains": []}, "an empty list expects nothing"),
        ({"contains": {"all": ["a", ""]}}, "the expected text is empty"),
        ({"contains": {"all": []}}, "an empty list expects nothing"),
        ({"not": {"contains": ""}}, "the expected text is empty"),
        ({"contains": {"value": "?!", "ignore_punctuation": True}}, "the expected text is empty"),
        ({"starts_with": ["yes", ""]}, "the expected text is empty"),
        ({"ends_with": ""}, "the expected text is empty"),
        ({"regex": ""}, "matches every answer"),
        ({"regex": ".*"}, "matches every answer"),
        ({"regex": "^"}, "matches every answer"),
        ({"regex": "yes|no|"}, "matches every answer"),
        ({"regex": "^(yes)?"}, "matches every answer"),
        ({"regex": r"(?!.*password)"}, "matches every answer"),
        ({"not": {"regex": r"\s*"}}, "matches every answer"),
        ({"regex": {"pattern": "^.*$", "dotall": True}}, "matches every answer"),
        ({"regex": {"pattern": ".*", "dotall": True, "whole": True}}, "matches every answer"),
        ({"json_schema": {"schema": {}}}, "the schema asks for nothing"),
        ({"json_schema": {"schema": {"$schema": 5}}}, "its $schema is no text"),
        ({"json_schema": {"schema": {"title": "An answer"}}}, "the schema asks for nothing"),
        ({"label": {"labels": []}}, "an empty list expects nothing"),
        ({"label": {"value": "c", "labels": ["a", "b"]}}, "'c' is not among the labels"),
        ({"label": "--"}, "no letter, digit or symbol"),
        ({"refusal": {"phrases": [" "]}}, "an empty phrase is in every answer"),
        ({"tool_call": ""}, "names no tool"),
        ({"similarity": []}, "an empty list expects nothing"),
        ({"label": {"labels": ["yes", "Yes"]}}, "are compared as one label"),
        ({"tool_call": {"tool": {"name": "x", "args": {}}}}, "has 'args'"),
        ({"json": None}, "'json:' has no value"),
        ({"json_schema": {"schema": {"format": "currency"}}}, "the format 'currency' is not"),
        ({"json_schema": {"schema": {"not": {}}}}, "no JSON satisfies the schema"),
        ({"latency": {"max": 0}}, "'latency' gates but can never pass"),
        ({"tokens": {"max": 0}}, "'tokens' gates but can never pass"),
    ],
)
def test_what_no_answer_can_fail_is_refused_at_its_line(
    project: Written, scorer: dict[str, Any], said: str
) -> None:
    (problem,) = project.wrong("evalsets/support.yaml", evalset("refusal", scorer))
    assert problem.startswith("evalsets/support.yaml:4: ")
    assert said in problem


@pytest.mark.parametrize(
    "scorer",
    [
        {"exact": ""},
        {"regex": "^$"},
        {"regex": "^.*$"},
        {"regex": {"pattern": ".*", "whole": True}},
        {"regex": "^(?!.*secret)"},
        {"json_schema": {"schema": {"type": "object"}}},
        {"contains": {"value": "?", "ignore_punctuation": False}},
        {"label": {"value": "A", "labels": ["a", "b"]}},
    ],
)
def test_what_an_answer_can_fail_is_not_refused(project: Written, scorer: dict[str, Any]) -> None:
    assert project.wrong("evalsets/support.yaml", evalset("refusal", scorer)) == []


@pytest.mark.parametrize(
    ("scorer", "expected", "problem"),
    [
        ("contains", "", "the expected text is empty"),
        ("contains", [], "an empty list expects nothing"),
        ("exact", {"a": 1}, "with the `expected` of this case"),
        ("number", "many", "'many' is not a number"),
        ("number", "1.000,50", "'1.000,50' is not a number"),
        ({"json": {"expected": True}}, [], None),
        ("tool_call", [], None),
        ("tool_call", {"name": "pay", "arguments": "{}"}, None),
        ("tool_call", {"name": "pay", "args": {}}, "the expected call of 'pay' has 'args'"),
        ("tool_call", {"name": "pay", "arguments": "a=1"}, "the arguments of 'pay' are not JSON"),
        ({"label": {"labels": ["a", "b"]}}, "c", "'c' is not among the labels"),
    ],
)
def test_what_a_case_expects_is_checked_by_the_scorer_that_takes_it(
    project: Written, scorer: Any, expected: Any, problem: str | None
) -> None:
    row = {"id": "one", "inputs": {"question": "x"}, "expected": expected}
    project.write("evalsets/support.jsonl", json.dumps(row))
    problems = project.wrong("evalsets/support.yaml", evalset(scorer))
    assert len(problems) == (problem is not None)
    for message in problems:
        assert message.startswith("evalsets/support.jsonl:1: ")
        assert str(problem) in message
