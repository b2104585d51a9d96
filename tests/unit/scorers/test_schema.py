from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.result import Score, Unscored
from llmops_cli.scorers.schema import TEXTS, check, open_json_schema
from llmops_cli.scorers.scoring import score
from tests.unit.scorers.answers import expecting, reason, reply, value, why

REPLY = {
    "type": "object",
    "required": ["answer"],
    "properties": {"answer": {"type": "string"}, "sure": {"$ref": "#/$defs/share"}},
    "$defs": {"share": {"type": "number", "minimum": 0, "maximum": 1}},
}


def judged(root: Path, text: str, schema: Any, **options: Any) -> Score | Unscored:
    async def run() -> Score | Unscored:
        async with open_json_schema(PluginContext(root=root, environ={})) as scorer:
            result = {"schema": schema, **options}
            return await score(scorer, result, case=expecting(), completion=reply(text))

    return asyncio.run(run())


def test_an_answer_satisfies_a_schema_or_the_reason_says_where_it_does_not(tmp_path: Path) -> None:
    assert value(judged(tmp_path, '{"answer": "yes", "sure": 1}', REPLY)) == 1
    assert reason(judged(tmp_path, '{"answer": 3}', REPLY)) == (
        """at '$.answer': "3 is not of type 'string'\""""
    )


DRAFT_4 = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "maximum": 3,
    "exclusiveMaximum": True,
}
NUMBERED = {"patternProperties": {"^n_": {"type": "number"}}}


@pytest.mark.parametrize(
    ("text", "schema", "right"),
    [
        ("yes", REPLY, 0),  # it is not JSON
        ("19.99", {"multipleOf": 0.01}, 1),  # multiples are counted in decimals
        ("19.995", {"multipleOf": 0.01}, 0),
        ("1e300", {"multipleOf": 0.01}, 1),
        ("-0.07", {"multipleOf": 0.01}, 1),
        ('"x"', {"multipleOf": 0.01}, 1),
        ("3", DRAFT_4, 0),
        ("2", DRAFT_4, 1),
        ('{"n_a": 1, "b": "x"}', NUMBERED, 1),
        ('{"n_a": "x"}', NUMBERED, 0),
        ('"cafe\u0301"', {"const": "cafe\u0301"}, 1),  # letters are composed on both sides
        ('"cafe\u0301"', {"enum": ["caf\u00e9"]}, 1),
        ('"cafe\u0301"', {"pattern": "^caf\u00e9$"}, 1),
        ('{"cafe\u0301": 1}', {"required": ["caf\u00e9"]}, 1),
    ],
)
def test_an_answer_is_right_by_its_schema(
    text: str, schema: Any, right: int, tmp_path: Path
) -> None:
    assert value(judged(tmp_path, text, schema)) == right


def test_a_schema_may_stand_in_a_project_file(tmp_path: Path) -> None:
    (tmp_path / "reply.json").write_text(json.dumps(REPLY))
    assert value(judged(tmp_path, '```json\n{"answer": "yes"}\n```', "reply.json")) == 1
    assert value(judged(tmp_path, "{}", "reply.json")) == 0


def test_a_pattern_that_backtracks_is_unscored(tmp_path: Path) -> None:
    result = judged(tmp_path, json.dumps("a" * 5000 + "b"), {"pattern": "^(a|a)*$"})
    assert "backtracks" in why(result)  # without its deadline it takes years


def test_a_reference_to_another_document_is_never_fetched(tmp_path: Path) -> None:
    result = judged(tmp_path, "{}", {"$ref": "https://example.org/schema.json"})
    assert why(result) == (
        "the schema refers to 'https://example.org/schema.json', which is not in it"
    )


