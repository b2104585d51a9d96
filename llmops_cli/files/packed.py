"""Many cases in little memory: a case as an object weighs 0.75 kB, packed about 0.1.

An evalset of up to `OPEN` cases is a tuple. A larger one is a sequence whose cases are packed in
blocks, of which those that were used last stay open; all that reads cases goes through them in
order. A case that comes out is equal to the one that went in.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from itertools import islice
from typing import Any, overload

from llmops_cli.core.case import Case, ScorerSpec, remembered
from llmops_cli.core.errors import Location
from llmops_cli.core.prompt import Message

BLOCK = 256
"""Cases that are packed together."""
OPEN = 64 * BLOCK
"""Cases that stand in memory as objects at most, and about as many again while they are read."""
FAST = 1
"""zlib's level: three times smaller already."""

_FIELDS = tuple(each.name for each in fields(Case) if each.init and each.name != "scorers")
_DEFAULTS = {each.name: each.default for each in fields(Case) if each.default is not MISSING}
_TUPLES = ("contexts", "tags")
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_DECODE = json.JSONDecoder().decode


def in_memory(cases: Iterable[Case]) -> Sequence[Case]:
    """`cases` as a sequence that takes little memory however many they are."""
    source = iter(cases)
    first = list(islice(source, OPEN + 1))
    if len(first) <= OPEN:
        return tuple(first)
    packed = PackedCases()
    for each in first:
        packed.append(each)
    del first
    for each in source:
        packed.append(each)
    return packed


class PackedCases(Sequence[Case]):
    """Cases in blocks: packed, or open where they were used last."""

    def __init__(self) -> None:
        self._packed: list[bytes | list[Case]] = []
        """Whole blocks; one that JSON cannot carry stays as it is."""
        self._last: list[Case] = []
        self._open: dict[int, list[Case]] = {}
        self._scorers: dict[int, tuple[ScorerSpec, ...]] = {}
        """Cases' own scorers, by position: they are few."""

    def append(self, case: Case) -> None:
        """One more at the end."""
        if case.scorers:
            self._scorers[len(self)] = case.scorers
        self._last.append(case)
        if len(self._last) == BLOCK:
            self._packed.append(_pack(self._last))
            self._last = []

    def __len__(self) -> int:
        return len(self._packed) * BLOCK + len(self._last)

    @overload
    def __getitem__(self, at: int) -> Case: ...
    @overload
    def __getitem__(self, at: slice) -> list[Case]: ...
    def __getitem__(self, at: int | slice) -> Case | list[Case]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        if at < 0:
            at += len(self)
        block, place = divmod(at, BLOCK)
        if at < 0 or block > len(self._packed):
            raise IndexError(at)
        return self._block(block)[place]

    def __iter__(self) -> Iterator[Case]:
        for block in range(len(self._packed)):
            yield from self._block(block)
        yield from self._last

    def _block(self, block: int) -> list[Case]:
        found = self._open.get(block)
        if found is not None:
            return found
        if block == len(self._packed):
            return self._last
        packed = self._packed[block]
        if not isinstance(packed, bytes):
            return packed
        if len(self._open) * BLOCK >= OPEN:
            del self._open[next(iter(self._open))]
        opened = self._open[block] = self._unpack(packed, block * BLOCK)
        return opened

    def _unpack(self, packed: bytes, start: int) -> list[Case]:
        records = _DECODE(zlib.decompress(packed).decode())
        scorers = self._scorers
        return [
            remembered(Case(**_values(record), scorers=scorers.get(at, ())), facts)
            for at, (facts, record) in enumerate(records, start=start)
        ]


def _pack(cases: list[Case]) -> bytes | list[Case]:
    try:
        return zlib.compress(
            _ENCODE([[each.facts, _record(each)] for each in cases]).encode(), FAST
        )
    except TypeError:
        return cases


def _record(case: Case) -> dict[str, Any]:
    """Everything of a case that is not as by default, its scorers apart."""
    given = {name: getattr(case, name) for name in _FIELDS}
    record = {name: value for name, value in given.items() if value != _DEFAULTS.get(name, ())}
    if case.messages:
        record["messages"] = [each.plain() for each in case.messages]
    if case.where is not None:
        record["where"] = [case.where.path, case.where.line]
    return record


def _values(record: dict[str, Any]) -> dict[str, Any]:
    """The arguments that make a case of its record."""
    for name in _TUPLES:
        if name in record:
            record[name] = tuple(record[name])
    if "messages" in record:
        record["messages"] = tuple(map(_message, record["messages"]))
    if "where" in record:
        path, line = record["where"]
        record["where"] = Location(path=path, line=line)
    return record


def _message(plain: dict[str, Any]) -> Message:
    content = plain["content"]
    return Message(
        role=plain["role"], content=content if isinstance(content, str) else tuple(content)
    )
