"""Many cases in little memory: a case as an object weighs 0.75 kB, packed about 0.1.

An evalset of up to `OPEN` cases is a tuple. A larger one is a sequence whose cases are packed in
blocks, of which those that were used last stay open; all that reads cases goes through them in
order. A case that comes out is equal to the one that went in.

Turns rows into cases, each checked against the prompt's inputs and against its scorers.

A case without an id is named by its evalset and a digest of what is asked (inputs and earlier
turns), so that editing `expected` keeps the name, and with it the history. What a scorer's
template makes of a case is computed here once, so that nothing undefined is found after a paid
call.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import islice
from typing import Any, cast, overload

from llmops_cli.core.case import Case, ScorerSpec, remembered
from llmops_cli.core.catalog import ScorerKind
from llmops_cli.core.digest import Json, digest, short
from llmops_cli.core.errors import InvalidFiles, Location, suggestion
from llmops_cli.core.number import literals, restored, with_literals
from llmops_cli.core.prompt import Message
from llmops_cli.project.inputs import Schemas, is_required, mismatch
from llmops_cli.project.paths import Problems
from llmops_cli.project.prompts import message_of
from llmops_cli.project.schema import WrittenCase
from llmops_cli.project.scorers import ScorerReader
from llmops_cli.project.tables import Row
from llmops_cli.project.templates import Options
from llmops_cli.project.validation import Where, validated

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
    if written := literals(record):
        record["literals"] = written
    if case.where is not None:
        record["where"] = [case.where.path, case.where.line]
    return record


def _values(record: dict[str, Any]) -> dict[str, Any]:
    """The arguments that make a case of its record."""
    if written := record.pop("literals", None):
        record = cast("dict[str, Any]", restored(record, written))
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


NOTHING: Mapping[str, Json] = {}
"""One empty mapping for all cases without metadata: there may be a million of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What the cases of one evalset have to fit."""

    evalset: str
    schemas: Sequence[Schemas]
    """The declared inputs of each prompt that the evalset gates."""
    scorers: tuple[ScorerSpec, ...]
    complete: bool
    """Whether every scorer of the evalset could be read: only then can a case lack one."""
    retired: Mapping[str, str]


class CaseReader:
    """Reads the cases of one evalset."""

    def __init__(
        self,
        expectations: Expectations,
        kinds: Mapping[str, ScorerKind],
        reader: ScorerReader,
        problems: Problems,
    ) -> None:
        self._wanted = expectations
        self._kinds = kinds
        self._reader = reader
        self._problems = problems
        self._names = frozenset(name for each in expectations.schemas for name in each)
        self._templated = self._compiled(expectations.scorers)
        self._expecting = [
            spec
            for spec in expectations.scorers
            if kinds[spec.kind].expects is not None or kinds[spec.kind].question is not None
        ]
        self._labels = {spec.label for spec in expectations.scorers}
        self._seen: dict[str, int | None] = {}
        """Ids of the cases so far, with their lines: there may be a million of them."""

    def read(self, rows: Iterable[Row]) -> Iterator[Case]:
        """The cases of `rows`; what is wrong with any is noted, with its line."""
        for where, row in rows:
            written = validated(WrittenCase, row, where, self._problems)
            if written is not None:
                yield self._case(written, where)

    def _case(self, written: WrittenCase, where: Where) -> Case:
        line: Location = where()
        scorers = self._scorers_of(written, where)
        case = Case(
            id=written.id or self._named(written),
            inputs=written.inputs,
            expected=written.expected,
            contexts=tuple(written.contexts),
            messages=tuple(map(message_of, written.messages)),
            scorers=scorers,
            tags=tuple(written.tags),
            critical=written.critical,
            group=written.group,
            known_failing=written.known_failing,
            metadata=written.metadata or NOTHING,
            where=line,
        )
        self._check_id(case, line, given=written.id is not None)
        self._check_inputs(case, line)
        self._check_scorers(case, line)
        return case

    def _named(self, written: WrittenCase) -> str:
        asked: dict[str, Json] = {
            "inputs": written.inputs,
            "messages": [message_of(each).plain() for each in written.messages],
        }
        return f"{self._wanted.evalset}-{short(digest('llmops/case-id/v1', with_literals(asked)))}"

    def _scorers_of(self, written: WrittenCase, where: Where) -> tuple[ScorerSpec, ...]:
        if not written.scorers:
            return ()
        return self._reader.read(
            written.scorers,
            lambda *place: where("scorers", *place),
            names=self._names,
            taken=self._labels.copy(),
            of_a_case=True,
        )

    def _check_id(self, case: Case, line: Location, *, given: bool) -> None:
        if case.id not in self._seen:
            self._seen[case.id] = line.line
        else:
            first = replace(line, line=self._seen[case.id])
            what = f"the id '{case.id}' is" if given else "the same inputs are"
            hint = f"first at {first}" + ("" if given else "; give both an `id`")
            self._problems.add(line, f"{what} here twice", hint)
        if case.id in self._wanted.retired:
            self._problems.add(line, f"the case '{case.id}' is retired and still here")

    def _check_inputs(self, case: Case, line: Location) -> None:
        for name in case.inputs:
            if name not in self._names:
                message = f"the input '{name}' is not declared by the prompt"
                self._problems.add(line, message, suggestion(name, sorted(self._names)))
        for schemas in self._wanted.schemas:
            for name, schema in schemas.items():
                if name not in case.inputs:
                    if is_required(schema):
                        self._problems.add(line, f"the input '{name}' is missing")
                elif (why := mismatch(case.inputs[name], schema)) is not None:
                    self._problems.add(line, f"the input '{name}' {why}")

    def _check_scorers(self, case: Case, line: Location) -> None:
        asserts = self._wanted.scorers or any(not spec.advisory for spec in case.scorers)
        if self._wanted.complete and not asserts:
            hint = "add a scorer to it or to its evalset"
            self._problems.add(line, f"the case '{case.id}' asserts nothing", hint)
        own = self._compiled(case.scorers) if case.scorers else ()
        for spec, options in (*self._templated, *own):
            try:
                rendered = options.render(case)
            except InvalidFiles as error:
                self._problems.take(*error.problems)
                continue
            for why in self._reader.wrong(spec, rendered):
                self._problems.add(line, f"'{spec.label}' of this case: {why}")
        for spec in (*self._expecting, *case.scorers):
            for why in self._reader.wrong_expected(spec, case):
                self._problems.add(line, f"'{spec.label}' with the `expected` of this case: {why}")
            if (lacking := self._kinds[spec.kind].lacks(spec, case)) is not None:
                self._problems.add(line, lacking, _remedy(lacking))

    def _compiled(self, scorers: Sequence[ScorerSpec]) -> list[tuple[ScorerSpec, Options]]:
        compiled = ((spec, Options(spec, self._kinds[spec.kind])) for spec in scorers)
        return [(spec, options) for spec, options in compiled if options.changing]


def _remedy(lacking: str) -> str:
    if "`expected`" in lacking:
        return "give the case an `expected`"
    return 'name the input, as `question: "{{ … }}"`'
