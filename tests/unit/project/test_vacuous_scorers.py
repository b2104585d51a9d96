"""Scorers that no answer can fail, or that could score none, are refused before any call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.cli.main import run
from tests.projects import make_project


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
        (
            {"json_schema": {"schema": {"format": "currency"}}},
            "the format 'currency' is not",
        ),
    ],
)
def test_what_no_answer_can_fail_is_refused_at_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scorer: dict[str, Any], said: str
) -> None:
    project = make_project(tmp_path / "project", "http://127.0.0.1:9", cases=1)
    project.evalset(scorers=["refusal", scorer])
    assert run(["-C", str(project.root), "check"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "evalsets/support.yaml:" in told


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
def test_what_an_answer_can_fail_is_not_refused(tmp_path: Path, scorer: dict[str, Any]) -> None:
    project = make_project(tmp_path / "project", "http://127.0.0.1:9", cases=1)
    project.evalset(scorers=["refusal", scorer])
    assert run(["-C", str(project.root), "check"]) == 0


@pytest.mark.parametrize(
    ("scorer", "expected", "said"),
    [
        ("contains", "", "the expected text is empty"),
        ("contains", [], "an empty list expects nothing"),
        ("exact", {"a": 1}, "with the `expected` of this case"),
        ("number", "many", "'many' is not a number"),
        ({"label": {"labels": ["a", "b"]}}, "c", "'c' is not among the labels"),
    ],
)
def test_what_a_case_expects_is_checked_by_the_scorer_that_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scorer: Any, expected: Any, said: str
) -> None:
    project = make_project(tmp_path / "project", "http://127.0.0.1:9", cases=1)
    project.cases([{"id": "one", "inputs": {"question": "x"}, "expected": expected}])
    project.evalset(scorers=[scorer])
    assert run(["-C", str(project.root), "check"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "evalsets/support.jsonl:1" in told
