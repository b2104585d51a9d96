"""Long columns in little memory: a million cases are a million entries in each.

A digest is 32 bytes here and 120 as text; a draw is 8 bytes here and a tuple of two numbers
otherwise. Both are sequences of what they stand for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

PREFIX = "sha256:"
WIDTH = 32
"""Bytes of a digest."""


class DrawAt(NamedTuple):
    """A draw of an arm: position of its case in the evalset, and its number."""

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


class Draws(Sequence[DrawAt]):
    """Draws in the order in which they were added."""

    __slots__ = ("_cases", "_numbers")

    def __init__(self) -> None:
        self._cases = array("i")
        self._numbers = array("i")

    def append(self, draw: DrawAt) -> None:
        """One more at the end."""
        self._cases.append(draw.case)
        self._numbers.append(draw.n)

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, at: int) -> DrawAt: ...
    @overload
    def __getitem__(self, at: slice) -> list[DrawAt]: ...
    def __getitem__(self, at: int | slice) -> DrawAt | list[DrawAt]:
        if isinstance(at, slice):
            return list(map(DrawAt, self._cases[at], self._numbers[at]))
        return DrawAt(self._cases[at], self._numbers[at])

    def __iter__(self) -> Iterator[DrawAt]:
        return map(DrawAt, self._cases, self._numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
