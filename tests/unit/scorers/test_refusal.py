from __future__ import annotations

import pytest

from llmops_cli.core.result import ToolCall
from llmops_cli.scorers.text import refusal
from tests.unit.scorers.answers import expecting, reply, value


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
    "text",
    [
        "Your refund is on its way.",
        "I'm sorry to hear that! Your card will arrive on Monday.",
        "Sorry for the delay. Here is the link.",
        "You cannot change the PIN twice a day.",
        "Our refund policy allows 30 days.",
        "Here is the answer. " * 30 + "I cannot help with more.",
    ],
)
def test_an_answer_is_no_refusal(text: str) -> None:
    assert value(refusal(expecting(), reply(text))) == 0


def test_a_content_filter_is_a_refusal() -> None:
    assert value(refusal(expecting(), reply("Sure, so", finish_reason="content_filter"))) == 1


def test_an_empty_text_beside_a_tool_call_is_no_refusal() -> None:
    calling = reply("", tool_calls=(ToolCall(name="search", arguments={}),))
    assert value(refusal(expecting(), calling)) == 0


def test_further_phrases_are_looked_for() -> None:
    result = reply("Das darf ich nicht sagen.")
    assert value(refusal(expecting(), result)) == 0
    assert value(refusal(expecting(), result, phrases=["darf ich nicht"])) == 1
