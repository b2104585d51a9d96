"""The engine: one way to ask any model, and the only one.

`Engine.ask` always ends in exactly one outcome. Limits, retries, deadlines and the early stop
are per model (`lane`); the budget and the counters are the run's. Everything that enters is
redacted here. Providers are opened at a model's first call, in a task of their own that also
closes them, and live until the engine is left.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import anyio
from anyio.abc import TaskStatus

from llmops_cli.core.digest import digest_bytes
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import OpenSharedCounter, Provider, untold
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.budget import Budget, Ledger
from llmops_cli.engine.limits import LocalCounter
from llmops_cli.engine.prices import tariff
from llmops_cli.engine.queue import ModelQueue, Shared
from llmops_cli.engine.sanitize import entered, failed

OpenModel: TypeAlias = Callable[[Model], AbstractAsyncContextManager[Provider]]
"""Opens the provider of a model; the registry's `OpenProvider` with the world bound."""

Place: TypeAlias = tuple[object, ...]

CLOSING = 5.0
"""Seconds a provider gets to close its connections or stop its server."""


@dataclass(slots=True, kw_only=True)
class Spent:
    """What the run has used so far, by what the providers reported."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """US dollars of the priced calls."""
    unpriced: int = 0
    """Answers whose price or usage is not known: with any, `cost` is not the whole cost."""


class Engine:
    """Asks models within their limits and within the budget. Use as `async with Engine(…)`."""

    def __init__(
        self,
        *,
        providers: OpenModel,
        budget: Budget | None = None,
        redact: Redactor | None = None,
        cells: OpenSharedCounter = LocalCounter,
        jitter: Callable[[], float] = random.random,
        tell: Callable[[str], None] = untold,
    ) -> None:
        """`cells`: where rates per minute are kept; by default, no other process keeps them too.

        `jitter`: a number in [0, 1), drawn anew for every wait. `tell` hears what holds calls up,
        and the empty text when they go on.
        """
        self._providers = providers
        self._budget = budget or Budget()
        self._redact = redact or Redactor()
        self._cells = cells
        self._jitter = jitter
        self._tell = tell
        self._lanes: dict[Place, ModelQueue | Refused] = {}
        self._why: str | None = None
        self.calls = 0
        """Calls that were sent at least once, answered or not."""
        self.attempts = 0
        """Requests sent, retries included."""
        self.spent = Spent()
        self.left = self._budget
        """Once the engine is left: what the budget still allows, for the next engine of the run."""

    async def __aenter__(self) -> Self:
        self._closing = anyio.Event()
        self._opening: defaultdict[Place, anyio.Lock] = defaultdict(anyio.Lock)
        self._ledger = Ledger(self._budget)
        self._shared = Shared(
            ledger=self._ledger,
            counts_tokens=self._budget.counts_tokens,
            jitter=self._jitter,
            sent=self._sent,
            cells=self._cells,
            tell=self._tell,
        )
        self._keepers = anyio.create_task_group()
        await self._keepers.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.left = self._ledger.left()
        self._closing.set()
        if kind is not None:
            self._keepers.cancel_scope.cancel()  # ends what is still opening; the rest is shielded
        # The keepers did not cause `error`: it leaves as it is, not in their group.
        await self._keepers.__aexit__(None, None, None)

    async def ask(self, model: Model, request: Request) -> Outcome:
        """The outcome of one call of `model`; never an exception for what the model did.

        Raises `Refused` where the model's configuration can never work, at its first call.
        """
        if self._why is not None:
            message = f"{model.name}: {self._why}"
            return Failure(kind=FailureKind.NOT_ATTEMPTED, message=message, attempts=0)
        place = _place(model)
        lane = self._lanes.get(place)
        if not isinstance(lane, ModelQueue):
            lane = await self._open(place, model)
        outcome = await lane.call(request)
        if outcome.attempts:
            self.calls += 1
        if isinstance(outcome, Failure):
            return failed(outcome, self._redact)
        self._account(outcome)
        return entered(outcome, self._redact)

    def interrupt(self, why: str = "interrupted") -> None:
        """Start no further call: what waits ends as NOT_ATTEMPTED, what runs may finish."""
        self._why = self._why or why
        self._ledger.close()
        for lane in self._lanes.values():
            if isinstance(lane, ModelQueue):
                lane.stop(why)

    async def _open(self, place: Place, model: Model) -> ModelQueue:
        async with self._opening[place]:  # a server that starts holds up no other model
            lane = self._lanes.get(place)
            if lane is None:
                lane = await self._opened(model)
                self._lanes[place] = lane
        if isinstance(lane, Refused):
            raise lane.with_traceback(None)
        return lane

    async def _opened(self, model: Model) -> ModelQueue | Refused:
        price = tariff(model)
        if price is None and self._budget.cost is not None:
            return Refused(
                f"no price is known for {model.name} ({model.provider}/{model.model}), "
                "so a budget in dollars cannot hold",
                hint="give it a `price: {input: …, output: …}` in llmops.yaml, "
                "or cap calls or tokens instead",
            )
        try:
            provider, scope = await self._keepers.start(self._keep, model)
        except Refused as refusal:
            return refusal
        scope.shield = True
        place = digest_bytes(repr(_place(model)).encode())
        lane = ModelQueue(model, provider, tariff=price, shared=self._shared, place=place)
        if self._why is not None:
            lane.stop(self._why)
        return lane

    async def _keep(
        self, model: Model, *, task_status: TaskStatus[tuple[Provider, anyio.CancelScope]]
    ) -> None:
        """Hold `model`'s provider open; closing is not cut short by a cancelled run.

        Whoever opens it shields it, and not before it is theirs: a call that is cancelled while
        it opens a provider waits for the end of this task.
        """
        with anyio.CancelScope() as scope:
            async with self._providers(model) as provider:
                task_status.started((provider, scope))
                await self._closing.wait()
                scope.deadline = anyio.current_time() + CLOSING

    def _sent(self) -> None:
        self.attempts += 1

    def _account(self, completion: Completion) -> None:
        if completion.usage is not None:
            self.spent.input_tokens += completion.usage.input
            self.spent.output_tokens += completion.usage.output
        if completion.cost is None:
            self.spent.unpriced += 1
        else:
            self.spent.cost += completion.cost


def _place(model: Model) -> Place:
    """What two models share when their calls count against the same limits.

    Not the alias and not the parameters: candidate and baseline may differ in both and still
    reach the same model with the same key.
    """
    return (
        model.provider,
        model.model,
        model.identity,
        model.base_url,
        model.api_key_env,
        tuple(sorted(model.headers.items())),
        repr(model.options),
    )
