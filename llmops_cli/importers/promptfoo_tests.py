"""Collects the tests of a promptfoo configuration: inline, CSV, JSON, JSONL and YAML files."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_cli.core.errors import Location
from llmops_cli.importers.imported import NotCarried, Notes
from llmops_cli.importers.nunjucks import rendered
from llmops_cli.importers.promptfoo_assertions import KNOWN as KNOWN_TYPES
from llmops_cli.importers.source import ImportFolder, as_javascript, is_file, mapping
from llmops_cli.project.documents import Document, Place, load_json
from llmops_cli.project.paths import MAX_CASES
from llmops_cli.project.templates import is_template

MAX_EXPANDED = 10_000
"""Tests that lists among the variables may multiply to."""
MEDIA = re.compile(r"\.(png|jpe?g|gif|webp|bmp|svg|pdf|mp3|wav|mp4|mov|avi)$", re.I)
KNOWN = frozenset({"vars", "assert", "description", "metadata", "options", "threshold"})
OPTIONS = frozenset({"disableVarExpansion", "runSerially", "provider", "disableDefaultAsserts"})
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
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its own options over the default test's: `provider` is who grades."""
    where: Location


class SuiteReader:
    """Reads everything under `tests:` and `defaultTest:`; what cannot be read is noted."""

    def __init__(self, document: Document, nearby: ImportFolder, notes: Notes) -> None:
        self._nearby = nearby
        self._notes = notes
        templates = mapping(mapping(document.data).get("assertionTemplates"))
        self._templates = {name: mapping(template) for name, template in templates.items()}
        self._default = self._default_test(document)

    def read(self, written: Any, document: Document, *place: str | int) -> Iterator[FoundTest]:
        """Yield every test, lists among its variables multiplied out."""
        where = document.where(*place)
        if isinstance(written, str):
            yield from self._reference(written, where)
        elif isinstance(written, dict) and "path" in written and "vars" not in written:
            yield from self._reference(str(written["path"]), where)
        elif isinstance(written, list):
            for position, item in enumerate(written):
                if isinstance(item, dict) and "path" not in item:
                    yield from self._test(item, document, *place, position)
                else:
                    yield from self.read(item, document, *place, position)
        elif isinstance(written, dict):
            yield from self._test(written, document, *place)
        elif written is None and place == ("tests",):
            yield from self._expanded(self._default)
        else:
            self._notes.lost(where, "a test", "it is no mapping and no path", "write its variables")

    def _default_test(self, document: Document) -> FoundTest:
        written: Any = mapping(document.data).get("defaultTest")
        place: Place = ("defaultTest",)
        empty = FoundTest(where=document.where(*place))
        if is_file(written):
            try:
                document, place = self._nearby.document(written), ()
            except NotCarried as error:
                self._notes.take(empty.where, f"'defaultTest' ({written})", error)
                return empty
            written = document.data
        if isinstance(written, dict):
            return self._plain(written, document, place, FoundTest(where=document.where(*place)))
        if written is not None:
            why = "it is no mapping and no file"
            self._notes.lost(empty.where, "'defaultTest'", why, "write it out")
        return empty

    def _test(
        self, written: dict[str, Any], document: Document, *place: str | int
    ) -> Iterator[FoundTest]:
        default = self._default
        if mapping(written.get("options")).get("disableDefaultAsserts"):
            default = replace(default, assertions=())
        yield from self._expanded(self._plain(written, document, place, default))

    def _plain(
        self, written: Mapping[str, Any], document: Document, place: Place, default: FoundTest
    ) -> FoundTest:
        """Return the test as it is written, over the defaults."""
        for part in sorted(set(written) - KNOWN):
            what, why = f"'{part}' of a test", "it belongs to promptfoo's runner"
            self._notes.lost(document.where(*place, part), what, why, "nothing does the same")
        options = mapping(written.get("options"))
        for name in sorted(set(options) - OPTIONS):
            where = document.where(*place, "options", name)
            why = "answers and inputs are taken as they are"
            self._notes.lost(where, f"the option '{name}'", why, "write it into prompt or scorers")
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
        own = (
            assertion
            for position, item in enumerate(listed)
            for assertion in self._assertions(item, document, *place, "assert", position)
        )
        description = written.get("description")
        return FoundTest(
            values={**default.values, **mapping(values)},
            assertions=(*default.assertions, *own),
            description=description if isinstance(description, str) else None,
            metadata={**default.metadata, **mapping(written.get("metadata"))},
            options={**default.options, **options},
            where=document.where(*place),
        )

    def _assertions(
        self, written: Any, document: Document, *place: str | int
    ) -> Iterator[Assertion]:
        where = document.where(*place)
        if isinstance(written, str):
            yield Assertion(written=_assertion_of(written), where=where)
            return
        if not isinstance(written, dict):
            self._notes.lost(where, "an assertion", "it is no mapping", "write its type")
            return
        if "$ref" in written:
            name = str(written["$ref"]).removeprefix("#/assertionTemplates/")
            if name not in self._templates:
                what, why = f"the assertion {written['$ref']!r}", "the file has no such template"
                self._notes.lost(where, what, why, "write it out")
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
        weight = written.get("weight")
        for position, item in enumerate(written.get("assert") or ()):
            for inner in self._assertions(item, document, *place, "assert", position):
                if weight == 0 or (weight is not None and "weight" not in inner.written):
                    inner = replace(inner, written={**inner.written, "weight": weight})  # noqa: PLW2901 - the set's weight
                yield inner

    def _reference(self, reference: str, where: Location) -> Iterator[FoundTest]:
        try:
            for path in self._nearby.matching(reference):
                yield from self._file(path)
        except NotCarried as error:
            self._notes.take(where, f"the tests of {reference!r}", error)

    def _file(self, path: str) -> Iterator[FoundTest]:
        if path.endswith(".csv"):
            yield from self._table(self._nearby.text(path, limit=MAX_CASES), path)
        elif path.endswith(".jsonl"):
            for where, line in self._nearby.lines(path):
                try:
                    data = as_javascript(load_json(line))
                except ValueError as error:
                    self._notes.lost(where, "a test", f"it is not JSON: {error}", "fix the line")
                    continue
                yield from self.read([data], Document(path, [data], {(): where.line or 1}, {}))
        elif path.endswith((".yaml", ".yml", ".json")):
            document = self._nearby.document(path)
            yield from self.read(document.data, document)
        else:
            raise NotCarried("it is no CSV, JSON, JSONL or YAML file", "save it as one of them")

    def _table(self, text: str, path: str) -> Iterator[FoundTest]:
        reader = csv.reader(io.StringIO(text, newline=""))
        header = [name.strip() for name in next(reader, [])]
        for row in reader:
            if len(row) > len(header):
                where = Location(path=path, line=reader.line_num)
                why = f"the header has {len(header)} columns"
                self._notes.lost(where, f"{len(row) - len(header)} cells", why, "name each column")
            if any(cell.strip() for cell in row):
                test = _test_of(dict(zip(header, row, strict=False)))
                yield from self._test(test, Document(path, test, {(): reader.line_num}, {}))

    def _file_of_vars(self, reference: str, where: Location) -> Mapping[str, Any]:
        try:
            return mapping(self._nearby.document(reference).data)
        except NotCarried as error:
            self._notes.take(where, f"the variables of {reference!r}", error)
            return {}

    def _expanded(self, test: FoundTest) -> Iterator[FoundTest]:
        """Yield a test for every combination of the lists among its variables, as promptfoo."""
        lists = {name: value for name, value in test.values.items() if isinstance(value, list)}
        lists = {name: value for name, value in lists.items() if value}
        if test.options.get("disableVarExpansion"):
            lists = {}
        count = math.prod(map(len, lists.values()))
        if count > MAX_EXPANDED:
            why = f"its lists multiply to {count:,} tests"
            self._notes.lost(test.where, "a test", why, "write the cases that matter")
            return
        for chosen in itertools.product(*lists.values()):
            values = {**test.values, **dict(zip(lists, chosen, strict=True))}
            try:
                yield replace(test, values=self._filled(values))
            except NotCarried as error:
                self._notes.take(test.where, "a test", error)

    def _filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return variables with files read and templates filled in. Raises `NotCarried`."""
        read = {name: self._read(value) for name, value in values.items() if value is not None}
        return {
            name: rendered(value, {**read, name: ""})
            if isinstance(value, str) and is_template(value)
            else value
            for name, value in read.items()
        }

    def _read(self, value: Any) -> Any:
        if not is_file(value):
            return value
        if MEDIA.search(value):
            raise NotCarried(f"{value!r} is no text", "an `image_url` part with a data URL")
        if value.endswith((".yaml", ".yml")):
            return json.dumps(self._nearby.document(value).data, ensure_ascii=False)
        return self._nearby.text(value).strip()


def _test_of(cells: Mapping[str, str]) -> dict[str, Any]:
    """Return the test of one row of a table, as it would be written in YAML."""
    test: dict[str, Any] = {"vars": {}, "metadata": {}, "assert": []}
    common = {"metric": cells["__metric"]} if cells.get("__metric") else {}
    for name, cell in cells.items():
        if name in FIELDS:
            _put(test, FIELDS[name], cell)
        elif name.startswith("__metadata:"):
            key = name.removeprefix("__metadata:").removesuffix("[]")
            _put(test, ("metadata", key), _listed(cell) if "[]" in name else cell)
        elif name.startswith("__expected"):
            threshold = cells.get(f"__config:{name}:threshold", "").strip()
            own = {"threshold": threshold} if threshold else {}
            if cell.strip():
                test["assert"].append({**_assertion_of(cell.strip()), **common, **own})
        elif not name.startswith(("__config:", "__metric")):
            test["vars"][name] = cell
    return test


def _assertion_of(cell: str) -> dict[str, Any]:
    """Return what `contains:Paris` and its like mean; any other text must be the answer."""
    if re.match(r"(javascript|fn|eval|python|file):", cell):
        return {"type": "python" if cell.startswith("python") else "javascript", "value": cell}
    if cell.startswith("grade:"):
        return {"type": "llm-rubric", "value": cell.removeprefix("grade:").strip()}
    match = IN_CELL.fullmatch(cell)
    if match is None or not {match["type"], match["type"].removeprefix("not-")} & KNOWN_TYPES:
        return {"type": "equals", "value": cell}
    written: dict[str, Any] = {"type": match["type"]}
    if match["value"] is not None:
        value = match["value"].strip()
        is_list = match["type"].removeprefix("not-") in LISTS
        written["value"] = list(map(str.strip, value.split(","))) if is_list else value
    if match["at"] is not None:
        written["threshold"] = float(match["at"])
    return written


def _put(test: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    if isinstance(value, str) and not value.strip():
        return
    for name in place[:-1]:
        test = test.setdefault(name, {})
    test[place[-1]] = value


def _listed(cell: str) -> list[str]:
    parts = map(str.strip, ESCAPED_COMMA.split(cell))
    return [part.replace("\\,", ",") for part in parts if part]
