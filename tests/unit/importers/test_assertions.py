"""Every assertion becomes a scorer that decides alike, or is told with a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_cli.importers.promptfoo_tests import MAPPINGS, scorer_of
from llmops_cli.importers.source import ImportFolder, NotCarried
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.paths import Folder


def no_judge() -> str:
    raise NotCarried("a judge is never implied", "name one")


def convert(folder: Path, written: str, **values: str) -> tuple[dict[str, Any], str | None]:
    """Return the scorer of an assertion in YAML, and how it can decide differently."""
    assertion = yaml.safe_load(f"{{{written}}}")
    return scorer_of(assertion, values, ImportFolder(Folder(folder)), no_judge)


SCHEMA = "json_schema: {schema: {type: object}, fence: false}"


@pytest.mark.parametrize(
    ("written", "scorer"),
    [
        ("type: equals, value: a", "exact: {value: a, strip: false}"),
        ("type: equals, value: {a: 1}", "json: {equals: {a: 1}, fence: false}"),
        ("type: contains, value: 4", "contains: {value: '4'}"),
        ("type: contains, value: '{{ x }}'", "contains: {value: nine}"),
        ("type: icontains, value: a", "contains: {value: a, ignore_case: true}"),
        ("type: contains-any, value: 'a, \"b\"'", "contains: {value: [a, b]}"),
        ("type: contains-all, value: [a, b]", "contains: {all: [a, b]}"),
        (
            "type: not-icontains-any, value: [a]",
            "not: {contains: {value: [a], ignore_case: true}}",
        ),
        ("type: starts-with, value: a", "starts_with: {value: a, strip: false}"),
        ("type: regex, value: a+", "regex: {pattern: a+}"),
        ("type: is-json", "json: {fence: false}"),
        ("type: is-json, value: {type: object}", SCHEMA),
        ("type: is-json, value: 'type: object'", SCHEMA),
        ("type: latency, threshold: 1500", "latency: {max: 1.5}"),
        ("type: cost, threshold: 0.01", "cost: {max: 0.01}"),
        ("type: not-empty", "length: {min: 1}"),
        (
            "type: contains, value: a, metric: words, weight: 0",
            "contains: {value: a, name: words, advisory: true}",
        ),
    ],
)
def test_an_assertion_becomes_the_scorer_that_decides_alike(
    tmp_path: Path, written: str, scorer: str
) -> None:
    assert convert(tmp_path, written, x="nine") == (yaml.safe_load(f"{{{scorer}}}"), None)


@pytest.mark.parametrize(
    ("written", "scorer"),
    [
        (
            "type: levenshtein, value: '0123456789', threshold: 2",
            "similarity: {value: '0123456789', min: 0.8}",
        ),
        ("type: rouge-n, value: a b", "rouge: {value: a b, kind: rouge1, min: 0.75}"),
        ("type: bleu, value: a b, threshold: 0.3", "bleu: {value: a b, min: 0.3}"),
        ("type: contains-json", "json: {}"),
        ("type: not-is-refusal", "not: {refusal: {}}"),
    ],
)
def test_what_can_decide_differently_says_so(tmp_path: Path, written: str, scorer: str) -> None:
    entry, differs = convert(tmp_path, written)
    assert entry == yaml.safe_load(f"{{{scorer}}}")
    assert differs


@pytest.mark.parametrize(
    "written",
    [
        "type: similar, value: a",
        "type: llm-rubric, value: is polite",
        "type: javascript, value: output.length",
        "type: python, value: 'file://judge.py'",
        "type: contains, value: 'file://value.js'",
        "type: contains, value: a, transform: output.b",
        "type: contains",
        "type: latency",
        "type: regex, value: (",
        "type: levenshtein, value: abc",
        "type: not-is-json, value: {type: object}",
        "type: is-json, value: 'file://../schema.json'",
        "type: brand-new, value: a",
        "",
    ],
)
def test_what_has_no_counterpart_is_reported_with_a_way_out(tmp_path: Path, written: str) -> None:
    with pytest.raises(NotCarried) as error:
        convert(tmp_path, written)
    assert str(error.value)
    assert error.value.instead


def test_a_schema_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "array"}', encoding="utf-8")
    entry, _ = convert(tmp_path, "type: is-json, value: 'file://schema.json'")
    assert entry == {"json_schema": {"schema": {"type": "array"}, "fence": False}}


@pytest.mark.parametrize("kind", MAPPINGS)
def test_every_mapping_names_a_scorer_and_options_that_are_there(tmp_path: Path, kind: str) -> None:
    value = "" if "json" in kind else ", value: '123456789', threshold: 1"
    ((name, options),) = convert(tmp_path, f"type: {kind}{value}")[0].items()
    common = {"name", "min", "max", "advisory"}
    assert set(options) <= {*catalog().scorers[name].options, *common}
