"""Reads `evalsets/<name>.yaml`, and prompt files that carry their own tests, into evalsets.

The header comes first: prompts, scorers, gate, and where the cases are. Cases are read when an
evalset is loaded, so that looking at one prompt does not load a million cases of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from typing import Any

from llmops_cli.core.errors import Location, suggestion
from llmops_cli.core.prompt import Case, Evalset, Prompt, ScorerSpec
from llmops_cli.project import github
from llmops_cli.project.cases import CaseReader, in_memory
from llmops_cli.project.context import ProjectContext
from llmops_cli.project.documents import Document
from llmops_cli.project.judges import Judges
from llmops_cli.project.paths import Problems, Unreadable, within
from llmops_cli.project.policy import read_gate, spelled
from llmops_cli.project.schema import NAME, WrittenEvalset, WrittenPrompt
from llmops_cli.project.scorers import ScorerReader, structured_fields
from llmops_cli.project.tables import Field, Row, TableShape, below, rows_of
from llmops_cli.project.validation import Where, validated

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
        if not github.is_own_evalset(written):
            return None
        where = document.where
        before = len(self._problems)
        entries = github.scorer_entries(prompt, written, document, self._catalog, self._problems)
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
            rows=github.case_rows(prompt, written),
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
