"""Convert one promptfoo assertion to a scorer.

The scorer decides as the assertion did: text is compared without stripping it, JSON is the whole
answer and no code fence. Where a decision can differ, the scorer says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import regex

from llmops_cli.core.errors import InvalidFiles
from llmops_cli.importers.imported import NotCarried
from llmops_cli.importers.nunjucks import literal, rendered
from llmops_cli.importers.source import CODE, ImportFolder, is_file, read_document

Options: TypeAlias = dict[str, Any]
Grader: TypeAlias = Callable[[Any], str]
"""From a grader as it is written (None: none is) to a model of llmops.yaml, or `NotCarried`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A line under `scorers:`, and how it can decide differently (None: it does not)."""

    entry: dict[str, Any]
    differs: str | None = None


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
        if self.kind == "equals" and isinstance(value, bool):
            return str(value).lower()
        if value is None or isinstance(value, (bool, list, dict)):
            raise NotCarried("it has no text to compare with", "give it a value")
        if value == "" and self.kind != "equals":
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


Scorer: TypeAlias = tuple[str, Options] | tuple[str, Options, str]
"""Name, options, and how it can decide differently."""


class AssertionReader:
    """Converts the assertions of one configuration."""

    def __init__(self, nearby: ImportFolder, grader: Grader) -> None:
        self._nearby = nearby
        self._grader = grader

    def read(
        self, written: Mapping[str, Any], values: Mapping[str, Any], *, grader: Any = None
    ) -> Converted:
        """Return the scorer of `written` for a test with these variables and this grader.

        Raises `NotCarried`.
        """
        kind = written.get("type")
        if not isinstance(kind, str):
            raise NotCarried("it has no type", "give it one, or remove it")
        base = kind if kind in MAPPINGS else kind.removeprefix("not-")
        if written.get("transform") or written.get("contextTransform"):
            raise NotCarried("it looks at a transformed answer", "a `python` scorer")
        assertion = _Assertion(
            kind=base,
            value=self._value(written.get("value"), values, base),
            threshold=_number(written.get("threshold")),
            negate=base != kind,
        )
        if base in JUDGED:
            scorer = self._judged(assertion, written, grader)
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
        return Converted(
            entry={"not": entry} if assertion.negate else entry,
            differs=differs[0] if differs else None,
        )

    def _judged(self, assertion: _Assertion, written: Mapping[str, Any], grader: Any) -> Scorer:
        own_prompt = {"rubricPrompt", "config"} & set(written)
        if assertion.kind != "llm-rubric" or not isinstance(assertion.value, str) or own_prompt:
            raise NotCarried("it has a judge's prompt of its own", "`rubric`, or a RAG scorer")
        if assertion.threshold is not None:
            raise NotCarried("its threshold is on another scale", "`rubric` with a scale")
        model = self._grader(written.get("provider") or grader)
        return "rubric", {"criteria": assertion.value, "model": model}

    def _value(self, value: Any, values: Mapping[str, Any], kind: str) -> Any:
        """Return an assertion's value with files read and templates filled in."""
        if isinstance(value, list):
            return [self._value(item, values, kind) for item in value]
        if isinstance(value, dict):
            return {name: self._value(item, values, kind) for name, item in value.items()}
        if not isinstance(value, str) or kind in CODED or kind in COMPARED:
            return value
        if not is_file(value):
            return literal(rendered(value, values))
        if CODE.search(value):
            raise NotCarried("its value is computed by code", "write the value out")
        if value.endswith((".json", ".yaml", ".yml")):
            return self._nearby.document(value).data
        return self._nearby.text(value).strip()


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
KNOWN = frozenset({*MAPPINGS, *JUDGED, *CODED, *COMPARED, *NO_COUNTERPART})
"""Every type that promptfoo has."""
