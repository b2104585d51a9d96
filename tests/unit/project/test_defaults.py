"""`defaults:` of llmops.yaml: scorers and fields that every evalset and case has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.errors import InvalidFiles
from llmops_cli.core.prompt import Evalset
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.project import check_project
from tests.projects import make_cases, make_project


def evalset_with(root: Path, defaults: dict[str, Any], **more: Any) -> Evalset:
    project = make_project(root, cases=2)
    project.settings["defaults"] = defaults
    project.llmops_yaml()
    project.evalset(**more)
    _, (evalset,) = check_project(root, catalog())
    return evalset


def test_every_evalset_has_the_default_scorers_after_its_own(tmp_path: Path) -> None:
    evalset = evalset_with(tmp_path, {"scorers": [{"length": {"max": 100}}]})
    assert [spec.label for spec in evalset.scorers] == ["exact", "length"]


def test_an_evalsets_own_scorer_replaces_the_default_of_its_name(tmp_path: Path) -> None:
    evalset = evalset_with(
        tmp_path,
        {"scorers": [{"length": {"max": 100}}]},
        scorers=["exact", {"length": {"max": 7}}],
    )
    assert [(spec.label, spec.maximum) for spec in evalset.scorers] == [
        ("exact", None),
        ("length", 7.0),
    ]


def test_every_case_has_the_default_fields_unless_it_says_otherwise(tmp_path: Path) -> None:
    project = make_project(tmp_path, cases=2)
    project.settings["defaults"] = {
        "case": {"tags": ["all"], "inputs": {"question": "say 9", "unknown": "left out"}}
    }
    project.llmops_yaml()
    first, second = make_cases(2)
    project.cases([{**first, "tags": ["own"]}, {"id": "x", "expected": "say 9"}])
    _, (evalset,) = check_project(tmp_path, catalog())
    assert [case.tags for case in evalset.cases] == [("own",), ("all",)]
    assert evalset.cases[0].inputs == first["inputs"]
    assert evalset.cases[1].inputs == {"question": "say 9"}
    assert second["id"] != "x"


@pytest.mark.parametrize(
    ("defaults", "problem"),
    [
        ({"scorers": [{"lenth": {"max": 1}}]}, "unknown scorer 'lenth'"),
        ({"case": {"tgas": ["x"]}}, "unknown key 'tgas'"),
        ({"case": {"inputs": "x"}}, "'defaults.case.inputs' must be a mapping"),
        ({"cases": []}, "unknown key 'cases'"),
    ],
)
def test_a_mistake_in_the_defaults_is_reported_at_its_line(
    tmp_path: Path, defaults: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidFiles) as refused:
        evalset_with(tmp_path, defaults)
    (first, *_) = map(str, refused.value.problems)
    assert first.startswith("llmops.yaml:")
    assert problem in first
