"""When to stop asking a model: it refuses everyone, nobody is there, or nothing works.

A run of a thousand cases against a wrong key is one problem, not a thousand. The circuit watches
what attempts and calls came to, and opens once, with one cause; it never closes again, because
what a run measures is decided by its end, not by a lucky moment.

One model's road: everything that stands between a request and its provider.

An attempt holds a slot only while it is on the wire. Waiting for a retry gives the slot back; a
model that says when to come back is left alone until then by every call, not only by the one
that was told. Once a lane is stopped, what has not started says so and what runs may finish.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import OpenSharedCounter, Provider, untold
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.budget import Ledger, Reservation, ceiling
from llmops_cli.engine.limits import Rates, Slots
from llmops_cli.engine.prices import Tariff, highest
from llmops_cli.engine.retry import PATIENCE, RetryState

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


_MAYBE_BILLED = frozenset({FailureKind.TIMEOUT, FailureKind.BAD_ANSWER, FailureKind.TOO_LARGE})
_PUSHED_BACK = {
    FailureKind.RATE_LIMITED: "says: too many requests; waiting",
    FailureKind.OVERLOADED: "says that it is overloaded; waiting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the lanes of one engine have in common."""

    ledger: Ledger
    counts_tokens: bool
    jitter: Callable[[], float]
    sent: Callable[[], None]
    """Called once for every request that is sent."""
    cells: OpenSharedCounter
    """Where the rates per minute are kept."""
    tell: Callable[[str], None] = untold
    """Hears what holds calls up, and the empty text when they go on."""


