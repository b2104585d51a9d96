from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.redact import Redactor, sanitized
from llmops_cli.core.result import Completion, ToolCall
from llmops_cli.scorers.structured import Match, check_tool, json_scorer, tool_call
from tests.unit.scorers.answers import expecting, reason, reply, value, why

FENCED = '```json\n{"a": 1}\n```'


@pytest.mark.parametrize("text", ['{"a": 1}', " [1, 2]\n", "3", '"x"', "null", FENCED])
def test_json_is_json(text: str) -> None:
    assert value(json_scorer(expecting(), reply(text))) == 1


@pytest.mark.parametrize(
    "text", ["", "yes", "{'a': 1}", '{"a": 1} ok', '{"a": NaN}', "1e999", "[" * 100_000, "```"]
)
def test_what_is_not_json_is_wrong(text: str) -> None:
    assert value(json_scorer(expecting(), reply(text))) == 0


@pytest.mark.parametrize(
    ("text", "options", "right"),
    [
        (FENCED, {"fence": False}, 0),
        ('{"b": [true], "a": 1.0}', {"equals": {"a": 1, "b": [True]}}, 1),
        ('{"b": [true], "a": 1.0}', {"equals": {"a": 1, "b": [1]}}, 0),
        ('{"a":1}', {"expected": True}, 1),
        ('{"a":2}', {"expected": True}, 0),
        ('"\\ud800"', {"equals": "x"}, 0),  # a lone surrogate equals nothing
        ("null", {"equals": None}, 1),
        ("{}", {"equals": None}, 0),
        ("false", {"equals": None}, 0),
    ],
)
def test_json_may_have_to_equal_a_value_or_the_expected(
    text: str, options: Any, right: int
) -> None:
    assert value(json_scorer(expecting({"a": 1}), reply(text), **options)) == right


def test_without_an_expected_json_there_is_no_score() -> None:
    assert why(json_scorer(expecting(), reply("{}"), expected=True)) == (
        "case 'one' has no `expected`"
    )


def test_integers_of_64_bits_and_more_keep_their_digits() -> None:
    ids = 653247040368672768
    assert value(json_scorer(expecting({"id": ids}), reply(f'{{"id": {ids}}}'), expected=True)) == 1
    assert value(json_scorer(expecting(), reply(f'{{"id": {ids + 1}}}'), equals={"id": ids})) == 0
    call = sanitized(
        reply("", tool_calls=(ToolCall(name="get", arguments={"id": ids}),)), Redactor()
    )
    assert call.tool_calls[0].arguments == {"id": ids}
    assert value(tool_call(expecting({"name": "get", "arguments": {"id": ids}}), call)) == 1
    assert value(tool_call(expecting({"name": "get", "arguments": {"id": ids + 1}}), call)) == 0


def test_composed_and_decomposed_letters_are_the_same_json() -> None:
    answer = reply('{"cafe\u0301": ["cafe\u0301", "cafe\\u0301"]}')
    assert value(json_scorer(expecting(), answer, equals={"caf\u00e9": ["caf\u00e9"] * 2})) == 1
    call = reply("", tool_calls=(ToolCall(name="pay", arguments={"to": "cafe\u0301"}),))
    assert value(tool_call(expecting(), call, tool="pay", arguments={"to": "caf\u00e9"})) == 1


SEARCH = ToolCall(name="search", arguments={"q": "refund", "top": 3})


def calls(*names: str | ToolCall) -> Completion:
    made = (ToolCall(name=text, arguments={}) if isinstance(text, str) else text for text in names)
    return reply("", tool_calls=tuple(made))


