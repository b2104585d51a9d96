"""Reads the tests of a promptfoo configuration, inline or in files, and their assertions.

The scorer of an assertion decides as the assertion did: text is compared without stripping it,
JSON is the whole answer and no code fence. Where a decision can differ, the scorer says so.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import regex

from llmops_cli.core.errors import InvalidFiles
from llmops_cli.importers.promptfoo_prompts import rendered
from llmops_cli.importers.source import (
    CODE,
    ImportFolder,
    Node,
    NotCarried,
    as_javascript,
    is_file,
    literal,
    mapped_texts,
    mapping,
    read_document,
    table_rows,
)
from llmops_cli.project.documents import Document, load_json
from llmops_cli.project.paths import MAX_CASES
from llmops_cli.project.templates import is_template

MAX_EXPANDED = 10_000
"""Tests that lists among the variables may multiply to."""
MEDIA = re.compile(r"\.(png|jpe?g|gif|webp|bmp|svg|pdf|mp3|wav|mp4|mov|avi)$", re.I)
READ = frozenset({"vars", "assert", "description", "metadata", "options", "threshold"})
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
class SourceTest:
    """One test: variables that were filled in, and what it asserts."""

    values: Mapping[str, Any] = field(default_factory=dict)
    assertions: tuple[Node, ...] = ()
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its own options over the default test's: `provider` is who grades."""
    node: Node


class SuiteReader:
    """Reads `tests:` over the `defaultTest:` of a configuration; what cannot be read is noted."""

    def __init__(self, config: Node, folder: ImportFolder) -> None:
        self._folder = folder
        self._notes = folder.notes
        self._templates = config.at("assertionTemplates").fields
        default = config.at("defaultTest")
        self._default = SourceTest(node=default)
        if is_file(default.value):
            with default.reporting(f"'defaultTest' ({default.value})"):
                default = folder.document(default.value)
        if isinstance(default.value, dict):
            self._default = self._plain(default, SourceTest(node=default))
        elif default.value is not None and not is_file(default.value):
            why = "it is no mapping and no file"
            default.lost("'defaultTest'", why, "write it out")

    def read(self, written: Node) -> Iterator[SourceTest]:
        """Yield every test, lists among its variables multiplied out."""
        value, path = written.value, written.fields.get("path")
        if isinstance(value, str) or (path is not None and "vars" not in value):
            reference = value if isinstance(value, str) else str(path)
            with written.reporting(f"the tests of {reference!r}"):
                for match in self._folder.matching(reference):
                    yield from self._file(match)
        elif isinstance(value, list):
            for item in written.items():
                yield from self.read(item)
        elif isinstance(value, dict):
            default = self._default
            if written.at("options").fields.get("disableDefaultAsserts"):
                default = replace(default, assertions=())
            yield from self._expanded(self._plain(written, default))
        elif value is None and written.place == ("tests",):
            yield from self._expanded(self._default)
        else:
            why = "it is no mapping and no path"
            written.lost("a test", why, "write its variables")

    def _plain(self, written: Node, default: SourceTest) -> SourceTest:
        """Return the test as it is written, over the defaults."""
        test, options = written.fields, written.at("options")
        why = "it belongs to promptfoo's runner"
        written.unread(READ, "'{}' of a test", why, "nothing does the same")
        why = "answers and inputs are taken as they are"
        options.unread(OPTIONS, "the option '{}'", why, "write it into prompt or scorers")
        if test.get("threshold") is not None:
            why = "a case passes where all its scorers pass, not a share of them"
            out = "`advisory: true` on a scorer"
            written.at("threshold").changed("'threshold' of a test", why, out)
        values = written.at("vars")
        if isinstance(values.value, str):
            with values.reporting(f"the variables of {values.value!r}"):
                values = self._folder.document(values.value)
        elif values.value is not None and not isinstance(values.value, dict):
            why = "they are no mapping"
            values.lost("the variables of a test", why, "name each")
        own = (
            assertion
            for item in written.at("assert").items()
            for assertion in self._assertions(item)
        )
        description = test.get("description")
        return SourceTest(
            values={**default.values, **values.fields},
            assertions=(*default.assertions, *own),
            description=description if isinstance(description, str) else None,
            metadata={**default.metadata, **written.at("metadata").fields},
            options={**default.options, **options.fields},
            node=written,
        )

    def _assertions(self, written: Node) -> Iterator[Node]:
        """Yield the assertions behind a template or in a set, with the set's weight."""
        value = written.value
        if isinstance(value, str):
            yield replace(written, value=_assertion_of(value))
            return
        if not isinstance(value, dict):
            written.lost("an assertion", "it is no mapping", "write its type")
            return
        if "$ref" in value:
            name = str(value["$ref"]).removeprefix("#/assertionTemplates/")
            if name not in self._templates:
                what, why = f"the assertion {value['$ref']!r}", "the file has no such template"
                written.lost(what, why, "write it out")
                return
            value = {**mapping(self._templates[name]), **value}
            del value["$ref"]
        if value.get("type") != "assert-set":
            yield replace(written, value=value)
        elif value.get("threshold") is not None:
            why = "a share of several assertions cannot pass"
            written.lost("the assertion 'assert-set'", why, "a `python` scorer")
        else:
            weight = value.get("weight")
            for item in replace(written, value=value).at("assert").items():
                for inner in self._assertions(item):
                    overrules = weight == 0 or (weight is not None and "weight" not in inner.value)
                    weighted = {**inner.value, "weight": weight} if overrules else inner.value
                    yield replace(inner, value=weighted)

    def _file(self, path: str) -> Iterator[SourceTest]:
        if path.endswith(".csv"):
            yield from self._table(self._folder.text(path, limit=MAX_CASES), path)
        elif path.endswith(".jsonl"):
            for where, line in self._folder.lines(path):
                try:
                    test = self._on_line(as_javascript(load_json(line)), path, where.line or 1)
                except ValueError as error:
                    self._notes.lost(where, "a test", f"it is not JSON: {error}", "fix the line")
                else:
                    yield from self.read(test)
        elif path.endswith((".yaml", ".yml", ".json")):
            yield from self.read(self._folder.document(path))
        else:
            raise NotCarried("it is no CSV, JSON, JSONL or YAML file", "save it as one of them")

    def _table(self, text: str, path: str) -> Iterator[SourceTest]:
        rows = table_rows(text, path)
        _, names = next(rows, (1, []))
        header = [name.strip() for name in names]
        for line, row in rows:
            cells = dict(zip(header, row, strict=False))
            test = self._on_line(_test_of(cells), path, line)
            if (surplus := len(row) - len(header)) > 0:
                why = f"the header has {len(header)} columns"
                test.lost(f"{surplus} cells", why, "name each column")
            if any(cell.strip() for cell in row):
                yield from self.read(test)

    def _on_line(self, test: Any, path: str, line: int) -> Node:
        return Node(test, Document(path, test, {(): line}, {}), self._notes)

    def _expanded(self, test: SourceTest) -> Iterator[SourceTest]:
        """Yield a test for every combination of the lists among its variables, as promptfoo."""
        lists = {
            name: value
            for name, value in test.values.items()
            if isinstance(value, list) and value and not test.options.get("disableVarExpansion")
        }
        count = math.prod(map(len, lists.values()))
        if count > MAX_EXPANDED:
            why = f"its lists multiply to {count:,} tests"
            test.node.lost("a test", why, "write the cases that matter")
            return
        for chosen in itertools.product(*lists.values()):
            values = {**test.values, **dict(zip(lists, chosen, strict=True))}
            with test.node.reporting("a test"):
                yield replace(test, values=self._filled(values))

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
            return json.dumps(self._folder.document(value).value, ensure_ascii=False)
        return self._folder.text(value).strip()


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
    if match is None or not {match["type"], match["type"].removeprefix("not-")} & TYPES:
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


