"""Reads a row of a promptfoo table as a test, and what a cell such as `contains:Paris` means.

Collects the tests of a promptfoo configuration: inline, CSV, JSON, JSONL and YAML files.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_cli.core.errors import Location
from llmops_cli.importers.base import NotCarried, Notes
from llmops_cli.importers.nunjucks import rendered
from llmops_cli.importers.source import Nearby, is_file, mapping
from llmops_cli.project.documents import Document, load_json
from llmops_cli.project.sandbox import is_template

IN_CELL = re.compile(
    r"(?P<type>(?:not-)?[a-z][a-z-]+)(?:\((?P<at>\d+(?:\.\d+)?)\))?(?::(?P<value>.*))?", re.DOTALL
)
LISTS = ("contains-all", "contains-any", "icontains-all", "icontains-any")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "__description": ("description",),
    "__threshold": ("threshold",),
    "__providerOutput": ("providerOutput",),
    "__prefix": ("options", "prefix"),
    "__suffix": ("options", "suffix"),
}
"""Columns that are parts of a test, and where they stand in it."""
ESCAPED_COMMA = re.compile(r"(?<!\\),")


def test_of_row(cells: Mapping[str, str], known: AbstractSet[str]) -> dict[str, Any]:
    """The test of one row, as it would be written in YAML.

    `known` are the assertion types that a cell may begin with.
    """
    test: dict[str, Any] = {"vars": {}, "metadata": {}}
    for name, cell in cells.items():
        if name in FIELDS:
            _put(test, FIELDS[name], cell)
        elif name.startswith("__metadata:"):
            _put(test, ("metadata", *_metadata(name)), _listed(cell) if "[]" in name else cell)
        elif not name.startswith(("__expected", "__config:", "__metric")):
            test["vars"][name] = cell
    test["assert"] = list(_assertions(cells, known))
    return test


def assertion_of_cell(cell: str, known: AbstractSet[str]) -> dict[str, Any]:
    """What `contains:Paris` and its like mean; any other text must be the answer."""
    if re.match(r"(javascript|fn|eval|python|file):", cell):
        return {"type": "python" if cell.startswith("python") else "javascript", "value": cell}
    if cell.startswith("grade:"):
        return {"type": "llm-rubric", "value": cell.removeprefix("grade:").strip()}
    found = IN_CELL.fullmatch(cell)
    if found is None or not {found["type"], found["type"].removeprefix("not-")} & known:
        return {"type": "equals", "value": cell}
    written: dict[str, Any] = {"type": found["type"]}
    if found["value"] is not None:
        value = found["value"].strip()
        listed = found["type"].removeprefix("not-") in LISTS
        written["value"] = [each.strip() for each in value.split(",")] if listed else value
    if found["at"] is not None:
        written["threshold"] = float(found["at"])
    return written


def _assertions(cells: Mapping[str, str], known: AbstractSet[str]) -> Iterator[dict[str, Any]]:
    """The columns `__expected…`, with the settings that stand in columns beside them."""
    common = {"metric": cells["__metric"]} if cells.get("__metric") else {}
    for name, cell in cells.items():
        if name.startswith("__expected") and cell.strip():
            threshold = cells.get(f"__config:{name}:threshold", "").strip()
            own = {"threshold": threshold} if threshold else {}
            yield {**assertion_of_cell(cell.strip(), known), **common, **own}


def _put(test: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    if isinstance(value, str) and not value.strip():
        return
    for name in place[:-1]:
        test = test.setdefault(name, {})
    test[place[-1]] = value


def _metadata(column: str) -> tuple[str]:
    return (column.removeprefix("__metadata:").removesuffix("[]"),)


def _listed(cell: str) -> list[str]:
    return [each.strip().replace("\\,", ",") for each in ESCAPED_COMMA.split(cell) if each.strip()]


MAX_EXPANDED = 10_000
"""Tests that lists among the variables may multiply to."""
IMAGES = re.compile(r"\.(png|jpe?g|gif|webp|bmp|svg|pdf|mp3|wav|mp4|mov|avi)$", re.I)
KNOWN = frozenset({"vars", "assert", "description", "metadata", "options", "threshold"})
OPTIONS = frozenset({"disableVarExpansion", "runSerially", "provider", "disableDefaultAsserts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One assertion as it was written, with its line."""

    written: Mapping[str, Any]
    where: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTest:
    """One test: variables that were filled in, and what it asserts."""

    values: Mapping[str, Any] = field(default_factory=dict)
    assertions: tuple[Assertion, ...] = ()
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    where: Location


