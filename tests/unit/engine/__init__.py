"""The engine under a clock that jumps: hours of waiting pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import anyio

from llmops_cli.core.prompt import Limits, Message, Model, Price, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome, Usage
from llmops_cli.engine.call import OpenModel

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Where a real selector would sleep, time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def in_virtual_time(main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` on a virtual clock."""

    async def run() -> T:
        return await main()

    return anyio.run(run, backend_options={"loop_factory": VirtualLoop})


Act: TypeAlias = "Outcome | float | Callable[[], Awaitable[Outcome]]"
"""What a scripted provider does: an outcome, or seconds before a good answer, or a call."""

GOOD = Completion(text="yes", usage=Usage(input=10, output=5))


class Scripted:
    """A provider that plays a script; when it is used up, `then` rules."""

    def __init__(self, script: Iterable[Act] = (), *, then: Act = GOOD) -> None:
        self._script = deque(script)
        self._then = then
        self.sent: list[float] = []
        """Loop time of every attempt."""
        self.running = 0
        self.most_running = 0
        self.opened = 0
        self.closed = 0

    async def complete(self, request: Request) -> Outcome:
        self.sent.append(anyio.current_time())
        act = self._script.popleft() if self._script else self._then
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if isinstance(act, Completion | Failure):
                return act
            if isinstance(act, float):
                await anyio.sleep(act)
                return GOOD
            return await act()
        finally:
            self.running -= 1

    def opener(self) -> OpenModel:
        @asynccontextmanager
        async def open_it(model: Model) -> AsyncIterator[Scripted]:
            self.opened += 1
            yield self
            self.closed += 1

        return open_it


def model(
    *, provider: str = "embedded", price: Price | None = None, name: str = "m", **limits: Any
) -> Model:
    return Model(name=name, provider=provider, model="m", price=price, limits=Limits(**limits))


def request(text: str = "q", **parameters: Any) -> Request:
    turn = Message(role="user", content=text)
    return Request(provider="embedded", model="m", messages=(turn,), parameters=parameters)


def failure(
    kind: FailureKind,
    *,
    status: int | None = None,
    retryable: bool = True,
    retry_after: float | None = None,
    message: str = "no",
) -> Failure:
    return Failure(
        kind=kind, message=message, status=status, retryable=retryable, retry_after=retry_after
    )


def busy(retry_after: float | None = None) -> Failure:
    """A 429."""
    return failure(FailureKind.RATE_LIMITED, status=429, retry_after=retry_after)