Options: TypeAlias = dict[str, Any]
Scorer: TypeAlias = tuple[str, Options] | tuple[str, Options, str]
"""Name, options, and how it can decide differently."""

LISTED = re.compile(r'(".*?"|[^,]+)(?=\s*,|\s*$)')
JUDGED = frozenset({
    "llm-rubric", "model-graded-closedqa", "model-graded-factuality", "factuality", "g-eval",
    "answer-relevance", "context-faithfulness", "context-recall", "context-relevance",
    "conversation-relevance", "pi", "search-rubric", "trajectory",
})  # fmt: skip
CODED = frozenset({"javascript", "python", "ruby", "webhook"})
COMPARED = frozenset({"select-best", "max-score"})
NO_COUNTERPART: Mapping[str, str] = {
    "similar": "it compares embeddings; `similarity` measures edit distance, `rouge` shared words",
    "classifier": "ask a model of your own from a `python` scorer",
    "moderation": "ask the moderation service from a `python` scorer",
    **dict.fromkeys(
        ("perplexity", "perplexity-score"), "no log probabilities are stored; use another measure"
    ),
    "is-valid-openai-tools-call": "`tool_call` with the name and arguments of the expected tool",
    **dict.fromkeys(
        ("is-valid-openai-function-call", "is-valid-function-call", "tool-call-f1"),
        "`tool_call` with the name of the expected tool",
    ),
    **{
        f"{verb}-{language}": f"a `python` scorer with a parser of {language.upper()}"
        for verb in ("is", "contains")
        for language in ("sql", "xml", "html")
    },
    "gleu": "`bleu`, with a threshold of your own",
    "meteor": "`rouge` or `bleu`, with a threshold of your own",
    "rouge-s": "`rouge` with kind rougeL",
    "finish-reason": "`length` or `tokens`, with a threshold",
    "guardrails": "a `python` scorer over the answer",
}