class ModelQueue:
    """Calls to one model. Made where the loop runs; `provider` is open as long as it is used."""

    def __init__(
        self,
        model: Model,
        provider: Provider,
        *,
        tariff: Tariff | None,
        shared: Shared,
        place: str = "",
    ) -> None:
        """`place` names what counts against the same rates per minute."""
        limits = model.limits
        self.model = model
        self._provider = provider
        self._tariff = tariff
        self._shared = shared
        self._timeout = limits.timeout
        self._slots = Slots(limits.max_concurrency)
        self._rates = Rates(limits, shared.cells, place)
        self._circuit = Circuit()
        self._held_until = 0.0
        self._stopped = anyio.Event()
        self._why: str | None = None
        self._told = ""
        self._recorded = hasattr(provider, "identity")
        self._check: Callable[[Request], None] | None = getattr(provider, "check", None)

    def stop(self, why: str) -> None:
        """Start nothing more; everyone who waits is told `why`."""
        if self._why is None:
            self._why = why
            self._stopped.set()
            self._slots.open()

    async def call(self, request: Request) -> Outcome:
        """One call: attempts until one is answered or patience ends.

        Raises `Refused` for a request that the provider knows it can never send.
        """
        if not self.model.holds(request.response_format):
            raise Refused(
                f"{self.model.name} can hold no answer to {request.response_format}",
                hint=f"its `structured_output` is {self.model.structured_output} in llmops.yaml",
            )
        if self._check is not None:
            self._check(request)
        patience = RetryState(self.model.limits.retries, self._shared.jitter)
        attempts, failure = 0, None
        while True:
            outcome = await self._attempt(request)
            if outcome is None:
                return self._unfinished(failure, attempts)
            if isinstance(outcome, Failure) and outcome.kind is FailureKind.BUDGET:
                return outcome if failure is None else replace(failure, attempts=attempts)
            attempts += 1
            if isinstance(outcome, Completion):
                return outcome if attempts == 1 else replace(outcome, attempts=attempts)
            failure = outcome
            wait = patience.wait(failure)
            if wait is None:
                self._ended(failure)
                return replace(failure, attempts=attempts)
            await self._sleep(wait)

    def _unfinished(self, failure: Failure | None, attempts: int) -> Failure:
        """What a call is that the lane's stop kept from its (next) attempt."""
        if failure is not None and self._circuit.cause is not None:
            return replace(failure, attempts=attempts)
        why = f"{self.model.name}: {self._why}"
        return Failure(kind=FailureKind.NOT_ATTEMPTED, message=why, attempts=attempts)

    async def _attempt(self, request: Request) -> Outcome | None:
        """One attempt; None: the lane is stopped, nothing was sent."""
        async with self._slots:
            await self._leave_alone()
            tokens = await self._rates.turn(request, self._stopped)
            if self._stopped.is_set():
                self._rates.settle(tokens, 0)
                return None
            share = self._share(request)
            refused = await self._shared.ledger.reserve(share)
            if refused is not None:
                return Failure(kind=FailureKind.BUDGET, message=refused, attempts=0)
            if self._stopped.is_set():
                self._shared.ledger.settle(share, Reservation())
                return None
            episode = self._slots.episode
            self._shared.sent()
            try:
                outcome = await self._within_deadline(request)
            except BaseException:
                self._shared.ledger.settle(share, share)  # cut short on the wire: maybe billed
                raise
            self._settle(outcome, share, tokens)
            self._learn(outcome, episode)
            return outcome

    async def _within_deadline(self, request: Request) -> Outcome:
        started = anyio.current_time()
        with anyio.move_on_after(self._timeout):
            outcome = await self._provider.complete(request)
            if isinstance(outcome, Failure):
                return outcome
            if self._recorded:
                return replace(outcome, latency=None, first_token=None, cost=self._cost(outcome))
            latency = anyio.current_time() - started
            return replace(outcome, latency=latency, cost=self._cost(outcome))
        return Failure(
            kind=FailureKind.TIMEOUT,
            message=f"no whole answer within {self._timeout:g} s (`timeout` in llmops.yaml)",
            retryable=True,
        )

    def _cost(self, answer: Completion) -> float | None:
        """What it said it cost, or what its usage costs; None where that is not known."""
        if answer.cost is None and self._tariff is not None and answer.usage is not None:
            return self._tariff(answer.usage)
        return answer.cost

    async def _leave_alone(self) -> None:
        """Wait until the model may be asked again, where it said when."""
        while (held := self._held_until - anyio.current_time()) > 0 and not self._stopped.is_set():
            await self._sleep(held + self._shared.jitter() * min(1.0, held / 10))

    def _share(self, request: Request) -> Reservation:
        if not self._shared.counts_tokens:
            return Reservation(calls=1)
        usage = ceiling(request)
        cost = highest(self._tariff, usage) if self._tariff is not None else 0.0
        return Reservation(calls=1, tokens=usage.input + usage.output, cost=cost)

    def _settle(self, outcome: Outcome, share: Reservation, tokens: float) -> None:
        """What is not known stays as it was taken: the `share` and the `tokens` of the rate."""
        if isinstance(outcome, Failure):
            if outcome.kind in _MAYBE_BILLED:
                spent = share
            else:
                spent = Reservation(calls=1)
                self._rates.settle(tokens, 0)
        elif outcome.usage is None:
            spent = share
        else:
            used = outcome.usage.input + outcome.usage.output
            spent = Reservation(calls=1, tokens=used, cost=outcome.cost or 0.0)
            self._rates.settle(tokens, used)
        self._shared.ledger.settle(share, spent)

    def _learn(self, outcome: Outcome, episode: int) -> None:
        self._circuit.attempted(outcome)
        if isinstance(outcome, Completion):
            self._slots.answered()
            self._tell("")
        elif outcome.kind in _PUSHED_BACK:
            self._slots.pushed_back(episode)
            self._tell(f"{self.model.name} {_PUSHED_BACK[outcome.kind]}")
            asked = outcome.retry_after
            if asked is not None and asked <= PATIENCE:
                until = anyio.current_time() + asked
                self._held_until = max(self._held_until, until)
        self._stop_if_open()

    def _tell(self, what: str) -> None:
        if what != self._told:
            self._told = what
            self._shared.tell(what)

    def _ended(self, failure: Failure) -> None:
        self._circuit.failed(failure)
        self._stop_if_open()

    def _stop_if_open(self) -> None:
        if self._circuit.cause is not None:
            self.stop(self._circuit.cause)

    async def _sleep(self, seconds: float) -> None:
        """Wait `seconds`, or until the lane is stopped."""
        with anyio.move_on_after(seconds):
            await self._stopped.wait()
