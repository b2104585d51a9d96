from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from llmops_cli.render.json import json_report, report_schema, table_json
from tests import reports


@pytest.mark.parametrize("name", [*reports.SMALL, "hostile"])
def test_every_report_follows_the_published_schema(name: str) -> None:
    schema = report_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json_report(reports.ALL[name])))


def test_the_schema_refuses_what_is_not_a_report() -> None:
    document = json.loads(json_report(reports.passing()))
    document["report"]["prompts"][0]["verdict"]["decision"] = "MAYBE"
    del document["report"]["calls"]
    errors = Draft202012Validator(report_schema()).iter_errors(document)
    assert sorted(error.validator for error in errors) == ["enum", "required"]


def test_texts_come_back_exactly_as_they_were() -> None:
    document = json.loads(json_report(reports.hostile()))
    (prompt,) = document["report"]["prompts"]
    cases = prompt["evalsets"][0]["shown"]
    texts = [case["candidate"]["trials"][0]["text"] for case in cases]
    assert texts == list(reports.HOSTILE.values())


def test_the_text_is_harmless_in_a_log() -> None:
    text = json_report(reports.hostile())
    assert re.search("[^\n\x20-\x7e]", text) is None
    assert "##[" not in text
    assert not any(line.lstrip().startswith("::") for line in text.split("\n"))


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_report(replace(reports.passing(), cost=float("nan")))


def test_a_table_is_a_list_of_objects() -> None:
    assert table_json([{"b": 1, "a": None}]) == '[\n  {\n    "a": null,\n    "b": 1\n  }\n]\n'
    assert table_json([]) == "[]\n"


@pytest.mark.parametrize("module", ["json", "markdown", "junit"])
def test_output_for_machines_needs_no_console(module: str) -> None:
    script = f"import sys, llmops_cli.render.{module}; print('rich' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