@pytest.mark.parametrize(
    ("expected", "right"),
    [
        ("search", 1),
        ({"name": "search"}, 1),
        ({"name": "search", "arguments": {"q": "refund"}}, 1),
        ({"name": "search", "arguments": '{"q": "refund"}'}, 1),
        ({"type": "function", "function": {"name": "search", "arguments": '{"top": 3}'}}, 1),
        ('{"name": "search", "arguments": {"q": "refund"}}', 1),
        ('["search"]', 1),
        (["search"], 1),
        ({"name": "search", "arguments": {"q": "return"}}, 0),
        ({"name": "search", "arguments": '{"q": "return"}'}, 0),
        ({"type": "function", "function": {"name": "search", "arguments": '{"top": 4}'}}, 0),
        ({"name": "search", "arguments": {"lang": "en"}}, 0),
        ("mail", 0),
        (["search", "search"], 0),
        ([], 0),
        ("[]", 0),
    ],
)
def test_the_expected_tool_is_called_with_its_arguments(expected: Json, right: int) -> None:
    assert value(tool_call(expecting(expected), calls(SEARCH))) == right
    assert value(tool_call(expecting(), calls(SEARCH), tool=expected)) == right


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        (None, "names no tool"),
        (3, "names no tool"),
        ([{"tool": "x"}], "names no tool"),
        ({"name": ""}, "names no tool"),
        ({"name": "x", "args": {"a": 1}}, "the expected call of 'x' has 'args'"),
        ({"name": "x", "arguments": [1]}, "are no object of names and values"),
        ({"name": "x", "arguments": "a=1"}, "the arguments of 'x' are not JSON"),
        ({"name": "x", "arguments": "[1]"}, "are no object of names and values"),
        ({"function": {"name": "x"}, "arguments": {"a": 1}}, "'arguments' stands beside"),
        ('{"name": "x"', "is no tool and not JSON"),
    ],
)
def test_an_expectation_that_is_no_call_is_refused_and_never_means_anything(
    expected: Json, problem: str, tmp_path: Path
) -> None:
    assert problem in why(tool_call(expecting(expected), calls(SEARCH)))
    if expected is not None:
        assert problem in str(
            check_tool({"tool": expected}, PluginContext(root=tmp_path, environ={}))
        )


def test_arguments_beside_a_tool_that_the_case_expects_are_its_arguments() -> None:
    assert value(tool_call(expecting("search"), calls(SEARCH), arguments={"q": "refund"})) == 1
    assert value(tool_call(expecting("search"), calls(SEARCH), arguments={"q": "return"})) == 0
    assert "one tool" in why(tool_call(expecting(["a"]), calls("a"), arguments={"q": 1}))


def test_an_exact_match_allows_no_further_arguments_and_no_further_calls() -> None:
    pay: Json = {"name": "pay", "arguments": {"amount": 5}}
    paid = ToolCall(name="pay", arguments={"amount": 5})
    both: list[tuple[list[str | ToolCall], int]] = [
        ([paid], 1),
        ([paid, paid], 0),
        ([paid, "delete_all"], 0),
        ([ToolCall(name="pay", arguments={"amount": 5, "to": "x"})], 0),
    ]
    for made, exact in both:
        assert value(tool_call(expecting(pay), calls(*made))) == 1
        assert value(tool_call(expecting(pay), calls(*made), match="exact")) == exact
    assert value(tool_call(expecting([pay, pay]), calls(paid, paid), match="exact")) == 1
    assert value(tool_call(expecting([pay, pay]), calls(paid), match="exact")) == 0


@pytest.mark.parametrize("match", ["subset", "exact"])
def test_an_empty_list_expects_that_no_tool_is_called(match: Match) -> None:
    assert value(tool_call(expecting([]), reply("hello"), match=match)) == 1
    assert reason(tool_call(expecting([]), calls("mail"), match=match)) == (
        "expected no calls; the model called 'mail'({})"
    )


def test_a_call_that_fits_two_expectations_is_left_to_the_one_that_needs_it() -> None:
    made = calls(
        ToolCall(name="w", arguments={"a": 1}), ToolCall(name="w", arguments={"a": 2, "b": 1})
    )
    expected: Json = ["w", {"name": "w", "arguments": {"a": 1}}]
    assert value(tool_call(expecting(expected), made)) == 1


def test_calls_are_found_in_any_order_and_arguments_that_are_no_json_match_none() -> None:
    assert value(tool_call(expecting(["search", "mail"]), calls("mail", SEARCH))) == 1
    made = calls(ToolCall(name="search", arguments="{q:"))
    assert value(tool_call(expecting(), made, tool="search", arguments={"q": "x"})) == 0


def test_a_reason_shows_the_calls_that_were_made() -> None:
    assert reason(tool_call(expecting("mail"), reply("hello"))) == (
        "expected 'mail'({}); the model called no tool"
    )
