"""Turns one promptfoo assertion into lines under `scorers:`, or says why it cannot.

The scorer decides as the assertion did: text is compared without stripping it, JSON is the whole
answer and no code fence. Where a decision can differ, the mapping says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import regex

from llmops_cli.core.catalog import Catalog
from llmops_cli.core.errors import InvalidFiles
from llmops_cli.importers.base import NotCarried
from llmops_cli.importers.nunjucks import literal, rendered
from llmops_cli.importers.source import CODE, Nearby, is_file, read_document

QUOTED_PARTS = re.compile(r'(".*?"|[^,]+)(?=\s*,|\s*$)')
JUDGED = frozenset(
    (
        *("llm-rubric", "model-graded-closedqa", "model-graded-factuality", "factuality"),
        *("g-eval", "answer-relevance", "context-faithfulness", "context-recall"),
        *("context-relevance", "conversation-relevance", "pi", "search-rubric", "trajectory"),
    )
)
CODED = frozenset({"javascript", "python", "ruby", "webhook"})
COMPARED = frozenset({"select-best", "max-score"})
NO_COUNTERPART: Mapping[str, str] = {
    "similar": "it compares embeddings; `similarity` measures edit distance, `rouge` shared words",
    "classifier": "ask a model of your own from a `python` scorer",
    "moderation": "ask the moderation service from a `python` scorer",
    "perplexity": "no log probabilities are kept; use another measure",
    "perplexity-score": "no log probabilities are kept; use another measure",
    "is-valid-openai-tools-call": "`tool_call` with the name and arguments of the expected tool",
    "is-valid-openai-function-call": "`tool_call` with the name of the expected tool",
    "is-valid-function-call": "`tool_call` with the name of the expected tool",
    "is-sql": "a `python` scorer with an SQL parser",
    "contains-sql": "a `python` scorer with an SQL parser",
    "is-xml": "a `python` scorer with an XML parser",
    "contains-xml": "a `python` scorer with an XML parser",
    "is-html": "a `python` scorer with an HTML parser",
    "contains-html": "a `python` scorer with an HTML parser",
    "gleu": "`bleu`, with a threshold of your own",
    "meteor": "`rouge` or `bleu`, with a threshold of your own",
    "rouge-s": "`rouge` with kind rougeL",
    "finish-reason": "`length` or `tokens`, with a threshold",
    "guardrails": "a `python` scorer over the answer",
    "tool-call-f1": "`tool_call` with the name of the expected tool",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """Lines under `scorers:`, and how they can decide differently (None: they do not)."""

    entries: list[dict[str, Any]]
    differs: str | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """An assertion without its `not-`, its value filled in for one test."""

    kind: str
    value: Any
    threshold: float | None
    negate: bool


Options: TypeAlias = dict[str, Any]
Mapped: TypeAlias = tuple[str, Options] | tuple[str, Options, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionReader:
    """Converts the assertions of one configuration."""

    nearby: Nearby
    catalog: Catalog
    judge: str | None = None
    """The model that grades, as llmops.yaml names it; None: the file names none."""

    def read(self, written: Mapping[str, Any], values: Mapping[str, Any]) -> Converted:
        """The scorers of `written` for a test with these variables. Raises `NotCarried`."""
        kind = written.get("type")
        if not isinstance(kind, str):
            raise NotCarried("it has no type", "give it one, or remove it")
        base = kind if kind in MAPPINGS else kind.removeprefix("not-")
        if written.get("transform") or written.get("contextTransform"):
            raise NotCarried("it looks at a transformed answer", "a `python` scorer")
        if base in JUDGED and {"provider", "rubricPrompt", "config"} & set(written):
            raise NotCarried("it names a judge or a judge's prompt of its own", "a scorer of yours")
        asked = _Asked(
            kind=base,
            value=self._value(written.get("value"), values, base),
            threshold=_number(written.get("threshold")),
            negate=base != kind,
        )
        name, options, *rest = self._mapped(asked)
        label = written.get("metric")
        if isinstance(label, str) and label and label != "pass":
            options["name"] = rendered(label, values)
        if written.get("weight") == 0:
            options["advisory"] = True
        entry: dict[str, Any] = {name: options}
        return Converted(
            entries=[{"not": entry} if asked.negate else entry],
            differs=rest[0] if rest else None,
        )

    def _mapped(self, asked: _Asked) -> Mapped:
        mapping = MAPPINGS.get(asked.kind)
        if mapping is not None:
            return mapping(asked)
        if asked.kind in JUDGED:
            return self._judged(asked)
        if asked.kind in CODED:
            raise NotCarried(
                "it runs code, and imports run and copy no code",
                "a `python` scorer: path/to/file.py:function",
            )
        if asked.kind in COMPARED:
            raise NotCarried(
                "it compares the answers of several prompts",
                "`llmops compare`, or a scorer that judges one answer",
            )
        way_out = NO_COUNTERPART.get(asked.kind, "a `python` scorer: path/to/file.py:function")
        raise NotCarried(f"there is no scorer for '{asked.kind}'", way_out)

    def _judged(self, asked: _Asked) -> Mapped:
        if asked.kind != "llm-rubric" or not isinstance(asked.value, str):
            raise NotCarried("it has a judge's prompt of its own", "`rubric`, or a RAG scorer")
        if self.judge is None:
            raise NotCarried(
                "no grading model is named, and a judge is never implied",
                "`rubric` with `criteria` and `model`",
            )
        if asked.threshold is not None:
            raise NotCarried("its threshold is on another scale", "`rubric` with a scale")
        return "rubric", {"criteria": asked.value, "model": self.judge}

    def _value(self, value: Any, values: Mapping[str, Any], kind: str) -> Any:
        if isinstance(value, str):
            if is_file(value) and kind not in CODED:
                if CODE.search(value):
                    raise NotCarried("its value is computed by code", "write the value out")
                if value.endswith((".json", ".yaml", ".yml")):
                    return self.nearby.document(value).data
                return self.nearby.text(value).strip()
            return value if kind in CODED or kind in COMPARED else literal(rendered(value, values))
        if isinstance(value, list):
            return [self._value(each, values, kind) for each in value]
        if isinstance(value, dict):
            return {name: self._value(each, values, kind) for name, each in value.items()}
        return value


def _equals(asked: _Asked) -> Mapped:
    if isinstance(asked.value, (dict, list)):
        return "json", {"equals": asked.value, "fence": False}
    return "exact", {"value": _scalar(asked), "strip": False}


def _contains(*, ignore_case: bool, every: bool = False, some: bool = False) -> _Mapping:
    def mapping(asked: _Asked) -> Mapped:
        if every:
            options: Options = {"all": _parts(asked)}
        else:
            options = {"value": _parts(asked) if some else _scalar(asked)}
        if ignore_case:
            options["ignore_case"] = True
        return "contains", options

    return mapping


def _starts_with(asked: _Asked) -> Mapped:
    return "starts_with", {"value": _scalar(asked), "strip": False}


def _regex(asked: _Asked) -> Mapped:
    pattern = _scalar(asked)
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise NotCarried(f"no pattern of Python's: {error}", "`regex` in Python's syntax") from None
    return "regex", {"pattern": pattern}


def _is_json(asked: _Asked) -> Mapped:
    if asked.value in (None, ""):
        return "json", {"fence": False}
    return "json_schema", {"schema": _schema(asked), "fence": False}


def _contains_json(asked: _Asked) -> Mapped:
    differs = "the whole answer, or its one code fence, must be the JSON: prose around it fails"
    if asked.value in (None, ""):
        return "json", {}, differs
    return "json_schema", {"schema": _schema(asked)}, differs


def _schema(asked: _Asked) -> dict[str, Any]:
    if asked.negate:
        raise NotCarried("the opposite of a schema is not what it checks", "`not: json`")
    schema = asked.value
    if isinstance(schema, str):
        try:
            schema = read_document(schema.encode(), "schema").data
        except InvalidFiles as error:
            raise NotCarried(error.problems[0].message, "mend the schema") from None
    if not isinstance(schema, dict):
        raise NotCarried("its value is no JSON Schema", "`json_schema` with a schema")
    return schema


def _at_most(name: str, *, per_unit: float) -> _Mapping:
    def mapping(asked: _Asked) -> Mapped:
        if asked.threshold is None:
            raise NotCarried("it has no threshold", f"`{name}` with `max`")
        return name, {"max": asked.threshold / per_unit}

    return mapping


def _levenshtein(asked: _Asked) -> Mapped:
    wanted = _scalar(asked)
    allowed = 5.0 if asked.threshold is None else asked.threshold
    if allowed >= len(wanted):
        raise NotCarried(
            f"{allowed:g} edits of {len(wanted)} characters accept nearly anything",
            "`similarity` with `min`",
        )
    least = round(1 - allowed / len(wanted), 4)
    return (
        "similarity",
        {"value": wanted, "min": least},
        f"{allowed:g} edits became a similarity of {least:g}: longer answers may differ more",
    )


def _overlap(name: str, default: float, options: Mapping[str, Any]) -> _Mapping:
    def mapping(asked: _Asked) -> Mapped:
        least = default if asked.threshold is None else asked.threshold
        value = asked.value if isinstance(asked.value, list) else _scalar(asked)
        differs = "words are found, and short texts smoothed, by another library"
        return name, {"value": value, **options, "min": least}, differs

    return mapping


def _refusal(_asked: _Asked) -> Mapped:
    return "refusal", {}, "another list of words of refusal"


def _length(limit: str) -> _Mapping:
    def mapping(asked: _Asked) -> Mapped:
        number = _number(asked.value if asked.threshold is None else asked.threshold)
        if number is None:
            raise NotCarried("it has no number", f"`length` with `{limit}`")
        return "length", {limit: number}

    return mapping


def _not_empty(_asked: _Asked) -> Mapped:
    return "length", {"min": 1}


def _scalar(asked: _Asked) -> str:
    value = asked.value
    if isinstance(value, bool) or value is None or value == "" or isinstance(value, (list, dict)):
        if asked.kind == "equals" and isinstance(value, (bool, str)):
            return str(value).lower() if isinstance(value, bool) else value
        raise NotCarried("it has no text to compare with", "give it a value")
    return str(value)


def _parts(asked: _Asked) -> list[str]:
    value = asked.value
    if isinstance(value, str):
        value = [
            each.strip().removeprefix('"').removesuffix('"') for each in QUOTED_PARTS.findall(value)
        ]
    parts = [str(each) for each in value] if isinstance(value, list) else []
    if not parts or not all(parts):
        raise NotCarried("it has no list of texts", "give it texts, none of them empty")
    return parts


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value


_Mapping: TypeAlias = Callable[[_Asked], Mapped]

MAPPINGS: Mapping[str, _Mapping] = {
    "equals": _equals,
    "contains": _contains(ignore_case=False),
    "icontains": _contains(ignore_case=True),
    "contains-any": _contains(ignore_case=False, some=True),
    "icontains-any": _contains(ignore_case=True, some=True),
    "contains-all": _contains(ignore_case=False, every=True),
    "icontains-all": _contains(ignore_case=True, every=True),
    "starts-with": _starts_with,
    "regex": _regex,
    "is-json": _is_json,
    "contains-json": _contains_json,
    "latency": _at_most("latency", per_unit=1000),
    "cost": _at_most("cost", per_unit=1),
    "levenshtein": _levenshtein,
    "rouge-n": _overlap("rouge", 0.75, {"kind": "rouge1"}),
    "rouge-l": _overlap("rouge", 0.75, {"kind": "rougeL"}),
    "bleu": _overlap("bleu", 0.5, {}),
    "is-refusal": _refusal,
    "min-length": _length("min"),
    "max-length": _length("max"),
    "not-empty": _not_empty,
}
"""By the assertion's type without `not-`."""