FORMATS: dict[str, tuple[Any, ...]] = {
    "date": ("2024-02-29", "next week", "2023-02-29", "2024-W01-1"),
    "time": ("12:30:00Z", "25:00:00Z", "12:30"),
    "date-time": ("2024-01-01T00:00:00+01:00", "2024-01-01", "yesterday"),
    "duration": ("P1DT2H", "P", "2 hours"),
    "email": ("a.b@example.org", "a", "a@@b", "a..b@c.d"),
    "idn-email": ("ü@ü.de", "ü"),
    "hostname": ("example.org", "-a.b", "a b"),
    "idn-hostname": ("bücher.de", "a..b"),
    "ipv4": ("127.0.0.1", "127.0.0.256"),
    "ipv6": ("::1", "1"),
    "uri": ("https://example.org/a?b=1", "/a", "a b"),
    "uri-reference": ("/a", "a b"),
    "iri": ("https://ü.de/", "/ü"),
    "uri-template": ("/a{?x,y*}", "/a{"),
    "uuid": ("123e4567-e89b-12d3-a456-426614174000", "123"),
    "json-pointer": ("/a~1b", "a"),
    "relative-json-pointer": ("1/a", "/a"),
    "regex": ("a+", "("),
    "int32": (5, 2**31),
    "byte": ("YQ==", "?"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_asserted(name: str, tmp_path: Path) -> None:
    right, *wrong = FORMATS[name]
    assert value(judged(tmp_path, json.dumps(right), {"format": name})) == 1
    assert value(judged(tmp_path, "[]", {"format": name})) == 1  # of texts or of numbers only
    for text in wrong:
        assert value(judged(tmp_path, json.dumps(text), {"format": name})) == 0, text


def test_every_format_that_jsonschema_may_check_is_asserted_here() -> None:
    assert set(Draft202012Validator.FORMAT_CHECKER.checkers) <= TEXTS.keys()
    assert {name for name in FORMATS if name != "int32"} <= TEXTS.keys()


def test_a_format_that_is_not_checked_is_refused(tmp_path: Path) -> None:
    schema = {"properties": {"due": {"type": "string", "format": "currency"}}}
    assert check({"schema": schema}, PluginContext(root=tmp_path, environ={})) == (
        "the format 'currency' is not checked: write a `pattern`, or leave it out"
    )
    named = {"properties": {"format": {"type": "string"}}, "required": ["format"]}
    assert check({"schema": named}, PluginContext(root=tmp_path, environ={})) is None
    double = {"properties": {"x": {"type": "number", "format": "double"}}}
    assert check({"schema": double}, PluginContext(root=tmp_path, environ={})) is None


@pytest.mark.parametrize(
    ("keyword", "meant"),
    [("requird", "required"), ("minlength", "minLength"), ("Properties", "properties")],
)
def test_a_misspelled_keyword_asserts_nothing_and_is_refused(
    keyword: str, meant: str, tmp_path: Path
) -> None:
    context = PluginContext(root=tmp_path, environ={})
    inner = {"type": "object", keyword: 1}
    for schema in (inner, {"properties": {"a": {"items": inner}}}, {"anyOf": [inner]}):
        assert check({"schema": schema}, context) == (
            f"'{keyword}' is no keyword and asserts nothing: did you mean '{meant}'?"
        )
    named = {"properties": {keyword: {"type": "string"}}, "x-note": 1, "nullable": True}
    assert check({"schema": named}, context) is None


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
    problem = check({"schema": schema}, PluginContext(root=tmp_path, environ={}))
    assert problem is None if wrong is None else str(problem).startswith(wrong)


def test_many_items_are_compared_in_time(tmp_path: Path) -> None:
    items = [{"at": at, "tags": [str(at)]} for at in range(5_000)]
    schema = {"type": "array", "uniqueItems": True}
    assert value(judged(tmp_path, json.dumps(items), schema)) == 1
    assert value(judged(tmp_path, json.dumps([*items, items[7]]), schema)) == 0


@pytest.mark.parametrize(
    ("text", "unique"),
    [
        ("[1, 1.0]", False),
        ("[1, true]", True),
        ("[0, false, null, []]", True),
        ("[[1], [true]]", True),
        ("[[], {}]", True),
        ('[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]', False),
        ('["\\u00e9", "e\\u0301"]', False),
        ('["\\ud800", "x"]', True),
        ('{"a": 1}', True),
    ],
)
def test_items_are_unique_by_their_values(tmp_path: Path, text: str, unique: bool) -> None:
    assert value(judged(tmp_path, text, {"uniqueItems": True})) == unique
    assert value(judged(tmp_path, text, {"uniqueItems": False})) == 1


RECURSIVE = {"anyOf": [{"items": {"$ref": "#"}, "minItems": at} for at in (1, 2, 3)]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("[" * 40 + "]" * 40, RECURSIVE),
        ("[" * 40 + "]" * 40, {"oneOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]}),
        (json.dumps(["a" * 24] * 1000), {"items": {"not": {"pattern": "^(a|aa)+b"}}}),
        (
            json.dumps({"a" * 40 + "b": 1}),
            {"additionalProperties": False, "patternProperties": {"^(a|aa)+$": True}},
        ),
    ],
)
def test_a_schema_that_takes_forever_leaves_the_answer_unscored(
    tmp_path: Path, text: str, schema: Any
) -> None:
    began = time.process_time()
    reason = why(judged(tmp_path, text, schema))
    assert "CPU time" in reason or "no end" in reason
    assert time.process_time() - began < 4
