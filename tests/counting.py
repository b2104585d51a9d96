"""Measure work in numbers that no other load on the machine changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_made_by(function: Callable[[], object]) -> int:
    """Return how many functions `function()` calls, Python's and C's."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def cpu_in_loops(seconds: float) -> float:
    """Return CPU `seconds` in units of a loop over a million numbers on this machine, right now."""
    began = time.process_time()
    for _ in range(1_000_000):
        pass
    return seconds / (time.process_time() - began)
