from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_cli.engine.queue import START, LocalCounter, Pace, Slots
from tests.unit.engine import in_virtual_time


def after(slots: Slots, answers: int) -> int:
    for _ in range(answers):
        slots.answered()
    return int(slots.width)


def test_a_model_starts_with_no_more_than_it_may_have() -> None:
    assert (Slots(5).width, Slots(500).width) == (5, START)


def test_slow_start_doubles_in_a_round() -> None:
    slots = Slots(500)
    assert [after(slots, int(slots.width)) for _ in range(3)] == [40, 80, 160]


def test_growth_ends_at_the_maximum() -> None:
    assert after(Slots(50), 1000) == 50


def test_a_push_back_cuts_to_80_percent_once_per_episode() -> None:
    slots = Slots(100)
    after(slots, 80)
    began = slots.episode
    for _ in range(30):
        slots.pushed_back(began)
    assert int(slots.width) == 80
    slots.pushed_back(slots.episode)
    assert int(slots.width) == 64


def test_after_a_cut_it_recovers_by_one_or_5_percent_in_a_round() -> None:
    slots = Slots(100)
    after(slots, 80)
    slots.pushed_back(slots.episode)
    assert after(slots, 80) == 83
    assert after(slots, 5000) == 100


def test_the_limit_never_falls_under_one_and_always_comes_back() -> None:
    slots = Slots(10)
    for _ in range(100):
        slots.pushed_back(slots.episode)
    assert int(slots.width) == 1
    assert after(slots, 200) == 10


def test_opened_slots_let_everyone_through() -> None:
    async def main() -> float:
        slots = Slots(1)

        async def wait() -> None:
            async with slots.limiter:
                await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(wait)
            await anyio.sleep(0.5)
            slots.open()
        return anyio.current_time()

    assert in_virtual_time(main) == 1.5


@pytest.mark.parametrize("per_minute", [1, 30, 60, 6000])
def test_the_first_of_a_pace_never_waits(per_minute: int) -> None:
    async def main() -> float:
        return Pace(per_minute, LocalCounter()).take(1)

    assert in_virtual_time(main) == 0.0


@settings(max_examples=50)
@given(per_minute=st.integers(1, 6000), count=st.integers(1, 200))
def test_a_rate_is_kept_over_every_span(per_minute: int, count: int) -> None:
    async def main() -> list[float]:
        pace, started = Pace(per_minute, LocalCounter()), []
        for _ in range(count):
            while (wait := pace.take(1)) > 0:  # noqa: ASYNC110 - the wait is known beforehand
                await anyio.sleep(wait)
            started.append(anyio.current_time())
        return started

    started = in_virtual_time(main)
    burst = max(1.0, per_minute / 60)
    for i, first in enumerate(started):
        for j in range(i, len(started)):
            allowed = (started[j] - first) * per_minute / 60 + burst
            assert j - i + 1 <= allowed + 1e-6


def test_what_was_taken_too_large_is_given_back() -> None:
    async def main() -> list[float]:
        pace = Pace(60, LocalCounter())
        pace.take(10)
        dear = pace.take(1)
        pace.settle(-8)
        return [dear, pace.take(1)]

    assert in_virtual_time(main) == [10.0, 2.0]


def test_a_waiting_call_has_taken_nothing_yet() -> None:
    async def main() -> list[float]:
        pace = Pace(60, LocalCounter())
        return [pace.take(1), *(pace.take(1) for _ in range(100))]

    assert in_virtual_time(main) == [0.0, *([1.0] * 100)]
