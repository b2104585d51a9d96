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
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any, cast, overload

from llmops_cli.core.digest import Json, digest, short
from llmops_cli.core.errors import InvalidFiles, Location, suggestion
from llmops_cli.core.literals import control_character, literals, restored, with_literals
from llmops_cli.core.prompt import Case, Evalset, Message, Prompt, ScorerSpec, remembered
from llmops_cli.project.documents import Document
from llmops_cli.project.inputs import is_required, mismatch
from llmops_cli.project.models import ProjectContext
from llmops_cli.project.paths import Problems, Unreadable, within
from llmops_cli.project.policy import read_gate, spelled
from llmops_cli.project.prompts import case_rows, message_of, scorer_entries
from llmops_cli.project.schema import (
    NAME,
    Where,
    WrittenCase,
    WrittenEvalset,
    WrittenPrompt,
    validated,
)
from llmops_cli.project.scorers import ScorerReader, structured_fields
from llmops_cli.project.tables import Field, Row, TableShape, rows_of
from llmops_cli.project.templates import Options

FOLDER = "evalsets"
ENDINGS = (".yaml", ".yml")
DRAFTS = ".drafts.jsonl"
"""Ending of the cases that `traces draft` adds to an evalset with a file of cases."""
BLOCK = 256
"""Cases that are packed together."""
OPEN = 64 * BLOCK
"""The most cases in memory as objects, and about as many again while they are read."""
FAST = 1
"""The zlib level; 1 already makes cases three times smaller."""
PLAIN_FIELDS = {
    item.name: () if item.default is MISSING else item.default
    for item in fields(Case)
    if item.init and item.name not in {"scorers", "messages", "where"}
}
"""The fields of a case that are plain data, and their defaults."""
NO_METADATA: Mapping[str, Json] = {}
"""One empty mapping for all cases without metadata: there may be a million of them."""
REMEDIES = {
    "`expected`": "give the case an `expected`",
    "`contexts`": "give the case `contexts`, or have an application report them",
}
"""What to do about a case that lacks what a scorer needs, by what the message names."""
NAME_THE_INPUT = 'name the input, as `question: "{{ … }}"`'


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
    structured: Mapping[Field, bool]
    """Fields that a table's cells are read into as JSON (`scorers.structured_fields`)."""


