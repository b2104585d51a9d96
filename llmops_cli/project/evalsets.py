"""Read `evalsets/<name>.yaml`, and prompt files that carry their own tests, into evalsets.

The header comes first: prompts, scorers, gate, and where the cases are. Cases are read when an
evalset is loaded, so that looking at one prompt does not load a million cases of another. Each is
checked against the prompt's inputs and its scorers; what a scorer's template makes of it is
computed here once, so that nothing undefined is found after a paid call.

A case as an object weighs 0.75 kB, packed about 0.1. An evalset of up to `OPEN` cases is a tuple.
A larger one is a sequence whose cases are packed in blocks, of which those that were used last
stay open; readers of cases go through them in order. A case that comes out is equal to the one
that went in.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, dataclass, fields, replace
from itertools import chain, islice
from typing import Any, cast, overload

from llmops_cli.core.digest import Json, digest, short
from llmops_cli.core.errors import InvalidFiles, Location, suggestion
from llmops_cli.core.literals import control_character, literals, restored, with_literals
from llmops_cli.core.ports import ScorerKind
from llmops_cli.core.prompt import Case, Evalset, Message, Prompt, ScorerSpec, remembered
from llmops_cli.project.documents import Document
from llmops_cli.project.inputs import Schemas, is_required, mismatch
from llmops_cli.project.models import Judges
from llmops_cli.project.paths import Problems, ProjectContext, Unreadable, within
from llmops_cli.project.prompts import case_rows, is_own_evalset, message_of, scorer_entries
from llmops_cli.project.schema import (
    NAME,
    Where,
    WrittenCase,
    WrittenEvalset,
    WrittenPrompt,
    read_gate,
    spelled,
    validated,
)
from llmops_cli.project.scorers import ScorerReader, structured_fields
from llmops_cli.project.tables import Field, Row, TableShape, below, rows_of
from llmops_cli.project.templates import Options

FOLDER = "evalsets"
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class EvalsetHeader(Evalset):
    """An evalset whose cases are not read yet."""

    cases: Sequence[Case] = ()
    complete: bool
    """Whether all its scorers could be read."""
    gate_at: Location
    table: str | None = None
    """The file of cases, from the project's root; None if the cases stand in `rows`."""
    rows: Sequence[Any] = ()
    where: Where
    """The line of an inline case, and of what is in it."""
    cases_at: Location
    structured: Mapping[Field, bool]
    """Fields that a table's cells are read into as JSON (`scorers.structured_fields`)."""


