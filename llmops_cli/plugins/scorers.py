"""The catalog's rows of scorers: options, units, thresholds and where the code is.

The one declaration that loading, `schema`, `check` and the reference pages read. Reading it imports
no scorer and no vendor. A scorer of right and wrong (`unit="pass"`) passes at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmops_cli.core.ports import Option, ScorerKind
from llmops_cli.plugins.judged_scorers import JUDGED, JUDGED_RAG, OVERLAP, RETRIEVAL
from llmops_cli.plugins.options import fixed, option

Scalar = str | int | float | bool
Texts = Scalar | list[Scalar]
Number = int | float | str

VALUE = option(Texts, "the text, or a list: any of them; default: the case's expected")
STRIP = fixed(bool, "ignore leading and trailing white space (default true)")
IGNORING: Mapping[str, Option] = {
    "ignore_case": fixed(bool, "ignore case"),
    "ignore_space": fixed(bool, "treat runs of white space as one space"),
    "ignore_punctuation": fixed(
        bool, "ignore punctuation and symbols that are not part of a number or a sign"
    ),
}
SIMILAR: Mapping[str, Option] = {
    "value": option(Texts, "the reference, or a list: the closest one counts"),
    "ignore_case": IGNORING["ignore_case"],
}

_TEXT = (
    ScorerKind(
        name="exact",
        target="llmops_cli.scorers.text:exact",
        check="llmops_cli.scorers.option_checks:check_expected",
        summary="The answer equals the expected text.",
        revision=2,
        options={"value": VALUE, "strip": STRIP, **IGNORING},
        shorthand="value",
        expects="value",
    ),
    ScorerKind(
        name="contains",
        target="llmops_cli.scorers.text:contains",
        check="llmops_cli.scorers.option_checks:check_part",
        summary="The answer contains the expected text: any or all of a list.",
        revision=2,
        options={
            "value": VALUE,
            "all": option(list[Scalar], "texts that must all be in the answer"),
            **IGNORING,
        },
        shorthand="value",
        expects="value",
        instead=("all",),
    ),
    ScorerKind(
        name="starts_with",
        target="llmops_cli.scorers.text:starts_with",
        check="llmops_cli.scorers.option_checks:check_part",
        summary="The answer starts with the expected text.",
        revision=2,
        options={"value": VALUE, "strip": STRIP, **IGNORING},
        shorthand="value",
        expects="value",
    ),
    ScorerKind(
        name="ends_with",
        target="llmops_cli.scorers.text:ends_with",
        check="llmops_cli.scorers.option_checks:check_part",
        summary="The answer ends with the expected text.",
        revision=2,
        options={"value": VALUE, "strip": STRIP, **IGNORING},
        shorthand="value",
        expects="value",
    ),
    ScorerKind(
        name="regex",
        target="llmops_cli.scorers.pattern:regex_scorer",
        check="llmops_cli.scorers.pattern:check",
        summary="The answer matches a regular expression.",
        revision=2,
        options={
            "pattern": option(str, "Python syntax; matches anywhere unless `whole`", required=True),
            "whole": fixed(bool, "the whole answer must match"),
            "ignore_case": IGNORING["ignore_case"],
            "multiline": fixed(bool, "^ and $ match at line breaks"),
            "dotall": fixed(bool, ". also matches line breaks"),
        },
        shorthand="pattern",
        library="regex",
    ),
    ScorerKind(
        name="length",
        target="llmops_cli.scorers.text:length",
        summary="Number of characters of the answer.",
        revision=2,
        shorthand="max",
        unit="characters",
    ),
    ScorerKind(
        name="refusal",
        target="llmops_cli.scorers.refusal:refusal",
        check="llmops_cli.scorers.option_checks:check_phrases",
        summary="The answer is a refusal: filtered, empty, or starting like one (in English).",
        revision=2,
        options={
            "phrases": option(list[str], "further refusal phrases"),
        },
    ),
    ScorerKind(
        name="label",
        target="llmops_cli.scorers.label:label",
        check="llmops_cli.scorers.label:check",
        summary="The answer names the expected class. Ignores case and punctuation, not signs.",
        revision=2,
        options={
            "value": option(Texts, "the expected label, or a list; default: the case's expected"),
            "labels": option(
                list[Scalar], "all classes; the first one that the answer names is its label"
            ),
            "take": fixed(
                Literal["first", "last", "only"],
                "which label counts (default first); only: naming two labels is wrong",
            ),
        },
        shorthand="value",
        expects="value",
    ),
)

_NUMBER = ScorerKind(
    name="number",
    target="llmops_cli.scorers.number:number",
    check="llmops_cli.scorers.number:check",
    summary="The answer contains the expected number. Reads separators, fractions, powers, "
    "currency and LaTeX.",
    revision=2,
    options={
        "value": option(Number, "the number; default: the case's expected"),
        "tolerance": option(float, "largest absolute difference (default 0)"),
        "relative": option(float, "largest difference as a share of the expected"),
        "take": fixed(Literal["first", "last"], "which number in the text counts (default last)"),
        "after": option(str, "read only what follows this text"),
        "occurrence": fixed(
            Literal["first", "last"], "which occurrence of `after` counts (default last)"
        ),
        "pattern": option(
            str,
            "read only the last match of this regular expression, or of its first group",
        ),
        "decimal": fixed(Literal[".", ","], "the decimal mark (default .)"),
        "percent": fixed(bool, "read 50% as 0.5, in the answer and in the expected value"),
    },
    shorthand="value",
    expects="value",
    library="regex",
)

_STRUCTURED = (
    ScorerKind(
        name="json",
        target="llmops_cli.scorers.structured:json_scorer",
        summary="The answer is JSON, optionally in a code fence.",
        revision=2,
        options={
            "fence": fixed(bool, "accept JSON in a code fence (default true)"),
            "equals": option(Any, "JSON value that the answer must equal"),
            "expected": fixed(bool, "the answer must equal the case's expected"),
        },
        shorthand="equals",
        structured=("equals", "expected"),
    ),
    ScorerKind(
        name="json_schema",
        target="llmops_cli.scorers.schema:open_json_schema",
        check="llmops_cli.scorers.schema:check",
        summary="The answer is JSON that matches a JSON Schema, including formats.",
        revision=2,
        options={
            "schema": fixed(
                str | dict[str, Any], "a project file, or the schema itself", required=True
            ),
            "fence": fixed(bool, "accept JSON in a code fence (default true)"),
        },
        shorthand="schema",
        files=("schema",),
        library="jsonschema",
        opens=True,
    ),
    ScorerKind(
        name="tool_call",
        target="llmops_cli.scorers.structured:tool_call",
        check="llmops_cli.scorers.structured:check_tool",
        summary="The model called the expected tools, with the expected arguments.",
        revision=2,
        options={
            "tool": option(
                str | dict[str, Any] | list[str | dict[str, Any]],
                "a name, {name, arguments}, or a list of these ([]: no call); default: the case's "
                "expected",
            ),
            "arguments": option(dict[str, Any], "arguments that the call must have"),
            "match": fixed(
                Literal["subset", "exact"],
                "subset allows further arguments and calls (default), exact does not",
            ),
        },
        shorthand="tool",
        expects="tool",
        structured=("tool", "arguments"),
    ),
)

_SIMILARITY = (
    ScorerKind(
        name="similarity",
        target="llmops_cli.scorers.similarity:similarity",
        check="llmops_cli.scorers.option_checks:check_expected",
        summary="Edit similarity to the expected text: 1 − Levenshtein distance / longer length.",
        revision=2,
        options=SIMILAR,
        shorthand="value",
        expects="value",
        unit="fraction",
        minimum=0.8,
        library="rapidfuzz",
    ),
    ScorerKind(
        name="rouge",
        target="llmops_cli.scorers.overlap:rouge",
        check="llmops_cli.scorers.option_checks:check_expected",
        summary="ROUGE F-measure against the expected text.",
        revision=2,
        options={
            "value": SIMILAR["value"],
            "kind": fixed(
                Literal["rouge1", "rouge2", "rougeL", "rougeLsum"],
                "words, pairs, longest common subsequence (default rougeL)",
            ),
            "stem": fixed(bool, "compare English word stems"),
        },
        shorthand="value",
        expects="value",
        unit="fraction",
        minimum=0.75,
        library="rouge-score",
        extra="text",
    ),
    ScorerKind(
        name="bleu",
        target="llmops_cli.scorers.overlap:bleu",
        check="llmops_cli.scorers.option_checks:check_expected",
        summary="Sentence BLEU against the expected texts, smoothed, 0 to 1.",
        revision=2,
        options={
            **SIMILAR,
            "tokenize": fixed(
                Literal["13a", "intl", "char", "zh", "none"], "how words are found (default 13a)"
            ),
        },
        shorthand="value",
        expects="value",
        unit="fraction",
        minimum=0.5,
        library="sacrebleu",
        extra="text",
    ),
)

_MEASURED = (
    ScorerKind(
        name="latency",
        target="llmops_cli.scorers.measured:latency",
        summary="Seconds that the call took: of calls made in this run only.",
        options={
            "of": fixed(
                Literal["whole", "first_token"],
                "the whole answer (default), or the time until its first token: then answers "
                "are streamed",
            ),
        },
        shorthand="max",
        unit="seconds",
        live=True,
    ),
    ScorerKind(
        name="cost",
        target="llmops_cli.scorers.measured:cost",
        summary="US dollars that the call cost.",
        shorthand="max",
        unit="usd",
    ),
    ScorerKind(
        name="tokens",
        target="llmops_cli.scorers.measured:tokens",
        summary="Tokens of the call, as the API counted them.",
        options={
            "count": fixed(Literal["total", "input", "output"], "which tokens (default total)"),
        },
        shorthand="max",
        unit="tokens",
    ),
)

_OWN = ScorerKind(
    name="python",
    target="llmops_cli.scorers.python:open_python",
    check="llmops_cli.scorers.python:check",
    summary="A function of the project, run in a separate process.",
    options={
        "call": fixed(str, "path/to/file.py:function", required=True),
        "arguments": option(dict[str, Any], "further keyword arguments of the function"),
        "timeout": fixed(float, "seconds for one call (default 30)"),
        "identity": fixed(
            int | list[str],
            "what else its scores depend on: project files, or a revision number; without "
            "it scores are only cached for one run",
        ),
    },
    shorthand="call",
    unit="fraction",
    minimum=1.0,
    files=("call", "identity"),
    code=True,
    opens=True,
)

SCORERS: Mapping[str, ScorerKind] = {
    kind.name: kind
    for kind in (
        *_TEXT,
        _NUMBER,
        *_STRUCTURED,
        *_SIMILARITY,
        *_MEASURED,
        *JUDGED,
        *RETRIEVAL,
        *OVERLAP,
        *JUDGED_RAG,
        _OWN,
    )
}
"""Scorers by their name under `scorers:`."""
