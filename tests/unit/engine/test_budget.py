from __future__ import annotations

import anyio
import pytest

from llmops_cli.core.prompt import Message, Request
from llmops_cli.engine.budget import ASSUMED_OUTPUT, Account, Budget, Reservation, ceiling
from tests.unit.engine import in_virtual_time, request


def test_a_call_waits_for_open_reservations_before_it_gives_up() -> None:
    async def main() -> list[str | None]:
        ledger = Account(Budget(tokens=100))
        first = Reservation(calls=1, tokens=80)
        assert await ledger.reserve(first) is None
        answers: list[str | None] = []

        async def second() -> None:
            answers.append(await ledger.reserve(Reservation(calls=1, tokens=50)))

        async with anyio.create_task_group() as group:
            group.start_soon(second)
            await anyio.sleep(1)
            ledger.settle(first, Reservation(calls=1, tokens=10))
        return answers

    assert in_virtual_time(main) == [None]


def test_it_gives_up_when_nothing_more_can_be_given_back() -> None:
    async def main() -> str | None:
        ledger = Account(Budget(tokens=100))
        first = Reservation(calls=1, tokens=80)
        await ledger.reserve(first)
        ledger.settle(first, first)
        return await ledger.reserve(Reservation(calls=1, tokens=50))

    assert in_virtual_time(main) == "the budget does not cover another call: --max-tokens 100"


def test_closing_the_budget_wakes_all_waiting_calls() -> None:
    async def main() -> str | None:
        ledger = Account(Budget(calls=1))
        await ledger.reserve(Reservation(calls=1))
        ledger.close()
        return await ledger.reserve(Reservation(calls=1))

    assert in_virtual_time(main) == "the budget is used up: --max-calls 1"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_ceiling_takes_the_maximum_that_the_request_names(name: str) -> None:
    assert ceiling(request("x" * 300, **{name: 77})).output == 77


def test_a_ceiling_without_a_maximum_assumes_one() -> None:
    usage = ceiling(request("x" * 300))
    assert usage.output == ASSUMED_OUTPUT
    assert usage.input >= 100


def test_parts_count_too() -> None:
    turn = Message(role="user", content=({"type": "text", "text": "x" * 600},))
    asked = Request(provider="p", model="m", messages=(turn,))
    assert ceiling(asked).input >= 200
