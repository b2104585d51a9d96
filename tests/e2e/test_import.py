"""`llmops import`: real files become a project that `check` accepts and `eval` runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_cli.importers.imported import dumped
from llmops_cli.project.documents import load_yaml
from tests.projects import llmops

DATA = Path(__file__).parents[1] / "data" / "promptfoo"
SAMPLES = [
    {
        "input": [
            {"role": "system", "content": "Answer with the capital.\n\n- briefly\n- in English"},
            {"role": "user", "content": country},
        ],
        "ideal": capital,
    }
    for country, capital in (("France", "Paris"), ("Italy", "Rome"), ("No: way", "007"))
]


IMPORT = ("import", "foreign/promptfooconfig.yaml", "--into")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    shutil.copytree(DATA, tmp_path / "foreign")
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_promptfoo_configuration_becomes_a_project_that_check_accepts(foreign: Path) -> None:
    done = llmops(foreign, *IMPORT, "new")
    assert (done.code, done.err) == (0, "")
    assert "wrote new/evalsets/foreign.yaml" in done.out
    written = contents(foreign / "new")
    evalset, project = (
        written[Path(name)].decode() for name in ("evalsets/foreign.yaml", "llmops.yaml")
    )
    assert "rubric: {criteria: is polite, model: claude-haiku-4-5}" in evalset  # it graded
    assert "claude-haiku-4-5: {provider: anthropic" in project
    checked = llmops(foreign / "new", "check")
    assert "2 prompts, 5 cases: no problem found" in checked.out


def test_everything_left_out_is_reported_with_its_line_and_the_same_bytes_are_written_again(
    foreign: Path,
) -> None:
    done = llmops(foreign, *IMPORT, "new", "--json")
    (report,) = done.document
    lost = [
        (f"{note['where']['path']}:{note['where']['line']}", note["what"])
        for note in report["notes"]
        if note["lost"]
    ]
    assert lost == [
        ("promptfooconfig.yaml:6", "the prompt 'file://prompts/generated.js'"),
        ("promptfooconfig.yaml:16", "the provider 'exec:python answer.py'"),
        ("tests.csv:2", "the assertion 'javascript'"),
    ]
    assert all(note["why"] and note["instead"] for note in report["notes"])
    assert llmops(foreign, *IMPORT, "strict", "--strict").code == 2
    assert not (foreign / "strict").exists()
    llmops(foreign, *IMPORT, "again")
    assert contents(foreign / "new") == contents(foreign / "again")


def test_nothing_that_is_there_is_overwritten(foreign: Path) -> None:
    command = (*IMPORT, "new")
    llmops(foreign, *command)
    prompt = foreign / "new/prompts/foreign.prompt.yml"
    prompt.write_text("mine", encoding="utf-8")
    again = llmops(foreign, *command)
    assert again.code == 2
    assert prompt.read_text(encoding="utf-8") == "mine"


def test_missing_models_are_reported_with_the_lines_to_add(foreign: Path) -> None:
    new = foreign / "new"
    new.mkdir()
    project = new / "llmops.yaml"
    project.write_text("environments: [production]\n", encoding="utf-8")
    command = (*IMPORT, "new")
    refused = llmops(foreign, *command)
    assert refused.code == 2
    lines = refused.err.partition("add these lines to it:\n")[2].partition("\n  then run")[0]
    project.write_text(lines, encoding="utf-8")
    assert llmops(foreign, *command).code == 0


def test_samples_of_openai_evals_run_without_a_key(tmp_path: Path) -> None:
    text = "".join(json.dumps(sample) + "\n" for sample in SAMPLES)
    (tmp_path / "capitals.jsonl").write_text(text, encoding="utf-8")
    done = llmops(tmp_path, "import", "capitals.jsonl")
    assert done.code == 0
    result = llmops(tmp_path, "eval", "--json")
    report = json.loads(result.out)["report"]
    assert report["calls"] == 3


def test_many_cases_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    rows = [{"input": f"question {n}", "ideal": str(n)} for n in range(30)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "many.jsonl").write_text(text, encoding="utf-8")
    llmops(tmp_path, "import", "many.jsonl", "--into", "new")
    table = (tmp_path / "new/evalsets/many.jsonl").read_text(encoding="utf-8")
    assert len(table.splitlines()) == 30
    assert "30 cases: no problem found" in llmops(tmp_path / "new", "check").out


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "007",
        "1e3",
        "null",
        "~",
        "{{ x }}",
        "a: b",
        "- a",
        "line\nline\n",
        "a\n\n  b",
        " a ",
        "#",
    ],
)
def test_what_is_written_is_read_back_by_our_strict_reader(text: str) -> None:
    data: dict[str, Any] = {"a": text, "b": [text], "c": {"d": text}}
    yaml_text = dumped(data)
    assert load_yaml(yaml_text.encode(), "a.yaml").data == data
    assert yaml.safe_load(yaml_text) == data


def test_the_model_under_test_does_not_judge_unless_named(tmp_path: Path) -> None:
    rubric = {"vars": {"x": "a"}, "assert": [{"type": "llm-rubric", "value": "is polite"}]}
    config = {"prompts": ["Say {{x}}"], "providers": ["openai:gpt-4.1-mini"], "tests": [rubric]}
    (tmp_path / "promptfooconfig.yaml").write_text(json.dumps(config), encoding="utf-8")
    done = llmops(tmp_path, "import", "promptfooconfig.yaml", "--into", "new")
    assert "lost: the assertion 'llm-rubric': no grading model is named" in done.out
    assert "wrote new/prompts/" in done.out
    assert "next: llmops -C new check" in done.out


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/../../evil", "Evil", "", ".evil"])
def test_a_name_that_leads_out_of_the_project_is_refused(foreign: Path, name: str) -> None:
    before = contents(foreign)
    done = llmops(foreign, *IMPORT, "new", "--name", name)
    assert done.code == 2
    assert "is not a name of a prompt" in done.err
    assert contents(foreign) == before
