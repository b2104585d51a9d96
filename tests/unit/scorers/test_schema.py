from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.ports import World
from llmops_cli.core.result import Score, Unscored
from llmops_cli.scorers.schema import check, open_json_schema
from llmops_cli.scorers.scoring import score
from tests.unit.scorers.answers import expecting, reason, said, value, why

REPLY = {
    "type": "object",
    "required": ["answer"],
    "properties": {"answer": {"type": "string"}, "sure": {"$ref": "#/$defs/share"}},
    "$defs": {"share": {"type": "number", "minimum": 0, "maximum": 1}},
}


def judged(root: Path, text: str, schema: Any, **options: Any) -> Score | Unscored:
    async def run() -> Score | Unscored:
        async with open_json_schema(World(root=root, environ={})) as scorer:
            given = {"schema": schema, **options}
            return await score(scorer, given, case=expecting(), completion=said(text))

    return asyncio.run(run())


def test_an_answer_satisfies_a_schema_or_the_reason_says_where_it_does_not(tmp_path: Path) -> None:
    assert value(judged(tmp_path, '{"answer": "yes", "sure": 1}', REPLY)) == 1
    assert reason(judged(tmp_path, '{"answer": 3}', REPLY)) == (
        """at '$.answer': "3 is not of type 'string'\""""
    )


def test_what_is_not_json_is_wrong(tmp_path: Path) -> None:
    assert value(judged(tmp_path, "yes", REPLY)) == 0


def test_a_schema_may_stand_in_a_project_file(tmp_path: Path) -> None:
    (tmp_path / "reply.json").write_text(json.dumps(REPLY))
    assert value(judged(tmp_path, '```json\n{"answer": "yes"}\n```', "reply.json")) == 1
    assert value(judged(tmp_path, "{}", "reply.json")) == 0


def test_the_schema_says_its_draft(tmp_path: Path) -> None:
    draft4 = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "maximum": 3,
        "exclusiveMaximum": True,
    }
    assert value(judged(tmp_path, "3", draft4)) == 0
    assert value(judged(tmp_path, "2", draft4)) == 1


def test_a_pattern_that_backtracks_is_unscored(tmp_path: Path) -> None:
    started = time.monotonic()
    given = judged(tmp_path, json.dumps("a" * 5000 + "b"), {"pattern": "^(a|a)*$"})
    assert "backtracks" in why(given)
    assert time.monotonic() - started < 10  # without its deadline it takes years


def test_pattern_properties_are_checked(tmp_path: Path) -> None:
    schema = {"patternProperties": {"^n_": {"type": "number"}}}
    assert value(judged(tmp_path, '{"n_a": 1, "b": "x"}', schema)) == 1
    assert value(judged(tmp_path, '{"n_a": "x"}', schema)) == 0


def test_a_reference_to_another_document_is_never_fetched(tmp_path: Path) -> None:
    given = judged(tmp_path, "{}", {"$ref": "https://example.org/schema.json"})
    assert why(given) == (
        "the schema refers to 'https://example.org/schema.json', which is not in it"
    )


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        (REPLY, None),
        ({"type": "objekt"}, "the schema is not a JSON Schema: "),
        ("absent.json", "absent.json is not a file of the project"),
        ("../outside.json", "../outside.json is outside the project"),
        ("broken.json", "broken.json is not JSON: "),
        ("list.json", "list.json is not a JSON Schema: it holds no object"),
    ],
)
def test_a_wrong_schema_is_seen_before_any_call(
    schema: Any, wrong: str | None, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    found = check({"schema": schema}, World(root=tmp_path, environ={}))
    assert found is None if wrong is None else str(found).startswith(wrong)
