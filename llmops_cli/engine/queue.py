"""The queue of one model: concurrency, rates per minute, retries, deadlines, circuit breaker.

An attempt holds a slot only while its request is out. Waiting for a retry gives the slot back; if a
model says when to retry, all its calls wait until then. Once a queue is stopped, calls that haven't
started fail with the cause, and running ones may finish.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import anyio

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import OpenSharedCounter, Provider, SharedCounter
from llmops_cli.core.prompt import Limits, Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.budget import Account, Reservation, Spent, Tariff, ceiling, highest

if sys.platform != "win32":
    import resource

START = 20
CUT = 0.8
RECOVERY = 0.05
SPARE_FILES = 32
"""File descriptors left for everything that is not a call: the store, reports, git, pipes."""


class Slots:
    """Adapts how many calls of one model are out: `async with slots.limiter:` holds one of them.

    The number starts at up to `START`, grows by one with every answer (doubling per round) until
    the model first pushes back, then falls to 80% once per episode and recovers by one or 5% per
    round. It is never under one and never stands still while answers come.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = max(1, min(maximum, _open_files()))
        self._slow_start = True
        self.width = float(min(self._maximum, START))
        """Calls allowed at once, now; a fraction counts towards the next one."""
        self.limiter = anyio.CapacityLimiter(int(self.width))
        self.episode = 0
        """Counts cuts. A push-back is news only if its call began in the present episode."""

    def answered(self) -> None:
        """Allow a little more: a call was answered."""
        if self.width < self._maximum:
            step = 1.0 if self._slow_start else max(1.0, RECOVERY * self.width) / self.width
            self._resize(min(float(self._maximum), self.width + step))

    def pushed_back(self, episode: int) -> None:
        """Allow less: a call that began in `episode` was too much for the model."""
        if episode == self.episode:
            self.episode += 1
            self._slow_start = False
            self._resize(max(1.0, self.width * CUT))

    def open(self) -> None:
        """Wake up every waiting call: they end because the queue is stopped."""
        self.limiter.total_tokens = math.inf

    def _resize(self, width: float) -> None:
        self.width = width
        if self.limiter.total_tokens != math.inf:
            self.limiter.total_tokens = int(width)


