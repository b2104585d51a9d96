"""When to stop asking a model: it refuses everyone, nobody is there, or nothing works.

A run of a thousand cases against a wrong key is one problem, not a thousand. The circuit watches
what attempts and calls came to, and opens once, with one cause; it never closes again, because
what a run measures is decided by its end, not by a lucky moment.
"""

from __future__ import annotations

import anyio

from llmops_cli.core.result import Failure, FailureKind, Outcome
from llmops_cli.engine.retry import PATIENCE

REFUSALS = 3
"""Calls in a row that are answered 401, 403 or 404."""
FAILED_CALLS = 10
"""Calls in a row that failed for good, each after its retries."""
UNREACHED = 3
"""Attempts that reached nobody, with none that ever did …"""
GRACE = 3.0
"""… for this many seconds: a server that restarts is given a chance."""

_REFUSED = frozenset({FailureKind.AUTHENTICATION, FailureKind.NOT_FOUND})
_UNREACHABLE = frozenset({FailureKind.CONNECTION, FailureKind.TIMEOUT})
_MAYBE_THE_CASE = frozenset(
    {FailureKind.BAD_REQUEST, FailureKind.BAD_ANSWER, FailureKind.TOO_LARGE}
)
_TROUBLE = _UNREACHABLE | {FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.RATE_LIMITED}


class Circuit:
    """Counts what went wrong in a row. `cause` is None until it opens."""

    __slots__ = ("_answered", "_failed", "_first_miss", "_misses", "_refused", "cause")

    def __init__(self) -> None:
        self.cause: str | None = None
        self._answered = False
        self._refused = 0
        self._failed = 0
        self._misses = 0
        self._first_miss = 0.0

    def attempted(self, outcome: Outcome) -> None:
        """One attempt came to `outcome`."""
        if not isinstance(outcome, Failure):
            self._answered = True
            self._refused = self._failed = 0
        elif outcome.kind in _REFUSED:
            self._refused += 1
            if self._refused >= REFUSALS:
                self._open(f"{self._refused} calls in a row were refused", outcome)
        elif outcome.kind in _UNREACHABLE and not self._answered:
            self._miss(outcome)
        elif outcome.kind is FailureKind.RATE_LIMITED:
            if not outcome.retryable:
                self._open("the model's quota is used up", outcome)
            elif (outcome.retry_after or 0.0) > PATIENCE:
                self._open("the model asks to wait longer than a run can", outcome)

    def failed(self, failure: Failure) -> None:
        """One call failed for good."""
        hopeless = failure.kind in _MAYBE_THE_CASE and not self._answered
        if hopeless or failure.kind in _TROUBLE:
            self._failed += 1
            if self._failed >= FAILED_CALLS:
                self._open(f"{self._failed} calls in a row failed", failure)

    def _miss(self, failure: Failure) -> None:
        now = anyio.current_time()
        self._first_miss = self._first_miss if self._misses else now
        self._misses += 1
        if self._misses >= UNREACHED and now - self._first_miss >= GRACE:
            self._open("no call was ever answered", failure)

    def _open(self, what: str, failure: Failure) -> None:
        if self.cause is None:
            self.cause = f"{what}: {failure.message}"
