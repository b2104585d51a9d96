"""What the openai provider makes of what compatible servers really answer, over a real socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from llmops_cli.core.result import Completion, Failure, Outcome
from tests.servers.compatible import ANSWERS, ERRORS, Recorded
from tests.unit.providers.calls import ask


def told(outcome: Outcome, of: Mapping[str, Any]) -> dict[str, Any]:
    """`outcome` in the words of a table's row, as far as the row speaks about it."""
    if isinstance(outcome, Failure):
        says = of.get("says")
        all_told: dict[str, Any] = {
            "failure": outcome.kind.value,
            "says": says if says and says in outcome.message else outcome.message,
            "retryable": outcome.retryable,
            "wait": outcome.retry_after,
        }
    else:
        usage = outcome.usage
        all_told = {
            "text": outcome.text,
            "finish_reason": outcome.finish_reason,
            "calls": [[call.name, call.arguments] for call in outcome.tool_calls],
            "usage": usage and [usage.input, usage.output, usage.cached_input],
        }
    return {key: all_told.get(key, f"({outcome})") for key in of}


def name_of(value: object) -> str:
    """A row's name in the test's."""
    return str(value) if isinstance(value, Recorded) else ""


@pytest.mark.parametrize(("recorded", "expected"), ANSWERS, ids=name_of)
def test_an_answer_means_what_its_server_means(
    recorded: Recorded, expected: Mapping[str, Any]
) -> None:
    assert told(ask(recorded.behaviour, retries=0)[0], expected) == expected


@pytest.mark.parametrize(("recorded", "expected"), ERRORS, ids=name_of)
def test_an_error_is_reported_in_its_server_s_words(
    recorded: Recorded, expected: Mapping[str, Any]
) -> None:
    assert told(ask(recorded.behaviour, retries=0)[0], expected) == expected


def test_reasoning_is_no_part_of_the_answer_and_never_of_its_digest() -> None:
    plain, thinking = (
        next(ask(each.behaviour, retries=0)[0] for each, _ in ANSWERS if str(each) == name)
        for name in ("NIM: reasoning", "Ollama: reasoning")
    )
    assert isinstance(plain, Completion)
    assert isinstance(thinking, Completion)
    assert plain.digest == thinking.digest == Completion(text="42").digest
