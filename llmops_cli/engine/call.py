"""The engine: the one way to call any model.

`Engine.ask` always ends in exactly one outcome. Limits, retries, deadlines and the early stop
are per model (`queue`); the budget and the counts are the run's. Everything that comes in is
redacted here. Providers are opened at a model's first call, in a task of their own that also
closes them, and live until the engine is left.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Self, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from llmops_cli.core.digest import digest_bytes
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import OpenSharedCounter, Provider, ignore_wait
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.redact import Redactor, sanitized, without_surrogates
from llmops_cli.core.result import Failure, FailureKind, Outcome
from llmops_cli.engine.budget import Account, Budget, Spent, tariff
from llmops_cli.engine.queue import LocalCounter, ModelQueue, RunContext

OpenModel: TypeAlias = Callable[[Model], AbstractAsyncContextManager[Provider]]
"""Opens the provider of a model; `core.ports.OpenProvider` with its context bound."""

J = TypeVar("J")

CLOSING = 5.0
"""Seconds a provider gets to close its connections or stop its server."""
LONGEST_MESSAGE = 2_000
"""Characters of why a call failed, which may be in the server's own words."""
MOST_TOOL_CALLS = 1_000
"""Tool calls of an answer; no model makes so many, and each is an object in every report."""
YIELD_AFTER = 64
"""Jobs after which a worker yields to the event loop (and Ctrl-C): a job may never await."""


class Engine:
    """Calls models within their limits and within the budget. Use as `async with Engine(…)`."""

    def __init__(
        self,
        *,
        providers: OpenModel,
        budget: Budget | None = None,
        redact: Redactor | None = None,
        counters: OpenSharedCounter = LocalCounter,
        jitter: Callable[[], float] = random.random,
        tell: Callable[[str], None] = ignore_wait,
    ) -> None:
        """`counters`: counts the rates per minute, by default in this process only.

        `jitter`: a number in [0, 1), for every wait a new one. `tell` is called with what holds
        calls up, and with the empty text when they go on.
        """
        self._providers = providers
        self.shards = 1
        """Processes that share the rates per minute."""
        self._redact = redact or Redactor()
        self._queues: dict[str, ModelQueue | Refused] = {}
        self._stopped: str | None = None
        self.spent = Spent()
        self._context = RunContext(spent=self.spent, jitter=jitter, counters=counters, tell=tell)
        self.left = budget or Budget()
        """Once the engine is left: what the budget still allows, for the next engine of the run."""

    async def __aenter__(self) -> Self:
        self._closing = anyio.Event()
        self._opening: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._account = self._context.account = Account(self.left)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self.left = self._account.left()
        self._closing.set()
        if kind is not None:
            self._tasks.cancel_scope.cancel()  # ends what is still opening; the rest is shielded
        # The tasks did not cause the error: it leaves as it is, not in their group.
        await self._tasks.__aexit__(None, None, None)

    async def ask(self, model: Model, request: Request) -> Outcome:
        """Return the outcome of one call of `model`; what the model does is never an exception.

        Raises `Refused` if the model's configuration can never work, at its first call.
        """
        if self._stopped is not None:
            message = f"{model.name}: {self._stopped}"
            return Failure(kind=FailureKind.NOT_ATTEMPTED, message=message, attempts=0)
        key = _limits_key(model)
        if key not in self._queues:
            async with self._opening[key]:  # a server that starts holds up no other model
                if key not in self._queues:
                    self._queues[key] = await self._open(key, model)
        queue = self._queues[key]
        if isinstance(queue, Refused):
            raise queue.with_traceback(None)
        outcome = await queue.call(request)
        if outcome.attempts:
            self.spent.calls += 1
        if isinstance(outcome, Failure):
            message = self._redact(without_surrogates(outcome.message))[:LONGEST_MESSAGE]
            return replace(outcome, message=message)
        self.spent.add(outcome)
        if len(outcome.tool_calls) > MOST_TOOL_CALLS:
            message = f"the answer has {len(outcome.tool_calls):,} tool calls"
            return Failure(kind=FailureKind.TOO_LARGE, message=message, attempts=outcome.attempts)
        return sanitized(outcome, self._redact)

    def interrupt(self, why: str = "interrupted") -> None:
        """Start no further call: what waits ends as NOT_ATTEMPTED, what runs may finish."""
        self._stopped = self._stopped or why
        self._account.close()
        for queue in self._queues.values():
            if isinstance(queue, ModelQueue):
                queue.stop(why)

    async def _open(self, key: str, model: Model) -> ModelQueue | Refused:
        price = tariff(model)
        if price is None and self._account.budget.cost is not None:
            return Refused(
                f"no price is known for {model.name} ({model.provider}/{model.model}), "
                "so a budget in dollars cannot hold",
                hint="give it a `price: {input: …, output: …}` in llmops.yaml, "
                "or cap calls or tokens instead",
            )
        try:
            provider, scope = await self._tasks.start(self._keep_open, model)
        except Refused as refusal:
            return refusal
        scope.shield = True
        model = replace(model, limits=model.limits.divided(self.shards))
        queue = ModelQueue(model, provider, price=price, context=self._context, key=key)
        if self._stopped is not None:
            queue.stop(self._stopped)
        return queue

    async def _keep_open(
        self, model: Model, *, task_status: TaskStatus[tuple[Provider, anyio.CancelScope]]
    ) -> None:
        """Keep `model`'s provider open; closing isn't interrupted by a canceled run.

        The caller shields this task from cancellation only once it owns it: a call that is canceled
        while it opens a provider waits for the end of this task.
        """
        with anyio.CancelScope() as scope:
            async with self._providers(model) as provider:
                task_status.started((provider, scope))
                await self._closing.wait()
                scope.deadline = anyio.current_time() + CLOSING


def _limits_key(model: Model) -> str:
    """Return the name of the limits that a model's calls count against.

    Not the alias and not the parameters: candidate and baseline may differ in both and still
    reach the same model with the same key.
    """
    key = (
        model.provider,
        model.model,
        model.identity,
        model.base_url,
        model.api_key_env,
        tuple(sorted(model.headers.items())),
        repr(model.options),
    )
    return digest_bytes(repr(key).encode())


async def run(jobs: Iterable[J], work: Callable[[J], Awaitable[None]], *, workers: int) -> None:
    """Await `work(job)` for every job, at most `workers` at a time.

    Workers pull: there is no task and no queue entry per job, so a million jobs weigh as little as
    ten, and a slow job delays nothing but its own worker.
    """
    source = iter(jobs)

    async def pull() -> None:
        for count, job in enumerate(source, start=1):
            await work(job)
            if count % YIELD_AFTER == 0:
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(max(1, workers)):
            group.start_soon(pull)
