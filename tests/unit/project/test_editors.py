"""What loads is valid for an editor, too, and typos are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.documents import load_yaml
from llmops_cli.project.json_schemas import json_schemas


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    return json_schemas(catalog())


def errors(schema: dict[str, Any], data: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [each.message for each in validator.iter_errors(data)]


@pytest.mark.parametrize("name", ["project", "prompt", "evalset", "case"])
def test_every_schema_is_a_json_schema(schemas: dict[str, dict[str, Any]], name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas[name])
    assert schemas[name]["title"] == f"llmops {name}"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("llmops.yaml", "project"),
        ("prompts/**/*.prompt.yml", "prompt"),
        ("evalsets/*.yaml", "evalset"),
        ("tests/data/github_models/*.prompt.yml", "prompt"),
    ],
)
def test_files_of_this_repository_and_of_github_models_are_valid(
    schemas: dict[str, dict[str, Any]], repo_root: Path, pattern: str, name: str
) -> None:
    folders = (repo_root, repo_root / "examples" / "gsm8k-recorded")
    paths = [path for folder in folders for path in folder.glob(pattern)]
    assert paths
    for path in paths:
        assert errors(schemas[name], load_yaml(path.read_bytes(), path.name).data) == []


EVERY_FORM = {
    "cases": [{"id": 17, "inputs": {}}, {"id": "a", "inputs": {"q": 1}, "scorers": ["json"]}],
    "scorers": [
        "exact",
        {"contains": "x"},
        {"contains": ["x", "{{ expected }}"]},
        {"not": {"contains": {"value": "x", "name": "n", "min": 1, "advisory": True}}},
        {"latency": 3},
        {"number": "{{ expected }}"},
        {"json_schema": {"schema": {"type": "object"}}},
        {"python": "own.py:check"},
    ],
    "gate": {
        "margin": 0.1,
        "rules": ["critical", {"floor": 0.9}, {"floor": {"min": 0.9, "metric": "json"}}],
    },
}


def test_every_spelling_is_valid(schemas: dict[str, dict[str, Any]]) -> None:
    assert errors(schemas["evalset"], EVERY_FORM) == []


@pytest.mark.parametrize(
    "typo",
    [
        {"asert": []},
        {"scorers": ["exat"]},
        {"scorers": [{"contains": {"valu": "x"}}]},
        {"scorers": [{"contains": "x", "exact": "y"}]},
        {"scorers": ["regex"]},
        {"gate": {"marign": 0.1}},
        {"gate": {"rules": ["critcal"]}},
        {"gate": {"rules": [{"floor": {"mn": 0.1}}]}},
        {"cases": [{"asert": 1}]},
        {"repeats": 0},
    ],
)
def test_a_typo_is_seen_by_the_editor(
    schemas: dict[str, dict[str, Any]], typo: dict[str, Any]
) -> None:
    assert errors(schemas["evalset"], EVERY_FORM | typo) != []


def test_a_model_has_the_options_of_its_provider_only(
    schemas: dict[str, dict[str, Any]],
) -> None:
    def wrong(model: dict[str, Any]) -> list[str]:
        return errors(schemas["project"], {"models": {"m": model}})

    assert wrong({"provider": "replay", "file": "x.jsonl", "by": "case"}) == []
    assert wrong({"provider": "openai", "model": "x", "modelParameters": {"topP": 1}}) == []
    assert wrong({"provider": "replay"}) != []
    assert wrong({"provider": "openai", "file": "x.jsonl"}) != []
    assert wrong({"provider": "opnai"}) != []