class EvalsetReader:
    """Reads the evalsets of one project, whose prompts are known."""

    def __init__(
        self,
        context: ProjectContext,
        problems: Problems,
        unreadable: AbstractSet[str] = frozenset(),
    ) -> None:
        """Remember what evalsets may name; `unreadable` are prompts whose files are broken."""
        self._context = context
        self._prompts = context.prompts
        self._unreadable = unreadable
        self._problems = problems
        self._scorers = ScorerReader(context, problems)

    def header(self, document: Document) -> EvalsetHeader | None:
        """Return the evalset of a file without its cases; None if too much is wrong to go on."""
        where = document.where
        before = len(self._problems)
        written = validated(WrittenEvalset, document.data, where, self._problems, salvage=True)
        if written is None:
            return None
        name = document.path.removeprefix(f"{FOLDER}/").rpartition(".")[0]
        if not re.fullmatch(NAME, name):
            hint = "rename the file: lower case, '/' for folders"
            self._problems.add(where(), f"{name!r} cannot name an evalset", hint)
        names = [written.prompt] if isinstance(written.prompt, str) else written.prompt
        prompts = tuple(dict.fromkeys([name] if names is None else names))
        if not self._are_known(prompts, where("prompt")):
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
            structured=structured_fields(scorers, self._context.catalog.scorers),
        )

    def own_header(
        self, prompt: Prompt, written: WrittenPrompt, document: Document
    ) -> EvalsetHeader | None:
        """Return the evalset that a GitHub prompt file carries; None if it carries none."""
        if not (written.evaluators and written.test_data):  # either half asserts nothing alone
            return None
        where = document.where
        before = len(self._problems)
        catalog = self._context.catalog
        entries = scorer_entries(prompt, written, document, catalog, self._problems)
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
            structured={},
        )

    def evalset(self, header: EvalsetHeader) -> Evalset:
        """Return the evalset with its cases; what is wrong with any is a problem."""
        before = len(self._problems)
        prompts = (self._prompts[name] for name in header.prompts)
        reader = CaseReader(
            self._context,
            header,
            self._scorers,
            self._problems,
            complete=header.complete,
            retrieves=any(map(self._context.reports_passages, prompts)),
        )
        cases = in_memory(reader.read(self._rows(header)))
        if len(self._problems) == before:
            if not cases:
                self._problems.add(header.where(), f"the evalset '{header.name}' has no cases")
            self._check_rules(header, cases)
        values = {item.name: getattr(header, item.name) for item in fields(Evalset)}
        return Evalset(**{**values, "cases": cases, "drafts": reader.drafts})

    def _check_rules(self, header: EvalsetHeader, cases: Sequence[Case]) -> None:
        """Check that the metrics and tags of the evalset's own rules exist."""
        rules: Any = header.gate.get("rules", ())
        if not rules:
            return
        known = {"metric": {"pass", *(spec.label for spec in header.scorers)}, "tag": set()}
        for case in cases:
            known["metric"].update(spec.label for spec in case.scorers)
            known["tag"].update(case.tags)
        for name, options in map(spelled, rules):
            for key, names in known.items():
                value = options.get(key)
                if value is not None and value not in names:
                    message = f"the rule '{name}' names the {key} '{value}', which no case has"
                    self._problems.add(header.gate_at, message, suggestion(value, sorted(names)))

    def _rows(self, header: EvalsetHeader) -> Iterator[Row]:
        if header.table is None:
            for position, row in enumerate(header.rows):
                yield partial(header.where, position), row
            return
        inputs = self._context.inputs_of(header.prompts)
        shape = TableShape(inputs=inputs, structured=header.structured)
        try:
            yield from rows_of(header.table, self._context.source, shape, self._problems)
            drafts = f"{FOLDER}/{header.name}{DRAFTS}"
            if drafts in self._context.source.files(FOLDER):
                yield from rows_of(drafts, self._context.source, shape, self._problems)
        except Unreadable as error:
            self._problems.add(header.where(), str(error))

    def _are_known(self, names: Sequence[str], where: Location) -> bool:
        """Return whether the prompts could all be read; an unknown one is a problem."""
        known = {*self._prompts, *self._unreadable}
        for name in names:
            if name not in known:
                hint = suggestion(name, sorted(known))
                self._problems.add(where, f"unknown prompt '{name}'", hint)
        if not names:
            self._problems.add(where, "an evalset that gates no prompt")
        return self._prompts.keys() >= set(names)

    def _specs(
        self, entries: Sequence[Any], where: Where, prompts: Sequence[str]
    ) -> tuple[ScorerSpec, ...]:
        context, inputs = self._context, self._context.inputs_of(prompts).keys()
        own = self._scorers.read(entries, where, inputs=inputs, labels=set())
        defaults = self._scorers.read(
            context.default_scorers, context.defaults_at, inputs=inputs, labels=set()
        )
        labels = {spec.label for spec in own}  # an evalset's own scorer replaces one of its name
        return own + tuple(spec for spec in defaults if spec.label not in labels)

    def _table(self, written: str, document: Document) -> str:
        try:
            return within(written, folder=document.path.rpartition("/")[0])
        except Unreadable as error:
            self._problems.add(document.where("cases"), str(error))
            return ""


