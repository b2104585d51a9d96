"""What the openai provider makes of what compatible servers really answer, over a real socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.result import Completion, Failure, Outcome
from llmops_cli.providers.openai.model import open_openai
from tests.servers import faulty
from tests.servers.compatible import ANSWERS, ERRORS, Recorded
from tests.servers.faulty import Behaviour


def asked(behaviour: Behaviour) -> Outcome:
    """What one call came to."""

    async def main() -> Outcome:
        async with faulty.serve(behaviour) as server:
            model = Model(name="m", provider="openai", model="m", base_url=server.url)
            turn = Message(role="user", content="hello")
            request = Request(provider="openai", model="m", messages=(turn,))
            async with open_openai(model, PluginContext(root=Path(), environ={})) as provider:
                return await provider.complete(request)

    return anyio.run(main)


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
    assert told(asked(recorded.behaviour), expected) == expected


@pytest.mark.parametrize(("recorded", "expected"), ERRORS, ids=name_of)
def test_an_error_is_reported_in_its_server_s_words(
    recorded: Recorded, expected: Mapping[str, Any]
) -> None:
    assert told(asked(recorded.behaviour), expected) == expected


def test_reasoning_is_no_part_of_the_answer_and_never_of_its_digest() -> None:
    plain, thinking = (
        next(asked(each.behaviour) for each, _ in ANSWERS if str(each) == name)
        for name in ("NIM: reasoning", "Ollama: reasoning")
    )
    assert isinstance(plain, Completion)
    assert isinstance(thinking, Completion)
    assert plain.digest == thinking.digest == Completion(text="42").digest
