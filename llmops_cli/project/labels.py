"""Read files of human labels, and write drafts for people to label.

A row is an answer with its label: `output` and `label`, and what was asked, either as `case` (a
case of the evalset) or as `inputs`, `expected` and `contexts` of its own; `side` says whose answer
it is. JSONL, CSV, YAML and Parquet, read as strictly as cases are. A row without a label yet is no
mistake: it is counted.

A draft in CSV is opened in spreadsheets, which run a cell that begins with `=`: such a cell gets
an apostrophe before it, which is taken off again when the file is read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from llmops_cli.core.digest import Json, digest, digest_bytes, short
from llmops_cli.core.errors import Location, Refused, suggestion
from llmops_cli.core.prompt import Case, Evalset, ScorerSpec
from llmops_cli.core.records import FileRef
from llmops_cli.project.evalsets import CaseReader
from llmops_cli.project.paths import MAX_CASES, Folder, Problems, Unreadable
from llmops_cli.project.project import Project
from llmops_cli.project.schema import Text, Where, Written, validated
from llmops_cli.project.scorers import ScorerReader
from llmops_cli.project.tables import TableShape, rows_of

CELLS = frozenset({"id", "case", "side", "expected", "contexts", "output", "label"})
VERDICTS: Mapping[str, bool] = {
    **dict.fromkeys(("pass", "true", "1"), True),
    **dict.fromkeys(("fail", "false", "0"), False),
}
FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""The beginning of a cell that a spreadsheet would run, apostrophes before it included."""

LabelValue: TypeAlias = bool | float
"""A verdict, or the score of a grade or class."""


class WrittenLabel(Written):
    """A labeled answer, as written in a file."""

    id: Annotated[Text | None, BeforeValidator(lambda id_: None if id_ is None else str(id_))] = (
        None
    )
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
    """One answer and its human label."""

    id: str
    case: Case
    output: str
    contexts: tuple[str, ...] | None = None
    """The passages that this very answer was made from, where they are not the case's."""
    side: str | None = None
    value: LabelValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A file of labels."""

    file: FileRef
    rows: tuple[Label, ...]
    unlabeled: int
    """Rows whose label is still empty."""
    classes: Mapping[str, float]
    """The grades or classes that labels are, with their scores; empty if they are verdicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabeledAnswer:
    """An answer to be labeled."""

    id: str
    case: Case
    side: str
    output: str
    contexts: tuple[str, ...]


def read_labels(path: Path, evalset: Evalset, spec: ScorerSpec, project: Project) -> Labels:
    """Return the labels for a scorer of an evalset. Raises `InvalidFiles` or `Refused`."""
    problems = Problems()
    reader = _Reader(evalset, spec, project, problems, is_csv=path.suffix == ".csv")
    shape = TableShape(inputs=project.inputs_of(evalset.prompts), fields=CELLS)
    try:
        source = _NamedFile(path)
        content = source.read(str(path), limit=MAX_CASES)
        rows = rows_of(str(path), source, shape, problems)
        labels = tuple(label for where, row in rows if (label := reader.label(row, where)))
    except Unreadable as error:
        raise Refused(f"no labels: {error}") from error
    problems.refuse()
    return Labels(
        file=FileRef(name=path.name, digest=digest_bytes(content)),
        rows=labels,
        unlabeled=reader.unlabeled,
        classes={} if reader.has_verdicts else reader.classes,
    )