@dataclass(frozen=True, slots=True)
class _Assertion:
    """An assertion without its `not-`, its value filled in for one test."""

    kind: str
    value: Any
    threshold: float | None
    negate: bool

    @property
    def text(self) -> str:
        """The text to compare with. Raises `NotCarried`."""
        value = self.value
        if self.kind == "equals" and (isinstance(value, bool) or value == ""):
            return str(value).lower()
        if value is None or value == "" or isinstance(value, (bool, list, dict)):
            raise NotCarried("it has no text to compare with", "give it a value")
        return str(value)

    @property
    def texts(self) -> list[str]:
        """The texts of a list, which may be written with commas. Raises `NotCarried`."""
        value = self.value
        if isinstance(value, str):
            parts = map(str.strip, LISTED.findall(value))
            value = [part.removeprefix('"').removesuffix('"') for part in parts]
        texts = [str(part) for part in value] if isinstance(value, list) else []
        if not texts or not all(texts):
            raise NotCarried("it has no list of texts", "give it texts, none of them empty")
        return texts

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema, which may be YAML in a text. Raises `NotCarried`."""
        if self.negate:
            raise NotCarried("the opposite of a schema is not what it checks", "`not: json`")
        schema = self.value
        if isinstance(schema, str):
            try:
                schema = read_document(schema.encode(), "schema").data
            except InvalidFiles as error:
                raise NotCarried(error.problems[0].message, "fix the schema") from None
        if not isinstance(schema, dict):
            raise NotCarried("its value is no JSON Schema", "`json_schema` with a schema")
        return schema

    def at_least(self, default: float) -> float:
        """The threshold, or the default one."""
        return default if self.threshold is None else self.threshold


def scorer_of(
    written: Mapping[str, Any],
    values: Mapping[str, Any],
    folder: ImportFolder,
    judge: Callable[[], str],
) -> tuple[dict[str, Any], str | None]:
    """Return the line under `scorers:` for an assertion of a test with these variables.

    The second is how it can decide differently (None: it does not). `judge` returns the model of
    llmops.yaml that grades it. Raises `NotCarried`, as `judge` may.
    """
    kind = written.get("type")
    if not isinstance(kind, str):
        raise NotCarried("it has no type", "give it one, or remove it")
    base = kind if kind in MAPPINGS else kind.removeprefix("not-")
    if written.get("transform") or written.get("contextTransform"):
        raise NotCarried("it looks at a transformed answer", "a `python` scorer")

    value = written.get("value")
    if base not in CODED and base not in COMPARED:
        value = mapped_texts(value, lambda text: _filled(text, values, folder))
    assertion = _Assertion(
        kind=base,
        value=value,
        threshold=_number(written.get("threshold")),
        negate=base != kind,
    )
    if base in JUDGED:
        scorer = _judged(assertion, written, judge)
    elif base in MAPPINGS:
        scorer = MAPPINGS[base](assertion)
    else:
        raise _without_counterpart(base)
    name, options, *differs = scorer
    label = written.get("metric")
    if isinstance(label, str) and label and label != "pass":
        options["name"] = rendered(label, values)
    if written.get("weight") == 0:
        options["advisory"] = True
    entry: dict[str, Any] = {name: options}
    return {"not": entry} if assertion.negate else entry, differs[0] if differs else None


def _filled(text: str, values: Mapping[str, Any], folder: ImportFolder) -> Any:
    """Return a text of an assertion with its file read or its template filled in."""
    if not is_file(text):
        return literal(rendered(text, values))
    if CODE.search(text):
        raise NotCarried("its value is computed by code", "write the value out")
    if text.endswith((".json", ".yaml", ".yml")):
        return folder.document(text).value
    return folder.text(text).strip()


def _judged(assertion: _Assertion, written: Mapping[str, Any], judge: Callable[[], str]) -> Scorer:
    own_prompt = {"rubricPrompt", "config"} & set(written)
    if assertion.kind != "llm-rubric" or not isinstance(assertion.value, str) or own_prompt:
        raise NotCarried("it has a judge's prompt of its own", "`rubric`, or a RAG scorer")
    if assertion.threshold is not None:
        raise NotCarried("its threshold is on another scale", "`rubric` with a scale")
    return "rubric", {"criteria": assertion.value, "model": judge()}


def _without_counterpart(kind: str) -> NotCarried:
    if kind in CODED:
        out = "a `python` scorer: path/to/file.py:function"
        return NotCarried("it runs code, and imports run and copy no code", out)
    if kind in COMPARED:
        out = "`llmops compare`, or a scorer that judges one answer"
        return NotCarried("it compares the answers of several prompts", out)
    out = NO_COUNTERPART.get(kind, "a `python` scorer: path/to/file.py:function")
    return NotCarried(f"there is no scorer for '{kind}'", out)


def _equals(assertion: _Assertion) -> Scorer:
    if isinstance(assertion.value, (dict, list)):
        return "json", {"equals": assertion.value, "fence": False}
    return "exact", {"value": assertion.text, "strip": False}


def _regex(assertion: _Assertion) -> Scorer:
    try:
        regex.compile(assertion.text)
    except regex.error as error:
        raise NotCarried(f"no pattern of Python's: {error}", "`regex` in Python's syntax") from None
    return "regex", {"pattern": assertion.text}


def _is_json(assertion: _Assertion) -> Scorer:
    if assertion.value in (None, ""):
        return "json", {"fence": False}
    return "json_schema", {"schema": assertion.schema, "fence": False}


def _contains_json(assertion: _Assertion) -> Scorer:
    differs = "the whole answer, or its one code fence, must be the JSON: prose around it fails"
    if assertion.value in (None, ""):
        return "json", {}, f"{differs}; a list or a single value passes, there only an object did"
    return "json_schema", {"schema": assertion.schema}, differs


def _at_most(name: str, *, per_unit: float) -> Callable[[_Assertion], Scorer]:
    def scorer(assertion: _Assertion) -> Scorer:
        if assertion.threshold is None:
            raise NotCarried("it has no threshold", f"`{name}` with `max`")
        return name, {"max": assertion.threshold / per_unit}

    return scorer


def _levenshtein(assertion: _Assertion) -> Scorer:
    text, allowed = assertion.text, assertion.at_least(5.0)
    if allowed >= len(text):
        why = f"{allowed:g} edits of {len(text)} characters accept nearly anything"
        raise NotCarried(why, "`similarity` with `min`")
    least = round(1 - allowed / len(text), 4)
    differs = f"{allowed:g} edits became a similarity of {least:g}: longer answers may differ more"
    return "similarity", {"value": text, "min": least}, differs


def _overlap(name: str, least: float, **options: str) -> Callable[[_Assertion], Scorer]:
    def scorer(assertion: _Assertion) -> Scorer:
        value = assertion.value if isinstance(assertion.value, list) else assertion.text
        differs = "words are found, and short texts smoothed, by another library"
        return name, {"value": value, **options, "min": assertion.at_least(least)}, differs

    return scorer


def _length(limit: str) -> Callable[[_Assertion], Scorer]:
    def scorer(assertion: _Assertion) -> Scorer:
        threshold = assertion.value if assertion.threshold is None else assertion.threshold
        number = _number(threshold)
        if number is None:
            raise NotCarried("it has no number", f"`length` with `{limit}`")
        return "length", {limit: number}

    return scorer


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value


IGNORING = {"ignore_case": True}
MAPPINGS: Mapping[str, Callable[[_Assertion], Scorer]] = {
    "equals": _equals,
    "contains": lambda assertion: ("contains", {"value": assertion.text}),
    "icontains": lambda assertion: ("contains", {"value": assertion.text, **IGNORING}),
    "contains-any": lambda assertion: ("contains", {"value": assertion.texts}),
    "icontains-any": lambda assertion: ("contains", {"value": assertion.texts, **IGNORING}),
    "contains-all": lambda assertion: ("contains", {"all": assertion.texts}),
    "icontains-all": lambda assertion: ("contains", {"all": assertion.texts, **IGNORING}),
    "starts-with": lambda assertion: ("starts_with", {"value": assertion.text, "strip": False}),
    "regex": _regex,
    "is-json": _is_json,
    "contains-json": _contains_json,
    "latency": _at_most("latency", per_unit=1000),
    "cost": _at_most("cost", per_unit=1),
    "levenshtein": _levenshtein,
    "rouge-n": _overlap("rouge", 0.75, kind="rouge1"),
    "rouge-l": _overlap("rouge", 0.75, kind="rougeL"),
    "bleu": _overlap("bleu", 0.5),
    "is-refusal": lambda _: ("refusal", {}, "another list of words of refusal"),
    "min-length": _length("min"),
    "max-length": _length("max"),
    "not-empty": lambda _: ("length", {"min": 1}),
}
"""By the assertion's type without `not-`."""
TYPES = frozenset({*MAPPINGS, *JUDGED, *CODED, *COMPARED, *NO_COUNTERPART})
"""Every type that promptfoo has."""