class SuiteReader:
    """Reads everything under `tests:` and `defaultTest:`; what cannot be read is noted."""

    def __init__(
        self, document: Document, nearby: Nearby, notes: Notes, known: frozenset[str]
    ) -> None:
        """`known` are the assertion types that a cell of a table may begin with."""
        self._nearby = nearby
        self._notes = notes
        self._known = known
        templates = mapping(mapping(document.data).get("assertionTemplates"))
        self._templates = {name: mapping(each) for name, each in templates.items()}
        self._default = self._default_test(document)

    def read(self, written: Any, document: Document, *place: str | int) -> Iterator[FoundTest]:
        """Every test, lists among its variables multiplied out."""
        if isinstance(written, str):
            yield from self._reference(written, document.where(*place))
        elif isinstance(written, dict) and "path" in written and "vars" not in written:
            yield from self._reference(str(written["path"]), document.where(*place))
        elif isinstance(written, list):
            for position, each in enumerate(written):
                if isinstance(each, dict) and "path" not in each:
                    yield from self._test(each, document, *place, position)
                else:
                    yield from self.read(each, document, *place, position)
        elif isinstance(written, dict):
            yield from self._test(written, document, *place)
        elif written is None and place == ("tests",):
            yield from self._expanded(self._default)
        else:
            where = document.where(*place)
            self._notes.lost(where, "a test", "it is no mapping and no path", "write its variables")

    def _default_test(self, document: Document) -> FoundTest:
        written: Any = mapping(document.data).get("defaultTest")
        place: tuple[str | int, ...] = ("defaultTest",)
        empty = FoundTest(where=document.where(*place))
        if is_file(written):
            try:
                document, place = self._nearby.document(written), ()
            except NotCarried as error:
                self._notes.take(empty.where, f"'defaultTest' ({written})", error)
                return empty
            written = document.data
        if not isinstance(written, dict):
            if written is not None:
                why = "it is no mapping and no file"
                self._notes.lost(empty.where, "'defaultTest'", why, "write it out")
            return empty
        return self._plain(written, document, place, FoundTest(where=document.where(*place)))

    def _test(
        self, written: dict[str, Any], document: Document, *place: str | int
    ) -> Iterator[FoundTest]:
        options = mapping(written.get("options"))
        default = self._default
        if options.get("disableDefaultAsserts"):
            default = replace(default, assertions=())
        test = self._plain(written, document, place, default)
        if options.get("disableVarExpansion"):
            yield from self._filled(test)
        else:
            yield from self._expanded(test)

    def _plain(
        self,
        written: Mapping[str, Any],
        document: Document,
        place: tuple[str | int, ...],
        default: FoundTest,
    ) -> FoundTest:
        """The test as it is written, over the defaults."""
        for part in sorted(set(written) - KNOWN):
            why = "it belongs to promptfoo's runner"
            self._notes.lost(
                document.where(*place, part), f"'{part}' of a test", why, "nothing does the same"
            )
        self._options(mapping(written.get("options")), document, place)
        if written.get("threshold") is not None:
            why = "a case passes where all its scorers pass, not a share of them"
            at = document.where(*place, "threshold")
            self._notes.changed(at, "'threshold' of a test", why, "`advisory: true` on a scorer")
        values = written.get("vars")
        if isinstance(values, str):
            values = self._file_of_vars(values, document.where(*place, "vars"))
        elif values is not None and not isinstance(values, dict):
            where = document.where(*place, "vars")
            self._notes.lost(where, "the variables of a test", "they are no mapping", "name each")
        assertions = written.get("assert")
        listed = assertions if isinstance(assertions, list) else [assertions] if assertions else []
        found = (
            each
            for position, one in enumerate(listed)
            for each in self._assertions(one, document, *place, "assert", position)
        )
        description = written.get("description")
        return FoundTest(
            values={**default.values, **mapping(values)},
            assertions=(*default.assertions, *found),
            description=description if isinstance(description, str) else None,
            metadata={**default.metadata, **mapping(written.get("metadata"))},
            where=document.where(*place),
        )

    def _options(
        self, options: Mapping[str, Any], document: Document, place: tuple[str | int, ...]
    ) -> None:
        for name in sorted(set(options) - OPTIONS):
            where = document.where(*place, "options", name)
            why = "answers and inputs are taken as they are"
            self._notes.lost(where, f"the option '{name}'", why, "write it into prompt or scorers")

    def _assertions(
        self, written: Any, document: Document, *place: str | int
    ) -> Iterator[Assertion]:
        where = document.where(*place)
        if isinstance(written, str):
            yield Assertion(written=assertion_of_cell(written, self._known), where=where)
            return
        if not isinstance(written, dict):
            self._notes.lost(where, "an assertion", "it is no mapping", "write its type")
            return
        if "$ref" in written:
            name = str(written["$ref"]).removeprefix("#/assertionTemplates/")
            if name not in self._templates:
                why = "no such template stands in the file"
                self._notes.lost(where, f"the assertion {written['$ref']!r}", why, "write it out")
                return
            written = {**self._templates[name], **written}
            del written["$ref"]
        if written.get("type") != "assert-set":
            yield Assertion(written=written, where=where)
            return
        if written.get("threshold") is not None:
            why = "a share of several assertions cannot pass"
            self._notes.lost(where, "the assertion 'assert-set'", why, "a `python` scorer")
            return
        for position, each in enumerate(written.get("assert") or ()):
            yield from self._assertions(each, document, *place, "assert", position)

    def _reference(self, reference: str, where: Location) -> Iterator[FoundTest]:
        what = f"the tests of {reference!r}"
        try:
            for path in self._nearby.matching(reference):
                yield from self._file(path)
        except NotCarried as error:
            self._notes.take(where, what, error)

    def _file(self, path: str) -> Iterator[FoundTest]:
        if path.endswith(".csv"):
            yield from self._table(self._nearby.text(path), path)
        elif path.endswith(".jsonl"):
            yield from self._lines(self._nearby.text(path), path)
        elif path.endswith((".yaml", ".yml", ".json")):
            document = self._nearby.document(path)
            yield from self.read(document.data, document)
        else:
            raise NotCarried("it is no CSV, JSON, JSONL or YAML file", "save it as one of them")

    def _lines(self, text: str, path: str) -> Iterator[FoundTest]:
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            where = Location(path=path, line=number)
            try:
                data = load_json(line)
            except ValueError as error:
                self._notes.lost(where, "a test", f"it is not JSON: {error}", "mend the line")
                continue
            yield from self.read([data], Document(path, [data], {(): number}, {}))

    def _table(self, text: str, path: str) -> Iterator[FoundTest]:
        reader = csv.reader(io.StringIO(text, newline=""))
        header = [each.strip() for each in next(reader, [])]
        for row in reader:
            if len(row) > len(header):
                where = Location(path=path, line=reader.line_num)
                why = f"the header has {len(header)} columns"
                self._notes.lost(where, f"{len(row) - len(header)} cells", why, "name each column")
            if any(cell.strip() for cell in row):
                test = test_of_row(dict(zip(header, row, strict=False)), self._known)
                yield from self._test(test, Document(path, test, {(): reader.line_num}, {}))

    def _file_of_vars(self, reference: str, where: Location) -> Mapping[str, Any]:
        try:
            return mapping(self._nearby.document(reference).data)
        except NotCarried as error:
            self._notes.take(where, f"the variables of {reference!r}", error)
            return {}

    def _expanded(self, test: FoundTest) -> Iterator[FoundTest]:
        """One test for every combination of the lists among its variables, as promptfoo does."""
        lists = {
            name: each for name, each in test.values.items() if isinstance(each, list) and each
        }
        count = 1
        for each in lists.values():
            count *= len(each)
        if count > MAX_EXPANDED:
            why = f"its lists multiply to {count:,} tests"
            self._notes.lost(test.where, "a test", why, "write the cases that matter")
            return
        for chosen in itertools.product(*lists.values()):
            values = {**test.values, **dict(zip(lists, chosen, strict=True))}
            yield from self._filled(replace(test, values=values))

    def _filled(self, test: FoundTest) -> Iterator[FoundTest]:
        """The test with files read and templates in its variables filled in; none if one cannot."""
        values = {name: each for name, each in test.values.items() if each is not None}
        try:
            read = {name: self._read(each) for name, each in values.items()}
            done = {
                name: rendered(each, {**read, name: ""}) if _templated(each) else each
                for name, each in read.items()
            }
        except NotCarried as error:
            self._notes.take(test.where, "a test", error)
            return
        yield replace(test, values=done)

    def _read(self, value: Any) -> Any:
        if not is_file(value):
            return value
        if IMAGES.search(value):
            raise NotCarried(f"{value!r} is no text", "an `image_url` part with a data URL")
        if value.endswith((".yaml", ".yml")):
            return json.dumps(self._nearby.document(value).data, ensure_ascii=False)
        return self._nearby.text(value).strip()


def _templated(value: Any) -> bool:
    return isinstance(value, str) and is_template(value)
