"""What outlives one run of an event loop within a command: kept by name, closed at the end.

A command may call models several times over (a further look, a baseline drawn anew). A server
that was started for the first time serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar, cast

T = TypeVar("T")


class Shelf:
    """Holds what is opened once for a command. Use as `with Shelf()`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._held: dict[str, Any] = {}

    def take(self, name: str, opens: Callable[[], AbstractContextManager[T]]) -> T:
        """What stands under `name`, opened at the first asking."""
        if name not in self._held:
            self._held[name] = self._stack.enter_context(opens())
        return cast("T", self._held[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.clear()
        self._stack.close()