class EvalsetReader:
    """Reads the evalsets of one project, whose prompts are known."""

    def __init__(
        self,
        prompts: Mapping[str, Prompt],
        context: ProjectContext,
        problems: Problems,
        *,
        judges: Judges,
        unreadable: AbstractSet[str] = frozenset(),
    ) -> None:
        """Remember what evalsets may name; `unreadable` are prompts whose files are broken."""
        self._prompts = prompts
        self._unreadable = unreadable
        self._catalog = context.catalog
        self._source = context.source
        self._problems = problems
        self._judges = judges
        self._scorers = ScorerReader(context, judges, problems)

    def header(self, document: Document) -> EvalsetHeader | None:
        """Return the evalset of a file without its cases; None if too much is wrong to go on."""
        where = document.where
        before = len(self._problems)
        written = validated(WrittenEvalset, document.data, where, self._problems, salvage=True)
        if written is None:
            return None
        name = self._name(document)
        names = [written.prompt] if isinstance(written.prompt, str) else written.prompt
        names = [name] if names is None else list(dict.fromkeys(names))
        prompts = self._known(names, document)
        if len(prompts) < len(names):
            return None  # without the prompts' inputs, neither scorers nor cases can be checked
        inline = not isinstance(written.cases, str)
        scorers = self._specs(written.scorers, lambda *at: where("scorers", *at), prompts)
        data: Any = document.data
        return EvalsetHeader(
            name=name,
            path=document.path,
            prompts=prompts,
            scorers=scorers,
            complete=len(self._problems) == before,
            repeats=written.repeats,
            gate=read_gate(written.gate, where, self._problems, "gate"),
            gate_at=where("gate", "rules"),
            retired=written.retired,
            table=None if inline else self._table(str(written.cases), document),
            rows=data["cases"] if inline else (),
            where=lambda *at: where("cases", *at),
            cases_at=where("cases"),
            structured=structured_fields(scorers, self._catalog.scorers),
        )

    def own_header(
        self, prompt: Prompt, written: WrittenPrompt, document: Document
    ) -> EvalsetHeader | None:
        """Return the evalset that a GitHub prompt file carries; None if it carries none."""
        if not is_own_evalset(written):
            return None
        where = document.where
        before = len(self._problems)
        entries = scorer_entries(prompt, written, document, self._catalog, self._problems)
        positions = [position for position, _ in entries]
        scorers = self._specs(
            [entry for _, entry in entries],
            lambda position, *at: where("evaluators", positions[position], *at),
            (prompt.name,),
        )
        return EvalsetHeader(
            name=prompt.name,
            path=document.path,
            prompts=(prompt.name,),
            scorers=scorers,
            complete=len(self._problems) == before,
            gate_at=where(),
            rows=case_rows(prompt, written),
            where=lambda *at: where("testData", *at),
            cases_at=where("testData"),
            structured={},
        )

    def evalset(self, header: EvalsetHeader) -> Evalset:
        """Return the evalset with its cases; what is wrong with any is a problem."""
        before = len(self._problems)
        schemas = [self._prompts[name].inputs for name in header.prompts]
        models = [self._prompts[name].model for name in header.prompts]
        reader = CaseReader(
            header,
            schemas,
            self._catalog.scorers,
            self._scorers,
            self._problems,
            complete=header.complete,
            retrieves=any(map(self._judges.reports_passages, models)),
        )
        cases = in_memory(reader.read(self._rows(header, schemas)))
        if len(self._problems) == before:
            if not cases:
                self._problems.add(header.cases_at, f"the evalset '{header.name}' has no cases")
            self._check_rules(header, cases)
        values = {item.name: getattr(header, item.name) for item in fields(Evalset)}
        return Evalset(**{**values, "cases": cases})

    def _check_rules(self, header: EvalsetHeader, cases: Sequence[Case]) -> None:
        """Check that the metrics and tags of the evalset's own rules exist."""
        rules = header.gate.get("rules", ())
        if not isinstance(rules, list) or not rules:
            return
        known = {"metric": {"pass", *(spec.label for spec in header.scorers)}, "tag": set()}
        for case in cases:
            known["metric"].update(spec.label for spec in case.scorers)
            known["tag"].update(case.tags)
        for rule in rules:
            name, options = spelled(rule)
            for key, names in known.items():
                value = options.get(key)
                if value is not None and value not in names:
                    message = f"the rule '{name}' names the {key} '{value}', which no case has"
                    self._problems.add(header.gate_at, message, suggestion(value, sorted(names)))

    def _rows(self, header: EvalsetHeader, schemas: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
        if header.table is None:
            for position, row in enumerate(header.rows):
                yield below(header.where, position), row
            return
        merged = {name: schema for inputs in schemas for name, schema in inputs.items()}
        shape = TableShape(inputs=merged, structured=header.structured)
        try:
            yield from rows_of(header.table, self._source, shape, self._problems)
        except Unreadable as error:
            self._problems.add(header.cases_at, str(error))

    def _name(self, document: Document) -> str:
        name = document.path.removeprefix(f"{FOLDER}/").rpartition(".")[0]
        if not re.fullmatch(NAME, name):
            hint = "rename the file: lower case, '/' for folders"
            self._problems.add(document.where(), f"{name!r} cannot name an evalset", hint)
        return name

    def _known(self, names: Sequence[str], document: Document) -> tuple[str, ...]:
        for name in names:
            if name not in self._prompts and name not in self._unreadable:
                hint = suggestion(name, sorted({*self._prompts, *self._unreadable}))
                self._problems.add(document.where("prompt"), f"unknown prompt '{name}'", hint)
        if not names:
            self._problems.add(document.where("prompt"), "an evalset that gates no prompt")
        return tuple(name for name in names if name in self._prompts)

    def _specs(
        self, entries: Sequence[Any], where: Where, prompts: Sequence[str]
    ) -> tuple[ScorerSpec, ...]:
        inputs = {name for prompt in prompts for name in self._prompts[prompt].inputs}
        return self._scorers.read(entries, where, inputs=inputs, labels=set())

    def _table(self, written: str, document: Document) -> str:
        try:
            return within(written, folder=document.path.rpartition("/")[0])
        except Unreadable as error:
            self._problems.add(document.where("cases"), str(error))
            return ""


BLOCK = 256
"""Cases that are packed together."""
OPEN = 64 * BLOCK
"""The most cases in memory as objects, and about as many again while they are read."""
FAST = 1
"""The zlib level; 1 already makes cases three times smaller."""

_FIELDS = tuple(item.name for item in fields(Case) if item.init and item.name != "scorers")
_DEFAULTS = {item.name: item.default for item in fields(Case) if item.default is not MISSING}
_TUPLES = ("contexts", "tags")
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_DECODE = json.JSONDecoder().decode


def in_memory(cases: Iterable[Case]) -> Sequence[Case]:
    """Return `cases` as a sequence that takes little memory however many they are."""
    source = iter(cases)
    first = list(islice(source, OPEN + 1))
    if len(first) <= OPEN:
        return tuple(first)
    packed = PackedCases()
    for case in chain(first, source):
        packed.append(case)
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
        """Add one case at the end."""
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
            return [self[position] for position in range(*at.indices(len(self)))]
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
        cases = self._open.get(block)
        if cases is not None:
            return cases
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
        records = [[case.facts, _record(case)] for case in cases]
        return zlib.compress(_ENCODE(records).encode(), FAST)
    except TypeError:
        return cases


def _record(case: Case) -> dict[str, Any]:
    """Return every field of a case that is not as by default, its scorers apart."""
    values = {name: getattr(case, name) for name in _FIELDS}
    record = {name: value for name, value in values.items() if value != _DEFAULTS.get(name, ())}
    if case.messages:
        record["messages"] = [message.plain() for message in case.messages]
    if written := literals(record):
        record["literals"] = written
    if case.where is not None:
        record["where"] = [case.where.path, case.where.line]
    return record


def _values(record: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that make a case of its record."""
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


NO_METADATA: Mapping[str, Json] = {}
"""One empty mapping for all cases without metadata: there may be a million of them."""


class CaseReader:
    """Reads the cases of one evalset."""

    def __init__(  # noqa: PLR0913 - what cases have to fit, and who checks it
        self,
        evalset: Evalset,
        schemas: Sequence[Schemas],
        kinds: Mapping[str, ScorerKind],
        scorers: ScorerReader,
        problems: Problems,
        *,
        complete: bool = True,
        retrieves: bool = True,
    ) -> None:
        """Remember what the cases of `evalset` have to fit.

        `schemas` are the declared inputs of each prompt that it gates; `complete` says whether
        every scorer of it could be read: only then can a case lack one; `retrieves` whether answers
        may report passages of their own, so that a case needs none.
        """
        self._evalset = evalset
        self._schemas = schemas
        self._kinds = kinds
        self._scorers = scorers
        self._problems = problems
        self._complete = complete
        self._retrieves = retrieves
        self._inputs = frozenset(name for schema in schemas for name in schema)
        self._templated = self._compiled(evalset.scorers)
        self._needing = [spec for spec in evalset.scorers if kinds[spec.kind].needs_of_cases(spec)]
        self._labels = {spec.label for spec in evalset.scorers}
        self._lines: dict[str, int | None] = {}
        """Lines of the cases so far by their ids: there may be a million of them."""

    def read(self, rows: Iterable[Row]) -> Iterator[Case]:
        """Yield the cases of `rows`; what is wrong with any is a problem at its line."""
        for where, row in rows:
            written = validated(WrittenCase, row, where, self._problems)
            if written is not None:
                yield self._case(written, where)

    def _case(self, written: WrittenCase, where: Where) -> Case:
        line: Location = where()
        case = Case(
            id=written.id or self._default_id(written),
            inputs=written.inputs,
            expected=written.expected,
            contexts=tuple(written.contexts),
            messages=tuple(map(message_of, written.messages)),
            scorers=self._own_scorers(written, where),
            tags=tuple(written.tags),
            critical=written.critical,
            group=written.group,
            known_failing=written.known_failing,
            metadata=written.metadata or NO_METADATA,
            where=line,
        )
        self._check_id(case, line, has_id=written.id is not None)
        self._check_inputs(case, line)
        self._check_expected(case, line)
        self._check_scorers(case, line)
        return case

    def _default_id(self, written: WrittenCase) -> str:
        """Return the evalset's name and a digest of inputs and earlier turns.

        Editing `expected` keeps it, and with it the case's history.
        """
        question: dict[str, Json] = {
            "inputs": written.inputs,
            "messages": [message_of(message).plain() for message in written.messages],
        }
        named = short(digest("llmops/case-id/v1", with_literals(question)))
        return f"{self._evalset.name}-{named}"

    def _own_scorers(self, written: WrittenCase, where: Where) -> tuple[ScorerSpec, ...]:
        if not written.scorers:
            return ()
        return self._scorers.read(
            written.scorers,
            lambda *place: where("scorers", *place),
            inputs=self._inputs,
            labels=self._labels.copy(),
            of_a_case=True,
        )

    def _check_id(self, case: Case, line: Location, *, has_id: bool) -> None:
        if case.id not in self._lines:
            self._lines[case.id] = line.line
        else:
            first = replace(line, line=self._lines[case.id])
            what = f"the id '{case.id}' is" if has_id else "the same inputs are"
            hint = f"first at {first}" + ("" if has_id else "; give both an `id`")
            self._problems.add(line, f"{what} here twice", hint)
        if case.id in self._evalset.retired:
            self._problems.add(line, f"the case '{case.id}' is retired and still here")

    def _check_inputs(self, case: Case, line: Location) -> None:
        for name in case.inputs:
            if name not in self._inputs:
                message = f"the input '{name}' is not declared by the prompt"
                self._problems.add(line, message, suggestion(name, sorted(self._inputs)))
        for schemas in self._schemas:
            for name, schema in schemas.items():
                if name not in case.inputs:
                    if is_required(schema):
                        self._problems.add(line, f"the input '{name}' is missing")
                elif (why := mismatch(case.inputs[name], schema)) is not None:
                    self._problems.add(line, f"the input '{name}' {why}")

    def _check_expected(self, case: Case, line: Location) -> None:
        if (control := control_character(case.expected)) is not None:
            self._problems.add(line, f"'expected' {control[0]}", control[1])

    def _check_scorers(self, case: Case, line: Location) -> None:
        asserts = self._evalset.scorers or any(not spec.advisory for spec in case.scorers)
        if self._complete and not asserts:
            hint = "add a scorer to it or to its evalset"
            self._problems.add(line, f"the case '{case.id}' asserts nothing", hint)
        own = self._compiled(case.scorers) if case.scorers else ()
        for spec, options in (*self._templated, *own):
            try:
                rendered = options.render(case)
            except InvalidFiles as error:
                self._problems.take(*error.problems)
                continue
            for why in self._scorers.wrong_options(spec, rendered):
                self._problems.add(line, f"'{spec.label}' of this case: {why}")
        for spec in (*self._needing, *case.scorers):
            for why in self._scorers.wrong_expected(spec, case):
                self._problems.add(line, f"'{spec.label}' with the `expected` of this case: {why}")
            lacking = self._kinds[spec.kind].lacks(spec, case, retrieves=self._retrieves)
            if lacking is not None:
                self._problems.add(line, lacking, _remedy(lacking))

    def _compiled(self, scorers: Sequence[ScorerSpec]) -> list[tuple[ScorerSpec, Options]]:
        """Return the scorers whose options differ from case to case."""
        compiled = ((spec, Options(spec, self._kinds[spec.kind])) for spec in scorers)
        return [(spec, options) for spec, options in compiled if options.changing]


def _remedy(lacking: str) -> str:
    if "`expected`" in lacking:
        return "give the case an `expected`"
    if "`contexts`" in lacking:
        return "give the case `contexts`, or have an application report them"
    return 'name the input, as `question: "{{ … }}"`'