class CaseReader:
    """Reads the cases of one evalset."""

    def __init__(
        self,
        context: ProjectContext,
        evalset: Evalset,
        scorers: ScorerReader,
        problems: Problems,
        *,
        complete: bool = True,
        retrieves: bool = True,
    ) -> None:
        """Remember what the cases of `evalset` have to fit.

        `complete` says whether every scorer of it could be read: only then can a case lack one;
        `retrieves` whether answers may report passages of their own, so that a case needs none.
        """
        self._evalset = evalset
        self._schemas = [context.prompts[name].inputs for name in evalset.prompts]
        self._kinds = kinds = context.catalog.scorers
        self._scorers = scorers
        self._problems = problems
        self._complete = complete
        self._retrieves = retrieves
        self._inputs = context.inputs_of(evalset.prompts).keys()
        self._templated = self._compiled(evalset.scorers)
        self._needing = [spec for spec in evalset.scorers if kinds[spec.kind].needs_of_cases(spec)]
        self._lines: dict[str, int | None] = {}
        """Lines of the cases so far by their ids: there may be a million of them."""
        self.drafts = 0
        self._defaults = dict(context.default_case)
        if "inputs" in self._defaults:
            known = self._inputs
            inputs = self._defaults["inputs"].items()
            self._defaults["inputs"] = {name: text for name, text in inputs if name in known}

    def read(self, rows: Iterable[Row]) -> Iterator[Case]:
        """Yield the cases of `rows`; what is wrong with any is a problem at its line."""
        for where, row in rows:
            written = validated(WrittenCase, self._with_defaults(row), where, self._problems)
            if written is not None and written.draft:
                self.drafts += 1
            elif written is not None:
                yield self._case(written, where)

    def _with_defaults(self, row: Any) -> Any:
        defaults = self._defaults
        if not defaults or not isinstance(row, dict):
            return row
        own = row.get("inputs")
        inputs = {**defaults.get("inputs", {}), **own} if isinstance(own, dict) else own
        return {**defaults, **row, **({} if own is None else {"inputs": inputs})}

    def _case(self, written: WrittenCase, where: Where) -> Case:
        line: Location = where()
        messages = tuple(map(message_of, written.messages))
        case = Case(
            id=written.id or self._default_id(written.inputs, messages),
            inputs=written.inputs,
            expected=written.expected,
            contexts=tuple(written.contexts),
            messages=messages,
            scorers=self._own_scorers(written, where) if written.scorers else (),
            tags=tuple(written.tags),
            critical=written.critical,
            group=written.group,
            known_failing=written.known_failing,
            metadata=written.metadata or NO_METADATA,
            where=line,
        )
        self._check_id(case, line, has_id=written.id is not None)
        self._check_inputs(case, line)
        if (control := control_character(case.expected)) is not None:
            self._problems.add(line, f"'expected' {control[0]}", control[1])
        self._check_scorers(case, line)
        return case

    def _default_id(self, inputs: Mapping[str, Json], messages: Sequence[Message]) -> str:
        """Return the evalset's name and a digest of inputs and earlier turns.

        Editing `expected` keeps it, and with it the case's history.
        """
        question: dict[str, Json] = {
            "inputs": dict(inputs),
            "messages": [message.plain() for message in messages],
        }
        return f"{self._evalset.name}-{short(digest('llmops/case-id/v1', with_literals(question)))}"

    def _own_scorers(self, written: WrittenCase, where: Where) -> tuple[ScorerSpec, ...]:
        return self._scorers.read(
            written.scorers,
            partial(where, "scorers"),
            inputs=self._inputs,
            labels={spec.label for spec in self._evalset.scorers},
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
        for name in (name for name in case.inputs if name not in self._inputs):
            message = f"the input '{name}' is not declared by the prompt"
            self._problems.add(line, message, suggestion(name, sorted(self._inputs)))
        for name, schema in chain.from_iterable(schemas.items() for schemas in self._schemas):
            if name not in case.inputs:
                if is_required(schema):
                    self._problems.add(line, f"the input '{name}' is missing")
            elif (why := mismatch(case.inputs[name], schema)) is not None:
                self._problems.add(line, f"the input '{name}' {why}")

    def _check_scorers(self, case: Case, line: Location) -> None:
        asserts = self._evalset.scorers or any(not spec.advisory for spec in case.scorers)
        if self._complete and not asserts:
            hint = "add a scorer to it or to its evalset"
            self._problems.add(line, f"the case '{case.id}' asserts nothing", hint)
        for spec, options in (*self._templated, *self._compiled(case.scorers)):
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
                remedies = (hint for part, hint in REMEDIES.items() if part in lacking)
                self._problems.add(line, lacking, next(remedies, NAME_THE_INPUT))

    def _compiled(self, scorers: Sequence[ScorerSpec]) -> list[tuple[ScorerSpec, Options]]:
        """Return the scorers whose options differ from case to case."""
        compiled = ((spec, Options(spec, self._kinds[spec.kind])) for spec in scorers)
        return [(spec, options) for spec, options in compiled if options.changing]


def in_memory(cases: Iterable[Case]) -> Sequence[Case]:
    """Return `cases` as a sequence that takes little memory however many they are."""
    source = iter(cases)
    first = tuple(islice(source, OPEN + 1))
    return first if len(first) <= OPEN else PackedCases(chain(first, source))


class PackedCases(Sequence[Case]):
    """Cases in blocks: packed, or open where they were used last."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._packed: list[bytes | list[Case]] = []
        """Blocks; one that JSON cannot carry stays as it is."""
        self._size = 0
        self._scorers: dict[int, tuple[ScorerSpec, ...]] = {}
        """Cases' own scorers, by position: they are few."""
        source = iter(cases)
        while block := list(islice(source, BLOCK)):
            for at, case in enumerate(block, start=self._size):
                if case.scorers:
                    self._scorers[at] = case.scorers
            self._packed.append(_pack(block))
            self._size += len(block)
        self._block = lru_cache(OPEN // BLOCK)(self._opened)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> Case: ...
    @overload
    def __getitem__(self, at: slice) -> list[Case]: ...
    def __getitem__(self, at: int | slice) -> Case | list[Case]:
        positions = range(self._size)[at]
        if isinstance(positions, range):
            return [self[position] for position in positions]
        block, place = divmod(positions, BLOCK)
        return self._block(block)[place]

    def __iter__(self) -> Iterator[Case]:
        return chain.from_iterable(map(self._block, range(len(self._packed))))

    def _opened(self, block: int) -> list[Case]:
        packed = self._packed[block]
        if not isinstance(packed, bytes):
            return packed
        records = json.loads(zlib.decompress(packed))
        return [
            _case(record, self._scorers.get(at, ()))
            for at, record in enumerate(records, start=block * BLOCK)
        ]


def _pack(cases: list[Case]) -> bytes | list[Case]:
    """Return cases as compressed JSON, their scorers apart, or as they are if JSON has no such."""
    records = []
    for case in cases:
        values = ((name, getattr(case, name)) for name in PLAIN_FIELDS)
        plain = {name: value for name, value in values if value != PLAIN_FIELDS[name]}
        messages = [message.plain() for message in case.messages]
        where = case.where and [case.where.path, case.where.line]
        records.append([case.facts, where, literals([plain, messages]), plain, messages])
    try:
        return zlib.compress(json.dumps(records, separators=(",", ":")).encode(), FAST)
    except TypeError:
        return cases


def _case(record: list[Any], scorers: tuple[ScorerSpec, ...]) -> Case:
    """Return the case of its record, as `_pack` made it."""
    facts, where, written, *values = record
    plain, messages = cast("list[Any]", restored(values, written)) if written else values
    for name in ("contexts", "tags"):
        if name in plain:
            plain[name] = tuple(plain[name])
    if where:
        plain["where"] = Location(path=where[0], line=where[1])
    for message in messages:
        if not isinstance(message["content"], str):
            message["content"] = tuple(message["content"])
    turns = tuple([Message(**message) for message in messages])
    return remembered(Case(**plain, messages=turns, scorers=scorers), facts)
