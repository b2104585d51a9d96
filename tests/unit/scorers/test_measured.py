from __future__ import annotations

from llmops_cli.core.result import Usage
from llmops_cli.scorers.text import cost, latency, tokens
from tests.unit.scorers.answers import expecting, reply, value, why

MEASURED = reply("x", latency=0.5, cost=0.002, usage=Usage(input=10, output=5))


def test_a_call_has_its_seconds_dollars_and_tokens() -> None:
    assert value(latency(expecting(), MEASURED)) == 0.5
    assert value(cost(expecting(), MEASURED)) == 0.002
    assert value(tokens(expecting(), MEASURED)) == 15
    assert value(tokens(expecting(), MEASURED, count="input")) == 10
    assert value(tokens(expecting(), MEASURED, count="output")) == 5


def test_a_reused_answer_has_no_latency() -> None:
    assert why(latency(expecting(), reply("x"))) == (
        "this answer is cached, and a cached answer has no latency; --no-cache calls again"
    )


def test_the_first_token_has_its_own_seconds_where_it_was_streamed() -> None:
    streamed = reply("x", latency=0.5, first_token=0.2)
    assert value(latency(expecting(), streamed, of="first_token")) == 0.2
    assert value(latency(expecting(), streamed, of="whole")) == 0.5
    at_once = latency(expecting(), MEASURED, of="first_token")
    assert why(at_once) == "this answer did not come as a stream: it has no first token"


def test_an_unpriced_call_has_no_cost_and_one_without_usage_no_tokens() -> None:
    assert "no price" in why(cost(expecting(), reply("x")))
    assert why(tokens(expecting(), reply("x"))) == "the provider reported no usage for this call"
