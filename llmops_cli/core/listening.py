"""Who hears what takes long where nothing else is to be seen: nobody, unless a program says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TypeAlias

Listener: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Is told in words what is waited for; the block is the wait."""


def _nobody(_what: str) -> AbstractContextManager[None]:
    return nullcontext()


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=_nobody)


def listen(listener: Listener) -> None:
    """Has `listener` hear of every long wait from here on."""
    _LISTENER.set(listener)


def long_wait(what: str) -> AbstractContextManager[None]:
    """Tells `what` is waited for until the block ends: "reading 16 GB"."""
    return _LISTENER.get()(what)
