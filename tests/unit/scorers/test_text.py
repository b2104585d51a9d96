from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.result import Completion, ToolCall, Usage
from llmops_cli.scorers.text import (
    check_regex,
    contains,
    cost,
    ends_with,
    exact,
    latency,
    length,
    refusal,
    regex_scorer,
    starts_with,
    tokens,
)
from tests.counting import calls_made_by
from tests.unit.scorers.answers import expecting, reason, reply, value, why

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("scorer", "expected", "answer", "options", "score"),
    [
        (exact, "yes", "yes", {}, 1),
        (exact, "yes", "no", {}, 0),
        (exact, "yes", "no", {"value": "no"}, 1),  # a value goes before the expected
        (exact, ["yes", "sure"], "sure", {}, 1),  # a list means any of its texts
        (starts_with, None, "sure thing", {"value": ["yes", "sure"]}, 1),
        (exact, "yes", " yes\n", {}, 1),
        (exact, "yes", " yes\n", {"strip": False}, 0),
        (exact, COMPOSED, DECOMPOSED, {}, 1),
        (exact, 42, "42", {}, 1),  # numbers and booleans are expected as they are written
        (exact, True, "true", {}, 1),
        (contains, 30, "30 days", {}, 1),
        (contains, None, "30 days, 4 eyes", {"all": [30, "days", 4]}, 1),
        (contains, None, "refund within 30 days", {"all": ["refund", "30 days"]}, 1),
        (contains, None, "refund", {"all": ["refund", "30 days"]}, 0),
        (contains, None, "refund within", {"value": ["x", "within"], "all": ["refund"]}, 1),
        (contains, None, "refund within", {"value": "x", "all": ["refund"]}, 0),
        (contains, "x", "", {}, 0),
        (starts_with, "yes", "  yes, no", {}, 1),
        (starts_with, "no", "yes, no", {}, 0),
        (ends_with, "no", "yes, no\n", {}, 1),
        (ends_with, "yes", "yes, no", {}, 0),
        (length, None, "  four\n", {}, 4),  # without the white space around
        (length, None, DECOMPOSED, {}, 4),
        (regex_scorer, None, "order 42 sent", {"pattern": r"\d+"}, 1),
        (regex_scorer, None, "order 42 sent", {"pattern": r"\d+", "whole": True}, 0),
        (regex_scorer, None, "YES", {"pattern": "yes"}, 0),
        (regex_scorer, None, "YES", {"pattern": "yes", "ignore_case": True}, 1),
        (regex_scorer, None, "a\nb", {"pattern": "^b", "multiline": True}, 1),
        (regex_scorer, None, "a\nb", {"pattern": "a.b", "dotall": True}, 1),
        (regex_scorer, None, DECOMPOSED, {"pattern": f"^{COMPOSED}$"}, 1),
        (regex_scorer, None, COMPOSED, {"pattern": f"^{DECOMPOSED}$"}, 1),
        (regex_scorer, None, DECOMPOSED, {"pattern": "caf.", "whole": True}, 1),
    ],
)
def test_an_answer_is_compared_with_what_is_expected(
    scorer: Callable[..., object], expected: Json, answer: str, options: Any, score: float
) -> None:
    assert value(scorer(expecting(expected), reply(answer), **options)) == score


@pytest.mark.parametrize(
    ("answered", "ignoring"),
    [
        ("YES, Sir", {"ignore_case": True}),
        ("yes,  sir", {"ignore_space": True}),
        ("yes sir!", {"ignore_punctuation": True}),
    ],
)
def test_what_is_ignored_is_ignored_only_when_asked(
    answered: str, ignoring: dict[str, bool]
) -> None:
    assert value(exact(expecting("yes, sir"), reply(answered))) == 0
    assert value(exact(expecting("yes, sir"), reply(answered), **ignoring)) == 1


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("3.14", "314"), ("-5", "5"), ("−5", "5"), ("1.0", "10"), ("1,5", "15"), ("1/2", "12"),
        ("12:30", "1230"), ("1e-5", "1e5"), ("<18", ">18"), (".5", "5"), ("A+", "A-"),
        ("C++", "C"),
    ],
)  # fmt: skip
def test_a_sign_or_a_decimal_point_is_no_punctuation(expected: str, answer: str) -> None:
    for one, other in ((expected, answer), (answer, expected)):
        assert value(exact(expecting(one), reply(other), ignore_punctuation=True)) == 0
        assert value(exact(expecting(one), reply(f"({one})."), ignore_punctuation=True)) == 1


def test_punctuation_is_compared_where_a_text_has_nothing_else() -> None:
    for expected, answer in (("👍", "👎"), ("?", "!"), ("...", "")):
        assert value(exact(expecting(expected), reply(answer), ignore_punctuation=True)) == 0
        assert value(exact(expecting(expected), reply(expected), ignore_punctuation=True)) == 1


