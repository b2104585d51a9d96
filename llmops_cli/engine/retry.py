"""Decides whether a failed call is tried again, and after how long.

A wait is never shorter than what the server asked for, and always has jitter, so that calls that
failed together do not come back together (Brooker, "Exponential Backoff And Jitter", 2015).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from llmops_cli.core.result import Failure, FailureKind

LONGEST_WAIT = 300.0
"""Seconds one call waits, in all, for a rate limit to clear."""
MAX_TRIES = 50
"""The most attempts at one call, for any failures and waits."""
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0


class RetryState:
    """How often and how long one call is tried again.

    Rate limits are waited for, however often, up to `LONGEST_WAIT` seconds; an answer that could
    not be read is requested once more; everything else that may pass is tried `retries` times.
    With `retries` 0 nothing is tried twice.
    """

    __slots__ = ("_jitter", "_retries", "_tries", "_waited")

    def __init__(self, retries: int, jitter: Callable[[], float]) -> None:
        """`jitter`: a number in [0, 1), for every wait a new one."""
        self._retries = retries
        self._jitter = jitter
        self._tries: Counter[FailureKind] = Counter()
        self._waited = 0.0

    def wait(self, failure: Failure) -> float | None:
        """Return the seconds to wait before the next attempt; None: this failure is final."""
        if not failure.retryable or self._retries <= 0:
            return None
        tries = self._tries
        tries[failure.kind] += 1
        if (
            tries.total() - tries[FailureKind.RATE_LIMITED] > self._retries
            or tries[FailureKind.BAD_ANSWER] > 1
            or tries.total() >= MAX_TRIES
        ):
            return None
        wait = self._next(failure.retry_after, tries[failure.kind])
        if self._waited + wait > LONGEST_WAIT:
            return None
        self._waited += wait
        return wait

    def _next(self, server_wait: float | None, tries: int) -> float:
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(tries - 1, 16))
        jitter = self._jitter()
        return jitter * backoff if server_wait is None else server_wait + jitter * min(1.0, backoff)
