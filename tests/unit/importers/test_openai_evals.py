"""Samples of OpenAI Evals become a prompt and cases, graded as their registry says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.importers.import_files import read_foreign
from llmops_cli.importers.imported import ImportChoices, Imported, files_of
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.paths import Folder

SYSTEM = {"role": "system", "content": "Name the capital."}


def sample(question: str, ideal: Any, *between: dict[str, str]) -> dict[str, Any]:
    return {"input": [SYSTEM, *between, {"role": "user", "content": question}], "ideal": ideal}


def imported(folder: Path, path: str, model: str | None = "openai/gpt-4.1") -> Imported:
    choices = ImportChoices(name="capitals", model=model)
    return read_foreign(Folder(folder), path, choices, catalog())


def write(path: Path, *samples: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in samples), encoding="utf-8")


def registry(folder: Path, kind: str, **arguments: Any) -> Imported:
    entry = {
        "capitals": {"id": "capitals.v0", "metrics": ["accuracy"]},
        "capitals.v0": {"class": f"evals.elsuite.{kind}", "args": arguments},
    }
    (folder / "capitals.yaml").write_text(json.dumps(entry), encoding="utf-8")
    return imported(folder, "capitals.yaml")


def test_turns_that_all_samples_share_are_the_prompts(tmp_path: Path) -> None:
    write(tmp_path / "s.jsonl", sample("France", "Paris"), sample("Italy", ["Rome", "Roma"]))
    made = imported(tmp_path, "s.jsonl")
    assert list(made.prompts[0].messages) == [SYSTEM, {"role": "user", "content": "{{ input }}"}]
    assert [(item["inputs"], item["expected"]) for item in made.evalsets[0].cases] == [
        ({"input": "France"}, "Paris"),
        ({"input": "Italy"}, ["Rome", "Roma"]),
    ]


def test_turns_of_one_sample_are_its_cases_earlier_turns(tmp_path: Path) -> None:
    said = {"role": "assistant", "content": "Ask me."}
    write(tmp_path / "s.jsonl", sample("France", "Paris", said), sample("Italy", "Rome"))
    first, second = imported(tmp_path, "s.jsonl").evalsets[0].cases
    assert first["messages"] == [said]
    assert "messages" not in second


def test_samples_alone_do_not_say_how_they_are_graded(tmp_path: Path) -> None:
    write(tmp_path / "s.jsonl", sample("France", "Paris"))
    made = imported(tmp_path, "s.jsonl")
    assert [(item.what, item.lost) for item in made.notes] == [("the grading", False)]
    assert made.evalsets[0].scorers == [{"starts_with": {"strip": False}}]


def test_samples_that_cannot_be_read_are_reported_with_their_line(tmp_path: Path) -> None:
    write(tmp_path / "s.jsonl", sample("France", "Paris"), {"question": "?"})
    with (tmp_path / "s.jsonl").open("a", encoding="utf-8") as file:
        file.write("{not json\n")
    lost = [str(item.where) for item in imported(tmp_path, "s.jsonl").notes if item.lost]
    assert lost == ["s.jsonl:2", "s.jsonl:3"]


def test_braces_in_a_turn_are_text(tmp_path: Path) -> None:
    turn = {"role": "system", "content": "Answer as {{ json }}."}
    row = {"input": [turn, {"role": "user", "content": "France"}], "ideal": "Paris"}
    write(tmp_path / "s.jsonl", row)
    first = imported(tmp_path, "s.jsonl").prompts[0].messages[0]
    assert first["content"] == "{% raw %}Answer as {{ json }}.{% endraw %}"


@pytest.mark.parametrize(
    ("name", "arguments", "scorer", "ideal"),
    [
        ("basic.match:Match", {}, {"starts_with": {"strip": False}}, "Paris"),
        ("basic.includes:Includes", {}, "contains", "Paris"),
        (
            "basic.includes:Includes",
            {"ignore_case": True},
            {"contains": {"ignore_case": True}},
            "Paris",
        ),
        (
            "basic.json_match:JsonMatch",
            {},
            {"json": {"expected": True, "fence": False}},
            '{"a": 1}',
        ),
    ],
)
def test_the_class_in_the_registry_says_how_answers_are_graded(
    tmp_path: Path, name: str, arguments: dict[str, Any], scorer: Any, ideal: str
) -> None:
    write(tmp_path / "data/capitals/samples.jsonl", sample("France", ideal))
    made = registry(tmp_path, name, samples_jsonl="capitals/samples.jsonl", **arguments)
    assert list(made.notes) == []
    assert made.evalsets[0].scorers == [scorer]
    assert made.evalsets[0].cases[0]["expected"] == ({"a": 1} if "json" in name else ideal)


def test_few_shot_turns_stand_before_the_last_turn(tmp_path: Path) -> None:
    shot = [{"role": "user", "content": "Spain"}, {"role": "assistant", "content": "Madrid"}]
    write(tmp_path / "data/samples.jsonl", sample("France", "Paris"))
    write(tmp_path / "data/shots.jsonl", {"sample": shot}, {"sample": shot})
    shots = {"num_few_shot": 1, "few_shot_jsonl": "shots.jsonl"}
    made = registry(tmp_path, "basic.match:Match", samples_jsonl="samples.jsonl", **shots)
    messages = list(made.prompts[0].messages)
    assert messages == [SYSTEM, *shot, {"role": "user", "content": "{{ input }}"}]


@pytest.mark.parametrize(
    ("kind", "arguments", "why"),
    [
        (
            "modelgraded.classify:ModelBasedClassify",
            {},
            "there is no scorer for the class 'ModelBasedClassify'",
        ),
        ("basic.match:Match", {"samples_jsonl": "none.jsonl"}, "there is no file 'none.jsonl'"),
    ],
)
def test_an_eval_that_cannot_be_imported_is_reported(
    tmp_path: Path, kind: str, arguments: dict[str, Any], why: str
) -> None:
    made = registry(tmp_path, kind, **arguments)
    assert made.prompts == []
    assert made.notes[0].why == why


def test_a_turn_that_cannot_be_written_as_text_is_reported(tmp_path: Path) -> None:
    turn = {"role": "system", "content": "{{ x }} {% endraw %}"}
    write(tmp_path / "s.jsonl", {"input": [turn, turn], "ideal": "Paris"})
    made = imported(tmp_path, "s.jsonl")
    assert made.prompts == []
    assert any(item.what == "the turns that all samples share" for item in made.notes)


def test_samples_may_be_larger_than_other_files(tmp_path: Path) -> None:
    long = {"role": "user", "content": "x" * 2_000_000}
    rows = [sample(str(number), "Paris", long) for number in range(3)]
    write(tmp_path / "data/s.jsonl", *rows)
    made = registry(tmp_path, "basic.match:Match", samples_jsonl="s.jsonl")
    assert len(made.evalsets[0].cases) == 3
    write(tmp_path / "s.jsonl", *rows)
    assert len(imported(tmp_path, "s.jsonl").evalsets[0].cases) == 3


def test_a_number_that_is_ideal_is_written_as_it_stood(tmp_path: Path) -> None:
    row = '{"input": "Pi?", "ideal": 3.10, "score": 1e3}\n'
    (tmp_path / "s.jsonl").write_text(row, encoding="utf-8")
    made = imported(tmp_path, "s.jsonl")
    (case,) = made.evalsets[0].cases
    assert case["expected"] == "3.10"
    text = files_of(made, catalog(), with_project=False)["evalsets/capitals.yaml"]
    assert 'expected: "3.10"' in text
    assert "score: 1e3" in text
