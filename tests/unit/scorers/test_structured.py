from __future__ import annotations

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.result import ToolCall
from llmops_cli.scorers.structured import json_scorer, tool_call
from tests.unit.scorers.answers import expecting, reason, said, value, why

FENCED = '```json\n{"a": 1}\n```'


@pytest.mark.parametrize("text", ['{"a": 1}', " [1, 2]\n", "3", '"x"', "null", FENCED])
def test_json_is_json(text: str) -> None:
    assert value(json_scorer(expecting(), said(text))) == 1


@pytest.mark.parametrize(
    "text", ["", "yes", "{'a': 1}", '{"a": 1} ok', '{"a": NaN}', "1e999", "[" * 100_000, "```"]
)
def test_what_is_not_json_is_wrong(text: str) -> None:
    assert value(json_scorer(expecting(), said(text))) == 0


def test_a_fence_may_be_forbidden() -> None:
    assert value(json_scorer(expecting(), said(FENCED), fence=False)) == 0


def test_json_may_have_to_equal_a_value() -> None:
    given = said('{"b": [true], "a": 1.0}')
    assert value(json_scorer(expecting(), given, equals={"a": 1, "b": [True]})) == 1
    assert value(json_scorer(expecting(), given, equals={"a": 1, "b": [1]})) == 0


def test_json_may_have_to_equal_the_expected() -> None:
    assert value(json_scorer(expecting({"a": 1}), said('{"a":1}'), expected=True)) == 1
    assert why(json_scorer(expecting(), said("{}"), expected=True)) == (
        "case 'one' has no `expected`"
    )


def test_a_lone_surrogate_in_json_equals_nothing() -> None:
    assert value(json_scorer(expecting(), said('"\\ud800"'), equals="x")) == 0


SEARCH = ToolCall(name="search", arguments={"q": "refund", "top": 3})


@pytest.mark.parametrize(
    ("expected", "right"),
    [
        ("search", 1),
        ({"name": "search"}, 1),
        ({"name": "search", "arguments": {"q": "refund"}}, 1),
        ({"name": "search", "arguments": {"q": "return"}}, 0),
        ({"name": "search", "arguments": {"lang": "en"}}, 0),
        ("mail", 0),
        (["search"], 1),
        (["search", "search"], 0),
    ],
)
def test_the_expected_tool_is_called_with_its_arguments(expected: Json, right: int) -> None:
    given = said("", tool_calls=(SEARCH,))
    assert value(tool_call(expecting(expected), given)) == right


def test_further_arguments_are_wrong_where_the_match_is_exact() -> None:
    given = said("", tool_calls=(SEARCH,))
    asked = {"tool": "search", "arguments": {"q": "refund"}}
    assert value(tool_call(expecting(), given, **asked)) == 1  # type: ignore[arg-type]  # both are right
    assert value(tool_call(expecting(), given, match="exact", **asked)) == 0  # type: ignore[arg-type]  # the same


def test_calls_are_found_in_any_order() -> None:
    given = said("", tool_calls=(ToolCall(name="mail", arguments={}), SEARCH))
    assert value(tool_call(expecting(["search", "mail"]), given)) == 1


def test_arguments_that_are_no_json_match_no_argument() -> None:
    given = said("", tool_calls=(ToolCall(name="search", arguments="{q:"),))
    assert value(tool_call(expecting(), given, tool="search", arguments={"q": "x"})) == 0


def test_a_reason_shows_the_calls_that_were_made() -> None:
    assert reason(tool_call(expecting("mail"), said("hello"))) == (
        "expected 'mail'({}); the model called no tool"
    )


@pytest.mark.parametrize("expected", [None, 3, [], [{"tool": "x"}]])
def test_an_expectation_that_names_no_tool_is_unscored(expected: Json) -> None:
    assert "names no tool" in why(tool_call(expecting(expected), said("")))
