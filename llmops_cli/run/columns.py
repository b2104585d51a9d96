"""Long columns in little memory: a million cases are a million entries in each.

A digest is 32 bytes here and 120 as text; a trial is 8 bytes here and a tuple of two numbers
otherwise. Both are sequences of what they stand for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

PREFIX = "sha256:"
WIDTH = 32
"""Bytes of a digest."""


class TrialAt(NamedTuple):
    """A draw of a side: position of its case in the evalset, and its number."""

    case: int
    n: int


class Digests:
    """Digests by position: it grows, and single ones may be replaced."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def append(self, digest: str) -> None:
        """One more at the end."""
        self._bytes += bytes.fromhex(digest.removeprefix(PREFIX))

    def __len__(self) -> int:
        return len(self._bytes) // WIDTH

    def __getitem__(self, at: int) -> str:
        start = at * WIDTH
        if not 0 <= start < len(self._bytes):
            raise IndexError(at)
        return PREFIX + self._bytes[start : start + WIDTH].hex()

    def __setitem__(self, at: int, digest: str) -> None:
        self._bytes[at * WIDTH : (at + 1) * WIDTH] = bytes.fromhex(digest.removeprefix(PREFIX))

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


class Trials(Sequence[TrialAt]):
    """Trials in the order in which they were added."""

    __slots__ = ("_cases", "_numbers")

    def __init__(self) -> None:
        self._cases = array("i")
        self._numbers = array("i")

    def append(self, trial: TrialAt) -> None:
        """One more at the end."""
        self._cases.append(trial.case)
        self._numbers.append(trial.n)

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, at: int) -> TrialAt: ...
    @overload
    def __getitem__(self, at: slice) -> list[TrialAt]: ...
    def __getitem__(self, at: int | slice) -> TrialAt | list[TrialAt]:
        if isinstance(at, slice):
            return list(map(TrialAt, self._cases[at], self._numbers[at]))
        return TrialAt(self._cases[at], self._numbers[at])

    def __iter__(self) -> Iterator[TrialAt]:
        return map(TrialAt, self._cases, self._numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
