"""Which trials a verdict needs of a side, which of them are missing, and which are only unscored.

Plans are columns, not objects: a million cases are a million entries in each. A digest is 32 bytes
here and 120 as text; a trial is 8 bytes here and a tuple of two numbers otherwise.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

PREFIX = "sha256:"
WIDTH = 32
"""Bytes of a digest."""


class TrialAt(NamedTuple):
    """A trial of a side: the position of its case in the evalset, and its number."""

    case: int
    n: int


class Digests:
    """Digests by position. The column grows, and single ones may be replaced."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def append(self, digest: str) -> None:
        """Add one at the end."""
        self._bytes += bytes.fromhex(digest.removeprefix(PREFIX))

    def __len__(self) -> int:
        return len(self._bytes) // WIDTH

    def __getitem__(self, position: int) -> str:
        start = position * WIDTH
        if not 0 <= start < len(self._bytes):
            raise IndexError(position)
        return PREFIX + self._bytes[start : start + WIDTH].hex()

    def __setitem__(self, position: int, digest: str) -> None:
        raw = bytes.fromhex(digest.removeprefix(PREFIX))
        self._bytes[position * WIDTH : (position + 1) * WIDTH] = raw

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


class TrialColumn(Sequence[TrialAt]):
    """Trials in the order in which they were added."""

    __slots__ = ("_cases", "_numbers")

    def __init__(self) -> None:
        self._cases = array("i")
        self._numbers = array("i")

    def append(self, trial: TrialAt) -> None:
        """Add one at the end."""
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


@dataclass(kw_only=True)
class TrialPlan:
    """The trials of one side: the rules by which stored ones count, and what is left to do."""

    repeats: int
    """Trials per case that are planned."""
    not_before: str | None = None
    """UTC time (ISO 8601). Where age matters, stored answers that are older do not count."""
    not_after: str = "9999"
    """Nor do those that are dated later: a clock ran ahead."""
    pools: bool = True
    """Whether further trials of the same request count too: running again adds trials, it never
    replaces them (docs/verdict.md). Not where the question is whether answers changed."""
    fresh: bool = False
    """Whether no stored answer counts until it has been run again."""
    renewed: bool = False
    """Whether it was run again in this run, because another model had answered it."""
    requests: Digests = field(default_factory=Digests)
    """Request digest per case."""
    record_places: array[int] = field(default_factory=lambda: array("q"))
    """Place of each case's answer among recorded answers; 0: there is none."""
    same_records: frozenset[int] = frozenset()
    """Positions of cases whose only record is the answer of the other side."""
    wanted: list[tuple[int, ...]] = field(default_factory=list)
    """Numbers of the trials of each case."""
    missing: Sequence[TrialAt] = ()
    """Trials to call."""
    shared: Sequence[TrialAt] = ()
    """Trials that an equal request, here or of another side, makes for this one too."""
    rescore: Sequence[TrialAt] = ()
    """Trials whose answer is stored and some score is not."""

    @property
    def planned(self) -> int:
        """Return the number of trials in all."""
        return sum(map(len, self.wanted))

    def trials(self, positions: Sequence[int]) -> list[TrialAt]:
        """Return every wanted trial of the cases at `positions`."""
        return [TrialAt(case, n) for case in positions for n in self.wanted[case]]

    def counts(self, answered_at: str | None) -> bool:
        """Whether an answer of that time may be used."""
        if self.not_before is None:
            return True
        return self.not_before <= (answered_at or "") <= self.not_after

    def finish(self) -> None:
        """Clear what was left to do: it is done, or among the failures."""
        self.missing, self.shared, self.rescore = (), (), ()

    def run_again(self, now: str) -> None:
        """Plan every trial again: another model answered under the same name."""
        self.not_before, self.renewed, self.pools = now, True, False
