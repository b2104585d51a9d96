"""Reads what people said about answers.

A row is an answer with its label: `output` and `label`, and what was asked, either as `case` (a
case of the evalset) or as `inputs`, `expected` and `contexts` of its own; `side` says whose answer
it is. JSONL, CSV, YAML and Parquet, read as strictly as cases are. A row without a label yet is no
mistake: it is counted.

Writes answers for people to label: a file of labels in which every label is still empty.

A draft in CSV is opened in spreadsheets, which run a cell that begins with `=`: such a cell gets
an apostrophe before it, which is taken off again when the file is read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from llmops_cli.core.case import Case, ScorerSpec
from llmops_cli.core.catalog import ScorerKind
from llmops_cli.core.digest import Json, digest, digest_bytes, short
from llmops_cli.core.errors import Location, Refused, suggestion
from llmops_cli.core.release import FileRef
from llmops_cli.project.cases import CaseReader, CaseRequirements
from llmops_cli.project.inputs import Schemas
from llmops_cli.project.paths import MAX_CASES, Folder, Problems, Unreadable
from llmops_cli.project.project import Project
from llmops_cli.project.schema import Text, Written
from llmops_cli.project.scorers import ScorerReader
from llmops_cli.project.tables import TableShape, rows_of
from llmops_cli.project.validation import Where, validated

CELLS = frozenset({"id", "case", "side", "expected", "contexts", "output", "label"})
VERDICTS: Mapping[str, bool] = {
    "pass": True,
    "true": True,
    "1": True,
    "fail": False,
    "false": False,
    "0": False,
}

Given: TypeAlias = bool | float
"""A verdict, or the score of a grade or class."""


class WrittenLabel(Written):
    """A labelled answer."""

    id: Annotated[
        Text | None, BeforeValidator(lambda each: None if each is None else str(each))
    ] = None
    case: Text | None = None
    side: Text | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    expected: Any = None
    contexts: list[str] | None = None
    output: str
    label: str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One answer and what people say of it."""

    id: str
    case: Case
    output: str
    contexts: tuple[str, ...] | None = None
    """The passages that this very answer was made from, where they are not the case's."""
    side: str | None = None
    given: Given


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A file of labels."""

    file: FileRef
    rows: tuple[Label, ...]
    unlabelled: int
    """Rows whose label is still empty."""
    names: Mapping[str, float]
    """The grades or classes that labels are, with their scores; empty where they are verdicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the labels are about."""

    evalset: str
    spec: ScorerSpec
    kind: ScorerKind
    cases: Sequence[Case]
    schemas: Sequence[Schemas]
    """The declared inputs of each prompt of the evalset."""


def read_labels(path: Path, wanted: Wanted, project: Project) -> Labels:
    """The labels at `path`, a file that a person names.

    Raises `InvalidFiles` with every problem in it, `Refused` where it cannot be read.
    """
    source = _Beside(Folder(path.absolute().parent))
    problems = Problems()
    rows = _Reader(str(path), wanted, project, problems)
    known = {name: schema for each in wanted.schemas for name, schema in each.items()}
    try:
        content = source.read(str(path), limit=MAX_CASES)
        table = rows_of(str(path), source, TableShape(inputs=known, fields=CELLS), problems)
        found = tuple(label for where, row in table if (label := rows.label(row, where)))
    except Unreadable as error:
        raise Refused(f"no labels: {error}") from error
    problems.refuse()
    return Labels(
        file=FileRef(name=path.name, digest=digest_bytes(content)),
        rows=found,
        unlabelled=rows.unlabelled,
        names=rows.names,
    )


@dataclass(frozen=True, slots=True)
class _Beside:
    """The files of one folder, named as the person named them."""

    folder: Folder

    def read(self, path: str, *, limit: int) -> bytes:
        return self.folder.read(Path(path).name, limit=limit)

    def files(self, folder: str) -> tuple[str, ...]:
        return self.folder.files(folder)


class _Reader:
    """Reads the rows of one file."""

    def __init__(self, path: str, wanted: Wanted, project: Project, problems: Problems) -> None:
        self._plain = not path.endswith(".csv")
        self._wanted = wanted
        self._problems = problems
        self._known = {case.id: case for case in wanted.cases}
        self._classes = classes_of(wanted.spec)
        self._first: tuple[bool, Location] | None = None
        self._seen: dict[str, Location] = {}
        self.unlabelled = 0
        self._cases = CaseReader(
            CaseRequirements(
                evalset=wanted.evalset,
                schemas=wanted.schemas,
                scorers=(wanted.spec,),
                complete=True,
                retired={},
            ),
            project.catalog.scorers,
            ScorerReader(project.context, project.judges, problems),
            problems,
        )

    @property
    def names(self) -> Mapping[str, float]:
        """The classes, where labels name them."""
        return {} if self._first is None or self._first[0] else self._classes

    def label(self, row: Any, where: Where) -> Label | None:
        """The label in `row`; None where it has none yet, or is wrong."""
        before = len(self._problems)
        written = validated(WrittenLabel, row, where, self._problems)
        if written is None:
            return None
        if written.metadata:
            self._problems.add(where("metadata"), "a label has no metadata: name its `case`")
        if not self._plain:
            written = _unquoted(written)
        given = self._given(written, where)
        named = written.id or _named(written)
        case = self._case(written, named, where)
        if case is None or len(self._problems) > before:
            return None
        same = digest("llmops/label/v1", [case.facts, written.output, written.contexts])
        self._once("the same answer to the same question", where(), key=same)
        if written.id is not None:
            self._once(f"the id '{named}'", where())
        if given is None:
            self.unlabelled += 1
            return None
        told = None if written.contexts is None else tuple(written.contexts)
        return Label(
            id=named,
            case=case,
            output=written.output,
            contexts=None if told == case.contexts else told,
            side=written.side,
            given=given,
        )

    def _once(self, what: str, line: Location, *, key: str | None = None) -> None:
        first = self._seen.setdefault(key or what, line)
        if first is not line:
            self._problems.add(line, f"{what} is here twice", f"first at {first}")

    def _case(self, written: WrittenLabel, named: str, where: Where) -> Case | None:
        if written.case is None:
            row = {
                "id": f"{named}.{len(self._seen)}",  # whether it is here twice is seen later
                "inputs": written.inputs,
                "expected": written.expected,
                "contexts": written.contexts or [],
            }
            return next(iter(self._cases.read([(where, row)])), None)
        case = self._known.get(written.case)
        if case is None:
            message = f"{self._wanted.evalset} has no case '{written.case}'"
            self._problems.add(where("case"), message, suggestion(written.case, list(self._known)))
            return None
        other = [*_unlike(written, case)]
        if other:
            message = f"{' and '.join(other)} differ from the case '{case.id}': it was edited since"
            self._problems.add(where("case"), message, "leave out `case`, or label anew")
        lacking = self._wanted.kind.lacks(self._wanted.spec, case)
        if lacking:
            self._problems.add(where("case"), lacking)
        return replace(case, scorers=())

    def _given(self, written: WrittenLabel, where: Where) -> Given | None:
        label = written.label
        text = "" if label is None else str(label).strip().casefold()
        if not text:
            return None
        names = {name.casefold(): value for name, value in self._classes.items()}
        text = text.removesuffix(".0")
        if text in names:
            self._alike(where, verdict=False)
            return names[text]
        if text in VERDICTS and not (self._classes and text in {"0", "1"}):
            self._alike(where, verdict=True)
            return VERDICTS[text]
        known = [*self._classes, "pass", "fail"]
        self._problems.add(where("label"), f"'{label}' is no label", suggestion(text, known))
        return None

    def _alike(self, where: Where, *, verdict: bool) -> None:
        """One file holds one kind of label: verdicts, or grades and classes."""
        self._first = self._first or (verdict, where("label"))
        if self._first[0] is not verdict:
            what = ("a grade or class", "a verdict")
            message = f"{what[verdict]} among labels of which the first is {what[not verdict]}"
            self._problems.add(where("label"), message, f"the first is at {self._first[1]}")


def classes_of(spec: ScorerSpec) -> Mapping[str, float]:
    """The grades or classes that a scorer gives, with their scores; empty where it has none."""
    choices, scale = spec.options.get("choices"), spec.options.get("scale")
    if isinstance(choices, Mapping):
        return {name: float(value) for name, value in choices.items()}  # type: ignore[arg-type]  # checked when it was read
    if isinstance(scale, (list, tuple)) and len(scale) == 2:
        low, high = (int(str(each)) for each in scale)
        return {str(grade): (grade - low) / (high - low) for grade in range(low, high + 1)}
    return {}


def _named(written: WrittenLabel) -> str:
    plain: Json = [written.case, written.inputs, written.output, written.contexts]
    return f"label-{short(digest('llmops/label-id/v1', plain))}"


def _unlike(written: WrittenLabel, case: Case) -> Iterator[str]:
    """What a row shows of its case and the case no longer says."""
    if any(not _alike(value, case.inputs.get(name)) for name, value in written.inputs.items()):
        yield "its inputs"
    if written.expected is not None and not _alike(written.expected, case.expected):
        yield "its expected"


def _alike(one: Json, other: Json) -> bool:
    """Whether two values are the same, white space and the form of a cell apart."""
    return one == other or cell(one).split() == cell(other).split()


def _unquoted(written: WrittenLabel) -> WrittenLabel:
    inputs = {
        name: bare(value) if isinstance(value, str) else value
        for name, value in written.inputs.items()
    }
    expected = bare(written.expected) if isinstance(written.expected, str) else written.expected
    names = {
        name: bare(value)
        for name in ("id", "case", "side", "output")
        if (value := getattr(written, name)) is not None
    }
    return written.model_copy(update={"inputs": inputs, "expected": expected, **names})


FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""The beginning of a cell that a spreadsheet would run, apostrophes before it included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """An answer to ask people about."""

    id: str
    case: Case
    side: str
    output: str
    contexts: tuple[str, ...]


def draft(rows: Iterable[Unlabelled], *, table: bool) -> str:
    """A file of labels to be filled in: CSV if `table`, else JSONL."""
    plain = [_plain(each) for each in rows]
    if not table:
        return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in plain)
    inputs = list(dict.fromkeys(name for each in plain for name in each["inputs"]))
    head = ["id", "case", "side", *(f"inputs.{name}" for name in inputs)]
    head += ["expected", "contexts", "output", "label"]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(head)
    for each in plain:
        values = {**each, **{f"inputs.{name}": value for name, value in each["inputs"].items()}}
        writer.writerow([_quoted(_shown(values.get(name))) for name in head])
    return written.getvalue()


def _plain(row: Unlabelled) -> dict[str, Any]:
    return {
        "id": row.id,
        "case": row.case.id,
        "side": row.side,
        "inputs": dict(row.case.inputs),
        "expected": row.case.expected,
        "contexts": list(row.contexts),
        "output": row.output,
        "label": "",
    }


def _shown(value: Json) -> str:
    return "" if value is None or value == [] else cell(value)


def _quoted(cell: str) -> str:
    return f"'{cell}" if FORMULA.match(cell) else cell


def bare(cell: str) -> str:
    """What a spreadsheet was shown, as it was meant."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def cell(value: Json) -> str:
    """A value as a table shows it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
