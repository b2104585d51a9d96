"""The queue of one model: concurrency, rate limits, retries, deadlines and the circuit breaker.

An attempt holds a slot only while its request is out. Waiting for a retry gives the slot back; if a
model says when to retry, all its calls wait until then. Once a queue is stopped, calls that haven't
started fail with the cause, and running ones may finish.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import OpenSharedCounter, Provider, ignore_wait
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.budget import Account, Reservation, ceiling
from llmops_cli.engine.limits import Rates, Slots
from llmops_cli.engine.prices import Tariff, highest
from llmops_cli.engine.retry import LONGEST_WAIT, RetryState

REFUSALS = 3
"""Calls in a row that are answered 401, 403 or 404."""
FAILED_CALLS = 10
"""Calls in a row that failed for good, each after its retries."""
UNREACHED = 3
"""Attempts that reached no server, with none that ever did …"""
GRACE = 3.0
"""… for this many seconds: a server that restarts is given a chance."""

_REFUSED = frozenset({FailureKind.AUTHENTICATION, FailureKind.NOT_FOUND})
_UNREACHABLE = frozenset({FailureKind.CONNECTION, FailureKind.TIMEOUT})
_MAYBE_THE_CASE = frozenset(
    {FailureKind.BAD_REQUEST, FailureKind.BAD_ANSWER, FailureKind.TOO_LARGE}
)
_MAYBE_BILLED = frozenset({FailureKind.TIMEOUT, FailureKind.BAD_ANSWER, FailureKind.TOO_LARGE})
_SERVER_FAULTS = _UNREACHABLE | {
    FailureKind.SERVER,
    FailureKind.OVERLOADED,
    FailureKind.RATE_LIMITED,
}
_PUSHED_BACK = {
    FailureKind.RATE_LIMITED: "says: too many requests; waiting",
    FailureKind.OVERLOADED: "says that it is overloaded; waiting",
}


class CircuitBreaker:
    """Decides when to stop calling a model: every call is refused, fails or can't reach it.

    A run of a thousand cases with a wrong key is one problem, not a thousand. It opens once, with
    one cause, and never closes again: what a run measures is decided by its end, not by a lucky
    moment. `cause` is None until it opens.
    """

    __slots__ = ("_answered", "_failed", "_first_miss", "_misses", "_refused", "cause")

    def __init__(self) -> None:
        self.cause: str | None = None
        self._answered = False
        self._refused = 0
        self._failed = 0
        self._misses = 0
        self._first_miss = 0.0

    def attempted(self, outcome: Outcome) -> None:
        """Count one attempt that ended in `outcome`."""
        if not isinstance(outcome, Failure):
            self._answered = True
            self._refused = self._failed = 0
        elif outcome.kind in _REFUSED:
            self._refused += 1
            if self._refused >= REFUSALS:
                self._open(f"{self._refused} calls in a row were refused", outcome)
        elif outcome.kind in _UNREACHABLE and not self._answered:
            now = anyio.current_time()
            self._first_miss = self._first_miss if self._misses else now
            self._misses += 1
            if self._misses >= UNREACHED and now - self._first_miss >= GRACE:
                self._open("no call was ever answered", outcome)
        elif outcome.kind is FailureKind.RATE_LIMITED:
            if not outcome.retryable:
                self._open("the model's quota is used up", outcome)
            elif (outcome.retry_after or 0.0) > LONGEST_WAIT:
                self._open("the model asks to wait longer than a run can", outcome)

    def failed(self, failure: Failure) -> None:
        """Count one call that failed for good."""
        hopeless = failure.kind in _MAYBE_THE_CASE and not self._answered
        if hopeless or failure.kind in _SERVER_FAULTS:
            self._failed += 1
            if self._failed >= FAILED_CALLS:
                self._open(f"{self._failed} calls in a row failed", failure)

    def _open(self, what: str, failure: Failure) -> None:
        if self.cause is None:
            self.cause = f"{what}: {failure.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What the queues of one engine have in common."""

    account: Account
    counts_tokens: bool
    jitter: Callable[[], float]
    sent: Callable[[], None]
    """Called once for every request that is sent."""
    counters: OpenSharedCounter
    """Counts the rates per minute."""
    tell: Callable[[str], None] = ignore_wait
    """Called with what holds calls up, and with the empty text when they go on."""


