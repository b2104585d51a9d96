from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.result import FailureKind
from llmops_cli.engine.queue import LONGEST_WAIT, MAX_TRIES, RetryState
from tests.unit.engine import busy, failure

SERVER = failure(FailureKind.SERVER, status=500)


def test_backoff_doubles_up_to_its_cap() -> None:
    patience = RetryState(10, lambda: 1.0)
    waits = [patience.wait(SERVER) for _ in range(8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_retries_are_counted_over_all_kinds_of_trouble() -> None:
    patience = RetryState(3, lambda: 0.0)
    troubles = [SERVER, failure(FailureKind.TIMEOUT), failure(FailureKind.CONNECTION), SERVER]
    assert [patience.wait(each) is not None for each in troubles] == [True, True, True, False]


def test_a_rate_limit_takes_nothing_from_the_retries() -> None:
    patience = RetryState(1, lambda: 0.0)
    assert [patience.wait(busy(1.0)) for _ in range(5)] == [1.0] * 5
    assert patience.wait(SERVER) == 0.0
    assert patience.wait(SERVER) is None


def test_a_hint_longer_than_the_patience_ends_the_call() -> None:
    assert RetryState(5, lambda: 0.0).wait(busy(LONGEST_WAIT + 1)) is None


def test_no_call_is_tried_without_end_even_if_no_wait_ever_lasts() -> None:
    patience = RetryState(5, lambda: 0.0)
    tried = 1
    while patience.wait(busy()) is not None:
        tried += 1
    assert tried == MAX_TRIES


@pytest.mark.parametrize("kind", FailureKind)
def test_what_is_not_retryable_is_never_tried_again(kind: FailureKind) -> None:
    assert RetryState(5, lambda: 0.5).wait(failure(kind, retryable=False)) is None


@given(
    hint=st.floats(0, LONGEST_WAIT / 2),
    jitter=st.floats(0, 1, exclude_max=True),
    before=st.integers(0, 3),
)
def test_a_wait_is_never_shorter_than_the_server_asked(
    hint: float, jitter: float, before: int
) -> None:
    patience = RetryState(10, lambda: jitter)
    for _ in range(before):
        patience.wait(SERVER)
    wait = patience.wait(busy(hint))
    assert wait is not None
    assert hint <= wait <= hint + 1.0


@given(jitters=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60))
def test_a_call_never_waits_longer_than_its_patience(jitters: list[float]) -> None:
    drawn = iter(jitters)
    patience = RetryState(100, lambda: next(drawn))
    waits = [wait for _ in jitters if (wait := patience.wait(busy())) is not None]
    assert sum(waits) <= LONGEST_WAIT