class _NamedFile(Folder):
    """The file that the user named, which may be outside the project."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.absolute().parent)

    def read(self, path: str, *, limit: int) -> bytes:
        return super().read(Path(path).name, limit=limit)


class _Reader:
    """Reads the rows of one file."""

    def __init__(
        self,
        evalset: Evalset,
        spec: ScorerSpec,
        project: Project,
        problems: Problems,
        *,
        is_csv: bool,
    ) -> None:
        self._is_csv = is_csv
        self._evalset = evalset
        self._spec = spec
        self._kind = project.catalog.scorers[spec.kind]
        self._problems = problems
        self._known = {case.id: case for case in evalset.cases}
        self.classes = classes_of(spec)
        self._first: tuple[bool, Location] | None = None
        """Whether the first label is a verdict, and its line."""
        self._seen: dict[str, Location] = {}
        self.unlabeled = 0
        self._cases = CaseReader(
            project,
            Evalset(name=evalset.name, prompts=evalset.prompts, cases=(), scorers=(spec,)),
            ScorerReader(project, problems),
            problems,
        )

    @property
    def has_verdicts(self) -> bool:
        """Whether labels are verdicts, or there are none."""
        return self._first is None or self._first[0]

    def label(self, row: Any, where: Where) -> Label | None:
        """Return the label in `row`; None if it has none yet, or is wrong."""
        before = len(self._problems)
        written = validated(WrittenLabel, row, where, self._problems)
        if written is None:
            return None
        if written.metadata:
            self._problems.add(where("metadata"), "a label has no metadata: name its `case`")
        if self._is_csv:
            written = _unquoted(written)
        value = self._value(written, where)
        label_id = written.id or _default_id(written)
        case = self._case(written, label_id, where)
        if case is None or len(self._problems) > before:
            return None
        same = digest("llmops/label/v1", [case.facts, written.output, written.contexts])
        self._check_once("the same answer to the same question", where(), key=same)
        if written.id is not None:
            self._check_once(f"the id '{label_id}'", where())
        if value is None:
            self.unlabeled += 1
            return None
        contexts = None if written.contexts is None else tuple(written.contexts)
        return Label(
            id=label_id,
            case=case,
            output=written.output,
            contexts=None if contexts == case.contexts else contexts,
            side=written.side,
            value=value,
        )

    def _check_once(self, what: str, line: Location, *, key: str | None = None) -> None:
        first = self._seen.setdefault(key or what, line)
        if first is not line:
            self._problems.add(line, f"{what} is here twice", f"first at {first}")

    def _case(self, written: WrittenLabel, label_id: str, where: Where) -> Case | None:
        if written.case is None:
            row = {
                "id": f"{label_id}.{len(self._seen)}",  # whether it is here twice is seen later
                "inputs": written.inputs,
                "expected": written.expected,
                "contexts": written.contexts or [],
            }
            return next(iter(self._cases.read([(where, row)])), None)
        case = self._known.get(written.case)
        if case is None:
            message = f"{self._evalset.name} has no case '{written.case}'"
            self._problems.add(where("case"), message, suggestion(written.case, list(self._known)))
            return None
        if differing := " and ".join(_differences(written, case)):
            message = f"{differing} differ from the case '{case.id}': it was edited since"
            self._problems.add(where("case"), message, "leave out `case`, or label it again")
        lacking = self._kind.lacks(self._spec, case)
        if lacking:
            self._problems.add(where("case"), lacking)
        return replace(case, scorers=())

    def _value(self, written: WrittenLabel, where: Where) -> LabelValue | None:
        text = "" if written.label is None else str(written.label).strip().casefold()
        if not text:
            return None
        scores = {name.casefold(): score for name, score in self.classes.items()}
        text = text.removesuffix(".0")
        is_verdict = text not in scores
        if is_verdict and (text not in VERDICTS or (scores and text in {"0", "1"})):
            hint = suggestion(text, [*self.classes, "pass", "fail"])
            self._problems.add(where("label"), f"'{written.label}' is no label", hint)
            return None
        # One file holds one kind of label: verdicts, or grades and classes.
        self._first = self._first or (is_verdict, where("label"))
        if self._first[0] is not is_verdict:
            kinds = {True: "a verdict", False: "a grade or class"}
            kind, first = kinds[is_verdict], kinds[not is_verdict]
            message = f"{kind} among labels of which the first is {first}"
            self._problems.add(where("label"), message, f"the first is at {self._first[1]}")
        return VERDICTS[text] if is_verdict else scores[text]


def classes_of(spec: ScorerSpec) -> Mapping[str, float]:
    """Return the grades or classes that a scorer gives, with their scores; empty: it has none."""
    choices, scale = spec.options.get("choices"), spec.options.get("scale")
    if isinstance(choices, Mapping):
        return {name: float(value) for name, value in choices.items()}  # type: ignore[arg-type]  # checked when it was read
    if isinstance(scale, (list, tuple)) and len(scale) == 2:
        low, high = (int(str(grade)) for grade in scale)
        return {str(grade): (grade - low) / (high - low) for grade in range(low, high + 1)}
    return {}


def draft(answers: Sequence[UnlabeledAnswer], *, table: bool) -> str:
    """Return a file of labels to be filled in: CSV if `table`, else JSONL."""
    rows = [
        {
            "id": answer.id,
            "case": answer.case.id,
            "side": answer.side,
            "inputs": dict(answer.case.inputs),
            "expected": answer.case.expected,
            "contexts": list(answer.contexts),
            "output": answer.output,
            "label": "",
        }
        for answer in answers
    ]
    if not table:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    inputs: dict[str, None] = {}
    for row, answer in zip(rows, answers, strict=True):
        row |= {f"inputs.{name}": value for name, value in answer.case.inputs.items()}
        inputs |= dict.fromkeys(f"inputs.{name}" for name in answer.case.inputs)
    header = ["id", "case", "side", *inputs, "expected", "contexts", "output", "label"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows([_quoted(row.get(name)) for name in header] for row in rows)
    return text.getvalue()


def _default_id(written: WrittenLabel) -> str:
    plain: Json = [written.case, written.inputs, written.output, written.contexts]
    return f"label-{short(digest('llmops/label-id/v1', plain))}"


def _differences(written: WrittenLabel, case: Case) -> Iterator[str]:
    """Yield the fields of a row that differ from its case."""
    if any(not _is_alike(value, case.inputs.get(name)) for name, value in written.inputs.items()):
        yield "its inputs"
    if written.expected is not None and not _is_alike(written.expected, case.expected):
        yield "its expected"


def _is_alike(value: Json, other: Json) -> bool:
    """Tell whether two values are the same, white space and the form of a cell apart."""
    return value == other or _cell(value).split() == _cell(other).split()


def _cell(value: Json) -> str:
    """Return a value as a table shows it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _quoted(value: Json) -> str:
    """Return a value as a cell that no spreadsheet runs."""
    cell = "" if value is None or value == [] else _cell(value)
    return f"'{cell}" if FORMULA.match(cell) else cell


def _unquoted(written: WrittenLabel) -> WrittenLabel:
    """Return a row of CSV without the apostrophes that `_quoted` set."""
    names = ("id", "case", "side", "output", "expected")
    texts = {name: _bare(getattr(written, name)) for name in names}
    inputs = {name: _bare(value) for name, value in written.inputs.items()}
    return written.model_copy(update={"inputs": inputs, **texts})


def _bare(value: Any) -> Any:
    """Return what a spreadsheet was shown as it was meant; anything but text as it is."""
    is_quoted = isinstance(value, str) and value.startswith("'") and FORMULA.match(value)
    return value[1:] if is_quoted else value
