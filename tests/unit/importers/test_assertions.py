"""Every assertion becomes a scorer that decides alike, or is told with a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.importers.imported import NotCarried
from llmops_cli.importers.promptfoo_assertions import MAPPINGS, AssertionReader
from llmops_cli.importers.source import ImportFolder
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.paths import Folder


@pytest.fixture
def reader(tmp_path: Path) -> AssertionReader:
    return AssertionReader(ImportFolder(Folder(tmp_path)), _grader)


def _grader(written: Any) -> str:
    if written is None:
        raise NotCarried("a judge is never implied", "name one")
    return f"model of {written}"


@pytest.mark.parametrize(
    ("written", "scorer"),
    [
        ({"type": "equals", "value": "a"}, {"exact": {"value": "a", "strip": False}}),
        ({"type": "equals", "value": {"a": 1}}, {"json": {"equals": {"a": 1}, "fence": False}}),
        ({"type": "contains", "value": 4}, {"contains": {"value": "4"}}),
        ({"type": "contains", "value": "{{ x }}"}, {"contains": {"value": "nine"}}),
        (
            {"type": "icontains", "value": "a"},
            {"contains": {"value": "a", "ignore_case": True}},
        ),
        ({"type": "contains-any", "value": 'a, "b"'}, {"contains": {"value": ["a", "b"]}}),
        ({"type": "contains-all", "value": ["a", "b"]}, {"contains": {"all": ["a", "b"]}}),
        (
            {"type": "not-icontains-any", "value": ["a"]},
            {"not": {"contains": {"value": ["a"], "ignore_case": True}}},
        ),
        ({"type": "starts-with", "value": "a"}, {"starts_with": {"value": "a", "strip": False}}),
        ({"type": "regex", "value": "a+"}, {"regex": {"pattern": "a+"}}),
        ({"type": "is-json"}, {"json": {"fence": False}}),
        (
            {"type": "is-json", "value": {"type": "object"}},
            {"json_schema": {"schema": {"type": "object"}, "fence": False}},
        ),
        (
            {"type": "is-json", "value": "type: object"},
            {"json_schema": {"schema": {"type": "object"}, "fence": False}},
        ),
        ({"type": "latency", "threshold": 1500}, {"latency": {"max": 1.5}}),
        ({"type": "cost", "threshold": 0.01}, {"cost": {"max": 0.01}}),
        ({"type": "not-empty"}, {"length": {"min": 1}}),
        (
            {"type": "contains", "value": "a", "metric": "words", "weight": 0},
            {"contains": {"value": "a", "name": "words", "advisory": True}},
        ),
    ],
)
def test_an_assertion_becomes_the_scorer_that_decides_alike(
    reader: AssertionReader, written: dict[str, Any], scorer: dict[str, Any]
) -> None:
    done = reader.read(written, {"x": "nine"})
    assert (done.entry, done.differs) == (scorer, None)


@pytest.mark.parametrize(
    ("written", "scorer"),
    [
        (
            {"type": "levenshtein", "value": "0123456789", "threshold": 2},
            {"similarity": {"value": "0123456789", "min": 0.8}},
        ),
        (
            {"type": "rouge-n", "value": "a b"},
            {"rouge": {"value": "a b", "kind": "rouge1", "min": 0.75}},
        ),
        (
            {"type": "bleu", "value": "a b", "threshold": 0.3},
            {"bleu": {"value": "a b", "min": 0.3}},
        ),
        ({"type": "contains-json"}, {"json": {}}),
        ({"type": "not-is-refusal"}, {"not": {"refusal": {}}}),
    ],
)
def test_what_can_decide_differently_says_so(
    reader: AssertionReader, written: dict[str, Any], scorer: dict[str, Any]
) -> None:
    done = reader.read(written, {})
    assert done.entry == scorer
    assert done.differs


@pytest.mark.parametrize(
    "written",
    [
        {"type": "similar", "value": "a"},
        {"type": "llm-rubric", "value": "is polite"},
        {"type": "javascript", "value": "output.length"},
        {"type": "python", "value": "file://judge.py"},
        {"type": "contains", "value": "file://value.js"},
        {"type": "contains", "value": "a", "transform": "output.b"},
        {"type": "contains"},
        {"type": "latency"},
        {"type": "regex", "value": "("},
        {"type": "levenshtein", "value": "abc"},
        {"type": "not-is-json", "value": {"type": "object"}},
        {"type": "is-json", "value": "file://../schema.json"},
        {"type": "brand-new", "value": "a"},
        {},
    ],
)
def test_what_has_no_counterpart_is_reported_with_a_way_out(
    reader: AssertionReader, written: dict[str, Any]
) -> None:
    with pytest.raises(NotCarried) as told:
        reader.read(written, {})
    assert str(told.value)
    assert told.value.instead


def test_a_schema_is_read_from_its_file(tmp_path: Path, reader: AssertionReader) -> None:
    (tmp_path / "schema.json").write_text('{"type": "array"}', encoding="utf-8")
    done = reader.read({"type": "is-json", "value": "file://schema.json"}, {})
    assert done.entry == {"json_schema": {"schema": {"type": "array"}, "fence": False}}


def test_every_mapping_names_a_scorer_and_options_that_are_there(reader: AssertionReader) -> None:
    common = {"name", "min", "max", "advisory"}
    for kind in MAPPINGS:
        done = (
            reader.read({"type": kind, "value": "123456789", "threshold": 1}, {})
            if ("json" not in kind)
            else reader.read({"type": kind}, {})
        )
        ((name, options),) = done.entry.items()
        assert set(options) <= {*catalog().scorers[name].options, *common}, kind


@pytest.mark.parametrize(
    ("own", "of_the_test", "model"),
    [
        (None, "a", "model of a"),
        ("b", "a", "model of b"),
        ({"id": "c"}, None, "model of {'id': 'c'}"),
    ],
)
def test_a_rubric_is_judged_by_the_nearest_grader(
    reader: AssertionReader, own: Any, of_the_test: Any, model: str
) -> None:
    written = {"type": "llm-rubric", "value": "is polite", "provider": own}
    done = reader.read(written, {}, grader=of_the_test)
    assert done.entry == {"rubric": {"criteria": "is polite", "model": model}}


def test_a_rubric_without_a_grader_is_reported(reader: AssertionReader) -> None:
    with pytest.raises(NotCarried, match="a judge is never implied"):
        reader.read({"type": "llm-rubric", "value": "is polite"}, {})