def _open_files() -> int:
    if sys.platform == "win32":
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(1, (soft - SPARE_FILES) // 2)


POLL = 0.25
"""Seconds after which a waiting call looks again: others settle meanwhile."""
AVERAGED = 8
"""Calls over which the average is taken."""
_SLACK = 1e-6
"""Seconds: a timer may end this much early."""


class LocalCounter:
    """The counter of a rate that no other process keeps, on the event loop's clock."""

    def __init__(self, name: str = "") -> None:
        """`name` is only for messages: a local counter isn't shared."""
        self.name = name
        self._number = -math.inf

    def now(self) -> float:
        return anyio.current_time()

    def change(self, step: Callable[[float], float]) -> float:
        before = self._number
        self._number = step(before)
        return before


class Pace:
    """A rate of units per minute, spread evenly: a generic cell rate algorithm (ITU-T I.371).

    One second's worth may start at once. Nothing is taken before it may start, so a process that is
    killed while waiting owes nothing. What turned out larger or smaller than it was taken for is
    settled afterwards, and the next call waits longer or shorter.
    """

    def __init__(self, per_minute: int, counter: SharedCounter) -> None:
        self._seconds = 60.0 / per_minute
        self._counter = counter

    def take(self, units: float) -> float:
        """Take `units` that may start now and return 0, else the seconds until asking again."""
        now = self._counter.now()
        earliest = now - max(0.0, 1.0 - self._seconds)

        def step(due: float) -> float:
            return due if due > now + _SLACK else max(due, earliest) + units * self._seconds

        wait = self._counter.change(step) - now
        return wait if wait > _SLACK else 0.0

    def settle(self, difference: float) -> None:
        """Count `difference` units more than were taken; fewer, if negative."""
        self._counter.change(lambda due: due + difference * self._seconds)


class Rates:
    """Keeps `limits.rpm` and `limits.tpm`; nothing is counted where neither is set.

    What a call will use is known only afterwards: it takes what calls of this model have used so
    far on average, the first ones their ceiling, and the difference is settled when it has ended.
    Over a minute the rate counts actual use, so a generous ceiling wastes none of it.
    """

    def __init__(self, limits: Limits, counters: OpenSharedCounter, key: str) -> None:
        """`key` names what counts against the same rates, in other processes too."""
        self._requests = Pace(limits.rpm, counters(f"{key} requests")) if limits.rpm else None
        self._tokens = Pace(limits.tpm, counters(f"{key} tokens")) if limits.tpm else None
        self._minute = limits.tpm or 0
        self._average: float | None = None
        self._queue = anyio.Lock()

    async def turn(self, request: Request, stopped: anyio.Event) -> float:
        """Wait until `request` may start, or until `stopped`; return the tokens it took."""
        if self._requests is not None:
            await self._wait(self._requests, 1, stopped)
        if self._tokens is None:
            return 0
        usage = ceiling(request)
        expected = self._average or usage.input + usage.output
        return expected if await self._wait(self._tokens, expected, stopped) else 0

    def settle(self, taken: float, used: int) -> None:
        """Count a call that took so many tokens and used so many; 0 where it was none.

        At most a minute's worth is counted: whatever usage a server reports, one answer delays the
        next by at most a minute.
        """
        if self._tokens is None:
            return
        used = min(used, self._minute)
        self._tokens.settle(used - taken)
        if used:
            average = self._average or used
            self._average = average + (used - average) / AVERAGED

    async def _wait(self, pace: Pace, units: float, stopped: anyio.Event) -> bool:
        """Return whether `units` were taken. Only the first call asks: calls stay in order."""
        async with self._queue:
            while not stopped.is_set():
                wait = pace.take(units)
                if wait == 0:
                    return True
                with anyio.move_on_after(min(wait, POLL)):
                    await stopped.wait()
        return False


LONGEST_WAIT = 300.0
"""Seconds one call waits, in all, for a rate limit to clear."""
MAX_TRIES = 50
"""The most attempts at one call, for any failures and waits."""
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0


@dataclass(slots=True)
class RetryState:
    """How often and how long one call is tried again.

    Rate limits are waited for, however often, up to `LONGEST_WAIT` seconds; an answer that could
    not be read is requested once more; everything else that may pass is tried `retries` times.
    With `retries` 0 nothing is tried twice.
    """

    retries: int
    jitter: Callable[[], float]
    """A number in [0, 1), for every wait a new one."""
    tries: Counter[FailureKind] = field(default_factory=Counter)
    waited: float = 0.0

    def wait(self, failure: Failure) -> float | None:
        """Return the seconds to wait before the next attempt; None: this failure is final.

        Never less than what the server asked for, and always with jitter, so that calls that failed
        together do not come back together (Brooker, "Exponential Backoff And Jitter", 2015).
        """
        if not failure.retryable or self.retries <= 0:
            return None
        tries = self.tries
        tries[failure.kind] += 1
        if (
            tries.total() - tries[FailureKind.RATE_LIMITED] > self.retries
            or tries[FailureKind.BAD_ANSWER] > 1
            or tries.total() >= MAX_TRIES
        ):
            return None
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (tries[failure.kind] - 1))
        if failure.retry_after is None:
            wait = self.jitter() * backoff
        else:
            wait = failure.retry_after + self.jitter() * min(1.0, backoff)
        self.waited += wait
        return wait if self.waited <= LONGEST_WAIT else None


REFUSALS = 3
"""Calls in a row that are answered 401, 403 or 404."""
FAILED_CALLS = 10
"""Calls in a row that failed for good, each after its retries."""
UNREACHED = 3
"""Attempts that reached no server, with none that ever did …"""
GRACE = 3.0
"""… for this many seconds: a server that restarts is given a chance."""

_REFUSED = {FailureKind.AUTHENTICATION, FailureKind.NOT_FOUND}
_UNREACHABLE = {FailureKind.CONNECTION, FailureKind.TIMEOUT}
_MAYBE_THE_CASE = {FailureKind.BAD_REQUEST, FailureKind.BAD_ANSWER, FailureKind.TOO_LARGE}
_MAYBE_BILLED = {FailureKind.TIMEOUT, FailureKind.BAD_ANSWER, FailureKind.TOO_LARGE}
_PUSHED_BACK = {
    FailureKind.RATE_LIMITED: "says: too many requests; waiting",
    FailureKind.OVERLOADED: "says that it is overloaded; waiting",
}
_SERVER_FAULTS = {FailureKind.SERVER, *_UNREACHABLE, *_PUSHED_BACK}