class ModelQueue:
    """Calls to one model. Made where the loop runs; `provider` is open as long as it is used."""

    def __init__(
        self,
        model: Model,
        provider: Provider,
        *,
        price: Tariff | None,
        context: RunContext,
        key: str = "",
    ) -> None:
        """`key` names what counts against the same rates per minute."""
        limits = model.limits
        self.model = model
        self._provider = provider
        self._price = price
        self._context = context
        self._timeout = limits.timeout
        self._slots = Slots(limits.max_concurrency)
        self._rates = Rates(limits, context.counters, key)
        self._breaker = CircuitBreaker()
        self._paused_until = 0.0
        self._stopped = anyio.Event()
        self._why: str | None = None
        self._notice = ""
        self._recorded = hasattr(provider, "identity")
        self._check: Callable[[Request], None] | None = getattr(provider, "check", None)

    def stop(self, why: str) -> None:
        """Start no further call; every waiting call ends with `why`."""
        if self._why is None:
            self._why = why
            self._stopped.set()
            self._slots.open()

    async def call(self, request: Request) -> Outcome:
        """Make one call: attempts until one is answered or no further one is allowed.

        Raises `Refused` for a request that the provider can never send.
        """
        if not self.model.holds(request.response_format):
            raise Refused(
                f"{self.model.name} can hold no answer to {request.response_format}",
                hint=f"its `structured_output` is {self.model.structured_output} in llmops.yaml",
            )
        if self._check is not None:
            self._check(request)
        retry = RetryState(self.model.limits.retries, self._context.jitter)
        attempts, failure = 0, None
        while True:
            outcome = await self._attempt(request)
            if outcome is None:
                return self._not_attempted(failure, attempts)
            if isinstance(outcome, Failure) and outcome.kind is FailureKind.BUDGET:
                return outcome if failure is None else replace(failure, attempts=attempts)
            attempts += 1
            if isinstance(outcome, Completion):
                return outcome if attempts == 1 else replace(outcome, attempts=attempts)
            failure = outcome
            wait = retry.wait(failure)
            if wait is None:
                self._breaker.failed(failure)
                self._stop_if_open()
                return replace(failure, attempts=attempts)
            await self._sleep(wait)

    def _not_attempted(self, failure: Failure | None, attempts: int) -> Failure:
        """Return the outcome of a call that the stop prevented from its (next) attempt."""
        if failure is not None and self._breaker.cause is not None:
            return replace(failure, attempts=attempts)
        why = f"{self.model.name}: {self._why}"
        return Failure(kind=FailureKind.NOT_ATTEMPTED, message=why, attempts=attempts)

    async def _attempt(self, request: Request) -> Outcome | None:
        """Make one attempt; None: the queue is stopped, nothing was sent."""
        async with self._slots:
            await self._wait_for_pause()
            tokens = await self._rates.turn(request, self._stopped)
            if self._stopped.is_set():
                self._rates.settle(tokens, 0)
                return None
            reserved = self._reservation(request)
            refused = await self._context.account.reserve(reserved)
            if refused is not None:
                return Failure(kind=FailureKind.BUDGET, message=refused, attempts=0)
            if self._stopped.is_set():
                self._context.account.settle(reserved, Reservation())
                return None
            episode = self._slots.episode
            self._context.sent()
            try:
                outcome = await self._within_deadline(request)
            except BaseException:
                self._context.account.settle(reserved, reserved)  # cut short: maybe billed
                raise
            self._settle(outcome, reserved, tokens)
            self._adapt(outcome, episode)
            return outcome

    async def _wait_for_pause(self) -> None:
        """Wait until the model may be called again, if it said when."""
        while (pause := self._paused_until - anyio.current_time()) > 0:
            if self._stopped.is_set():
                return
            await self._sleep(pause + self._context.jitter() * min(1.0, pause / 10))

    async def _within_deadline(self, request: Request) -> Outcome:
        started = anyio.current_time()
        with anyio.move_on_after(self._timeout):
            outcome = await self._provider.complete(request)
            if isinstance(outcome, Failure):
                return outcome
            cost = outcome.cost  # what it said it cost, or what its usage costs
            if cost is None and self._price is not None and outcome.usage is not None:
                cost = self._price(outcome.usage)
            if self._recorded:
                return replace(outcome, latency=None, first_token=None, cost=cost)
            return replace(outcome, latency=anyio.current_time() - started, cost=cost)
        return Failure(
            kind=FailureKind.TIMEOUT,
            message=f"no whole answer within {self._timeout:g} s (`timeout` in llmops.yaml)",
            retryable=True,
        )

    def _reservation(self, request: Request) -> Reservation:
        if not self._context.counts_tokens:
            return Reservation(calls=1)
        usage = ceiling(request)
        cost = highest(self._price, usage) if self._price is not None else 0.0
        return Reservation(calls=1, tokens=usage.input + usage.output, cost=cost)

    def _settle(self, outcome: Outcome, reserved: Reservation, tokens: float) -> None:
        """Settle the budget and the rate; unknown usage counts as reserved."""
        if isinstance(outcome, Failure):
            if outcome.kind in _MAYBE_BILLED:
                spent = reserved
            else:
                spent = Reservation(calls=1)
                self._rates.settle(tokens, 0)
        elif outcome.usage is None:
            spent = reserved
        else:
            used = outcome.usage.input + outcome.usage.output
            spent = Reservation(calls=1, tokens=used, cost=outcome.cost or 0.0)
            self._rates.settle(tokens, used)
        self._context.account.settle(reserved, spent)

    def _adapt(self, outcome: Outcome, episode: int) -> None:
        """Adapt concurrency, pauses and the circuit breaker to an attempt's outcome."""
        self._breaker.attempted(outcome)
        if isinstance(outcome, Completion):
            self._slots.answered()
            self._tell("")
        elif outcome.kind in _PUSHED_BACK:
            self._slots.pushed_back(episode)
            self._tell(f"{self.model.name} {_PUSHED_BACK[outcome.kind]}")
            pause = outcome.retry_after
            if pause is not None and pause <= LONGEST_WAIT:
                self._paused_until = max(self._paused_until, anyio.current_time() + pause)
        self._stop_if_open()

    def _tell(self, notice: str) -> None:
        if notice != self._notice:
            self._notice = notice
            self._context.tell(notice)

    def _stop_if_open(self) -> None:
        if self._breaker.cause is not None:
            self.stop(self._breaker.cause)

    async def _sleep(self, seconds: float) -> None:
        """Wait `seconds`, or until the queue is stopped."""
        with anyio.move_on_after(seconds):
            await self._stopped.wait()
