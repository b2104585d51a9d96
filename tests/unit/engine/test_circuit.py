from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from llmops_cli.core.result import FailureKind
from llmops_cli.engine.queue import FAILED_CALLS, GRACE, REFUSALS, UNREACHED, CircuitBreaker
from tests.unit.engine import GOOD, busy, failure, in_virtual_time

REFUSED = failure(FailureKind.AUTHENTICATION, status=401, retryable=False, message="wrong key")
LOST = failure(FailureKind.CONNECTION, message="refused")


def cause_after(act: Callable[[CircuitBreaker], None]) -> str | None:
    circuit = CircuitBreaker()
    act(circuit)
    return circuit.cause


def test_refusals_count_only_in_a_row() -> None:
    def act(circuit: CircuitBreaker) -> None:
        for _ in range(10):
            for _ in range(REFUSALS - 1):
                circuit.attempted(REFUSED)
            circuit.attempted(GOOD)

    assert cause_after(act) is None


def test_the_first_cause_stays() -> None:
    def act(circuit: CircuitBreaker) -> None:
        for _ in range(REFUSALS):
            circuit.attempted(REFUSED)
        circuit.attempted(busy(86400.0))

    assert cause_after(act) == "3 calls in a row were refused: wrong key"


@pytest.mark.parametrize(
    ("attempts", "apart", "opens"),
    [
        (UNREACHED, GRACE, True),
        (UNREACHED, GRACE / 4, False),
        (UNREACHED - 1, GRACE * 2, False),
    ],
)
def test_an_unreachable_server_needs_several_attempts_over_some_seconds(
    attempts: int, apart: float, opens: bool
) -> None:
    async def main() -> str | None:
        circuit = CircuitBreaker()
        for _ in range(attempts):
            circuit.attempted(LOST)
            await anyio.sleep(apart)
        return circuit.cause

    assert (in_virtual_time(main) == "no call was ever answered: refused") is opens


def test_a_server_that_once_answered_is_judged_by_calls_that_failed_for_good() -> None:
    def act(circuit: CircuitBreaker) -> None:
        circuit.attempted(GOOD)
        for _ in range(FAILED_CALLS):
            circuit.failed(LOST)

    assert cause_after(act) == f"{FAILED_CALLS} calls in a row failed: refused"


def test_an_answer_between_keeps_it_closed() -> None:
    def act(circuit: CircuitBreaker) -> None:
        for _ in range(5):
            for _ in range(FAILED_CALLS - 1):
                circuit.failed(LOST)
            circuit.attempted(GOOD)

    assert cause_after(act) is None


@pytest.mark.parametrize(
    ("kind", "answered", "opens"),
    [
        (FailureKind.BAD_REQUEST, False, True),
        (FailureKind.BAD_REQUEST, True, False),
        (FailureKind.BAD_ANSWER, False, True),
        (FailureKind.BAD_ANSWER, True, False),
        (FailureKind.TOO_LARGE, False, True),
        (FailureKind.TOO_LARGE, True, False),
        (FailureKind.NO_RECORD, False, False),
        (FailureKind.SERVER, True, True),
    ],
)
def test_what_may_be_about_the_case_never_stops_a_model_that_works(
    kind: FailureKind, answered: bool, opens: bool
) -> None:
    def act(circuit: CircuitBreaker) -> None:
        if answered:
            circuit.attempted(GOOD)
        for _ in range(FAILED_CALLS * 2):
            circuit.failed(failure(kind))

    assert (cause_after(act) is not None) is opens


def test_a_used_up_quota_stops_at_once() -> None:
    spent = failure(FailureKind.RATE_LIMITED, status=429, retryable=False, message="no credit")
    assert cause_after(lambda circuit: circuit.attempted(spent)) == (
        "the model's quota is used up: no credit"
    )