@dataclass(slots=True)
class CircuitBreaker:
    """Decides when to stop calling a model: every call is refused, fails or can't reach it.

    A run of a thousand cases with a wrong key is one problem, not a thousand. It opens once, with
    one cause, and never closes again: what a run measures is decided by its end, not by a lucky
    moment. `cause` is None until it opens.
    """

    cause: str | None = None
    _answered: bool = False
    _refused: int = 0
    _failed: int = 0
    _misses: int = 0
    _first_miss: float = 0.0

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


@dataclass(slots=True, kw_only=True)
class RunContext:
    """What the queues of one engine have in common."""

    account: Account = field(init=False)
    """Opened where the loop runs."""
    spent: Spent
    jitter: Callable[[], float]
    counters: OpenSharedCounter
    """Counts the rates per minute."""
    tell: Callable[[str], None]
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
        key: str,
    ) -> None:
        """`key` names what counts against the same rates per minute."""
        self.model = model
        self._provider = provider
        self._price = price
        self._context = context
        self._slots = Slots(model.limits.max_concurrency)
        self._rates = Rates(model.limits, context.counters, key)
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
            if outcome is None:  # stopped, perhaps because of what this call met before
                if failure is not None and self._breaker.cause is not None:
                    return replace(failure, attempts=attempts)
                why = f"{self.model.name}: {self._why}"
                return Failure(kind=FailureKind.NOT_ATTEMPTED, message=why, attempts=attempts)
            if isinstance(outcome, Failure) and outcome.kind is FailureKind.BUDGET:
                return replace(failure or outcome, attempts=attempts)
            attempts += 1
            if isinstance(outcome, Completion):
                return replace(outcome, attempts=attempts)
            failure = outcome
            wait = retry.wait(failure)
            if wait is None:
                self._breaker.failed(failure)
                self._stop_if_open()
                return replace(failure, attempts=attempts)
            await self._sleep(wait)

    async def _attempt(self, request: Request) -> Outcome | None:
        """Make one attempt; None: the queue is stopped, nothing was sent."""
        account = self._context.account
        async with self._slots.limiter:
            while (pause := self._paused_until - anyio.current_time()) > 0:
                if self._stopped.is_set():
                    break
                await self._sleep(pause + self._context.jitter() * min(1.0, pause / 10))
            tokens = await self._rates.turn(request, self._stopped)
            if self._stopped.is_set():
                self._rates.settle(tokens, 0)
                return None
            reserved = self._reservation(request)
            refused = await account.reserve(reserved)
            if refused is not None:
                return Failure(kind=FailureKind.BUDGET, message=refused, attempts=0)
            if self._stopped.is_set():
                account.settle(reserved, Reservation())
                return None
            episode = self._slots.episode
            self._context.spent.attempts += 1
            try:
                outcome = await self._within_deadline(request)
            except BaseException:
                account.settle(reserved, reserved)  # cut short: maybe billed
                raise
            self._settle(outcome, reserved, tokens)
            self._adapt(outcome, episode)
            return outcome

    async def _within_deadline(self, request: Request) -> Outcome:
        started, timeout = anyio.current_time(), self.model.limits.timeout
        with anyio.move_on_after(timeout):
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
            message=f"no whole answer within {timeout:g} s (`timeout` in llmops.yaml)",
            retryable=True,
        )

    def _reservation(self, request: Request) -> Reservation:
        cap = self._context.account.budget
        if cap.tokens is None and cap.cost is None:
            return Reservation(calls=1)
        usage = ceiling(request)
        cost = highest(self._price, usage) if self._price is not None else 0.0
        return Reservation(calls=1, tokens=usage.input + usage.output, cost=cost)

    def _settle(self, outcome: Outcome, reserved: Reservation, tokens: float) -> None:
        """Settle the budget and the rate; unknown usage counts as reserved."""
        spent, used = reserved, None
        if isinstance(outcome, Completion):
            if outcome.usage is not None:
                used = outcome.usage.input + outcome.usage.output
                spent = Reservation(calls=1, tokens=used, cost=outcome.cost or 0.0)
        elif outcome.kind not in _MAYBE_BILLED:
            spent, used = Reservation(calls=1), 0
        if used is not None:
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