def test_minus_signs_and_thousands_are_alike_where_punctuation_is_ignored() -> None:
    assert value(exact(expecting("-5"), reply("−5!"), ignore_punctuation=True)) == 1
    assert value(exact(expecting("1,000"), reply("$1000"), ignore_punctuation=True)) == 1
    assert value(contains(expecting("314"), reply("It is 3.14."), ignore_punctuation=True)) == 0


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ({"a": 1}, "what is expected is neither a text nor a list of texts"),
        (None, "nothing to compare with: case 'one' has no `expected`"),
    ],
)
def test_without_an_expected_text_there_is_no_score(expected: Json, problem: str) -> None:
    assert why(exact(expecting(expected), reply("x"))) == problem


def test_a_reason_says_what_was_expected_and_the_start_of_what_came() -> None:
    assert reason(contains(expecting("refund"), reply("your return"))) == (
        "expected to contain 'refund'; the answer is 'your return'"
    )
    assert reason(exact(expecting("a"), reply("b" * 5000))) == (
        f"expected 'a'; the answer is '{'b' * 120}' …"
    )
    assert reason(regex_scorer(expecting(), reply("order 42"), pattern=r"\d+")) == (
        "'\\\\d+' matches '42'"
    )


@pytest.mark.parametrize("scorer", [contains, starts_with, ends_with])
def test_an_empty_expectation_is_in_every_answer_and_so_measures_nothing(
    scorer: Callable[..., object],
) -> None:
    assert why(scorer(expecting(""), reply("x"))) == (
        "the expected text is empty, and so in every answer"
    )


@pytest.mark.parametrize("scorer", [exact, contains])
def test_a_score_is_little_work(scorer: Callable[..., object]) -> None:
    case, answer = expecting("refund"), reply("The refund is on its way.")
    assert calls_made_by(lambda: scorer(case, answer)) < 50


def test_a_pattern_that_backtracks_without_end_is_unscored() -> None:
    result = regex_scorer(expecting(), reply("a" * 5000 + "b"), pattern=r"^(a|a)*$")
    assert "backtracks" in why(result)  # without its deadline it takes years


def test_a_pattern_that_does_not_compile_is_seen_before_any_call(tmp_path: Path) -> None:
    context = PluginContext(root=tmp_path, environ={})
    assert check_regex({"pattern": "ok"}, context) is None
    wrong = str(check_regex({"pattern": "(ok"}, context))
    assert wrong.startswith("'(ok' is not a regular expression")
    # from a template it is seen when it is used
    assert why(regex_scorer(expecting(), reply("x"), pattern="(ok")) == wrong


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot assist with that request.",
        "Sorry, I can't do that.",
        "I cannot provide instructions for that.",
        "I'm not able to discuss this topic.",
        "I am unable to help.",
        "As an AI language model, I don't have opinions.",
        "I must decline this request.",
        "That's not something I can help with.",
        "This request violates our content policy.",
        "I won't write that for you.",
        "",
    ],
)
def test_words_of_refusal_are_a_refusal(text: str) -> None:
    assert value(refusal(expecting(), reply(text))) == 1


@pytest.mark.parametrize(
    "answer",
    [
        reply("Your refund is on its way."),
        reply("I'm sorry to hear that! Your card will arrive on Monday."),
        reply("Sorry for the delay. Here is the link."),
        reply("You cannot change the PIN twice a day."),
        reply("Our refund policy allows 30 days."),
        reply("Here is the answer. " * 30 + "I cannot help with more."),
        reply("", tool_calls=(ToolCall(name="search", arguments={}),)),
    ],
)
def test_an_answer_is_no_refusal(answer: Completion) -> None:
    assert value(refusal(expecting(), answer)) == 0


def test_a_content_filter_and_further_phrases_are_refusals() -> None:
    assert value(refusal(expecting(), reply("Sure, so", finish_reason="content_filter"))) == 1
    answer = reply("Das darf ich nicht sagen.")
    assert value(refusal(expecting(), answer)) == 0
    assert value(refusal(expecting(), answer, phrases=["darf ich nicht"])) == 1


MEASURED = reply("x", latency=0.5, cost=0.002, usage=Usage(input=10, output=5))


def test_a_call_has_its_seconds_dollars_and_tokens() -> None:
    assert value(latency(expecting(), MEASURED)) == 0.5
    assert value(cost(expecting(), MEASURED)) == 0.002
    assert value(tokens(expecting(), MEASURED)) == 15
    assert value(tokens(expecting(), MEASURED, count="input")) == 10
    assert value(tokens(expecting(), MEASURED, count="output")) == 5


def test_the_first_token_has_its_own_seconds_where_it_was_streamed() -> None:
    streamed = reply("x", latency=0.5, first_token=0.2)
    assert value(latency(expecting(), streamed, of="first_token")) == 0.2
    assert value(latency(expecting(), streamed, of="whole")) == 0.5
    at_once = latency(expecting(), MEASURED, of="first_token")
    assert why(at_once) == "this answer did not come as a stream: it has no first token"


def test_what_was_not_measured_is_unscored() -> None:
    assert why(latency(expecting(), reply("x"))) == (
        "this answer is cached, and a cached answer has no latency; --no-cache calls again"
    )
    assert "no price" in why(cost(expecting(), reply("x")))
    assert why(tokens(expecting(), reply("x"))) == "the provider reported no usage for this call"
