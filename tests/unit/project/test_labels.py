"""Labels are read as strictly as cases, and a draft is read back as it was written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.prompt import Case, Evalset, ScorerSpec
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.labels import Labels, UnlabeledAnswer, classes_of, draft, read_labels
from llmops_cli.project.project import Project, load_project
from tests.hostile import HOSTILE
from tests.projects import make_project

RIGHT = {"exact": "{{ expected }}"}
CHOICE = {
    "choice": {"criteria": "tone", "choices": {"warm": 1, "cool": 0.5, "rude": 0}, "min": 0.5}
}
SINKS = ("escape sequences", "NUL", "a formula", "a tab and a formula", "mixed line ends")
SCALE = {"rubric": {"criteria": "tone", "scale": [1, 5]}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = make_project(tmp_path, cases=3)
    made.models = {"judge": {"provider": "embedded"}}
    made.llmops_yaml()
    made.evalset(scorers=[RIGHT, CHOICE, SCALE])
    return tmp_path


def opened(root: Path, scorer: str = "exact") -> tuple[Evalset, ScorerSpec, Project]:
    project = load_project(root, catalog())
    evalset = project.evalset("support")
    return evalset, next(spec for spec in evalset.scorers if spec.kind == scorer), project


def read(root: Path, rows: list[dict[str, Any]] | str, scorer: str = "exact") -> Labels:
    """The labels in a JSONL file of `rows`, or in a CSV file of that text."""
    path = root / ("labels.csv" if isinstance(rows, str) else "labels.jsonl")
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return read_labels(path, *opened(root, scorer))


def own(**more: Any) -> dict[str, Any]:
    return {"inputs": {"question": "why?"}, "expected": "so", "output": "so", "label": 1, **more}


def test_a_row_names_a_case_or_brings_its_own_question(root: Path) -> None:
    found = read(root, [{"case": "c001", "output": "x", "label": "fail", "side": "old"}, own(id=7)])

    first, second = found.rows
    assert (first.case.id, first.case.expected) == ("c001", "say 1")
    assert (first.side, first.value) == ("old", False)
    assert (second.id, second.case.inputs, second.value) == ("7", {"question": "why?"}, True)


@pytest.mark.parametrize(
    ("label", "given"),
    [("pass", True), ("FAIL", False), (True, True), (0, False), ("1", True), ("False ", False)],
)
def test_a_verdict_has_many_spellings(root: Path, label: object, given: bool) -> None:
    assert [each.value for each in read(root, [own(label=label)]).rows] == [given]


def test_grades_and_classes_are_their_scores(root: Path) -> None:
    grades = [own(label=each, output=f"{each}") for each in (1, "3", 5.0)]
    assert [each.value for each in read(root, grades, "rubric").rows] == [0.0, 0.5, 1.0]
    classes = [own(label=each, output=each) for each in ("warm", "COOL", "rude")]
    found = read(root, classes, "choice")
    assert [each.value for each in found.rows] == [1.0, 0.5, 0.0]
    assert found.classes == {"warm": 1.0, "cool": 0.5, "rude": 0.0}


def test_a_scale_s_one_is_a_grade_and_no_verdict(root: Path) -> None:
    _, spec, _ = opened(root, "rubric")
    assert classes_of(spec)["1"] == 0.0
    assert read(root, [own(label="pass")], "rubric").rows[0].value is True


def test_rows_without_a_label_are_counted_and_not_used(root: Path) -> None:
    found = read(root, [own(label=""), own(output="b", label=None), own(output="c")])
    assert (len(found.rows), found.unlabeled) == (1, 2)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([own(labl=1)], "labels.jsonl:1: unknown key 'labl'"),
        ([{"case": "c001", "output": "x"}], "'label' is missing"),
        ([own(), own()], "labels.jsonl:2: the same answer to the same question is here twice"),
        ([own(id="a"), own(id="a", output="b")], "labels.jsonl:2: the id 'a' is here twice"),
        ([own(label="good")], "'good' is no label"),
        ([own(label=2)], "'2' is no label"),
        ([own(case="c009")], "support has no case 'c009'"),
        ([own(case="c001")], "its inputs and its expected differ from the case 'c001'"),
        ([own(inputs={})], "the input 'question' is missing"),
        ([own(inputs={"question": "why?", "q": 1})], "the input 'q' is not declared"),
        ([own(expected=None)], "the case has no value for 'expected'"),
        ([own(metadata={"a": "b"})], "a label has no metadata"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_label_is_reported_with_its_line(
    root: Path, rows: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(InvalidFiles, match=said):
        read(root, rows)


def test_one_file_holds_one_kind_of_label(root: Path) -> None:
    with pytest.raises(InvalidFiles, match="a verdict among labels of which the first is a grade"):
        read(root, [own(label=4), own(label="pass", output="b")], "rubric")


def test_a_file_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(Refused, match="no labels: there is no file"):
        read_labels(root / "nowhere.jsonl", *opened(root))


def test_a_table_without_the_column_label_is_no_file_of_labels(root: Path) -> None:
    with pytest.raises(InvalidFiles, match="'label' is missing"):
        read(root, "question,expected,output\nwhy?,so,so\n")


@pytest.mark.parametrize("table", [True, False], ids=["CSV", "JSONL"])
@pytest.mark.parametrize(
    "output",
    ["=cmd()", "'=1", "''+2", "-1 is right", 'a\n"b",c', "", *(HOSTILE[each] for each in SINKS)],
)
def test_a_draft_is_read_back_as_it_was_written(root: Path, output: str, table: bool) -> None:
    case = Case(id="c001", inputs={"question": "say 1"}, expected="say 1")
    row = UnlabeledAnswer(id="=1", case=case, side="support@v1", output=output, contexts=("p",))
    text = draft([row], table=table)
    path = root / ("draft.csv" if table else "draft.jsonl")
    labeled = f'{text[:-3]}"pass"\n' if table else text.replace('"label": ""', '"label": "pass"')
    path.write_bytes(labeled.encode())

    (found,) = read_labels(path, *opened(root)).rows

    assert (found.id, found.output, found.side) == ("=1", output, "support@v1")
    assert found.contexts == ("p",)


def test_no_cell_of_a_draft_is_run_by_a_spreadsheet() -> None:
    case = Case(id="-1", inputs={"question": "+1"}, expected="@x")
    row = UnlabeledAnswer(id="=1", case=case, side="v1", output="=cmd()", contexts=())

    (_, cells) = csv.reader(io.StringIO(draft([row], table=True)))

    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
