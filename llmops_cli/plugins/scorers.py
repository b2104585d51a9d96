"""The scorers that come with llmops, as data: options, units, thresholds and where the code is.

The one table that loading, `schema`, `check` and the reference pages read. Reading it imports no
scorer and no vendor. A scorer of right and wrong (`unit="pass"`) passes at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmops_cli.core.catalog import Option, ScorerKind
from llmops_cli.plugins.judged_scorers import JUDGED, JUDGED_RAG, OVERLAP, RETRIEVAL

Scalar = str | int | float | bool
Texts = Scalar | list[Scalar]
Number = int | float | str

VALUE = Option(type=Texts, help="the text, or a list: any of them; default: the case's expected")
STRIP = Option(
    type=bool, help="drop white space at both ends of the answer (default true)", template=False
)
IGNORING: Mapping[str, Option] = {
    "ignore_case": Option(type=bool, help="upper and lower case are alike", template=False),
    "ignore_space": Option(type=bool, help="runs of white space are one blank", template=False),
    "ignore_punctuation": Option(
        type=bool,
        help="leave out punctuation and symbols that are not part of a number or a sign",
        template=False,
    ),
}
SIMILAR: Mapping[str, Option] = {
    "value": Option(type=Texts, help="the reference, or a list: the nearest of them counts"),
    "ignore_case": IGNORING["ignore_case"],
}

_TEXT = (
    ScorerKind(
        name="exact",
        target="llmops_cli.scorers.text:exact",
        check="llmops_cli.scorers.option_checks:check_expected",
        summary="The answer is the expected text.",
        revision=2,
        options={"value": VALUE, "strip": STRIP, **IGNORING},
        shorthand="value",
        expects="value",
    ),
    ScorerKind(
        name="contains",
        target="llmops_cli.scorers.text:contains",
        check="llmops_cli.scorers.option_checks:check_part",
        summary="The answer has the expected text in it: any of a list, or all of one.",
        revision=2,
        options={
            "value": VALUE,
            "all": Option(type=list[Scalar], help="texts that must all be in the answer"),
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
        summary="A regular expression is found in the answer.",
        revision=2,
        options={
            "pattern": Option(
                type=str, help="Python's syntax; found anywhere unless `whole`", required=True
            ),
            "whole": Option(type=bool, help="the whole answer must match", template=False),
            "ignore_case": IGNORING["ignore_case"],
            "multiline": Option(type=bool, help="^ and $ match at every line", template=False),
            "dotall": Option(type=bool, help=". matches a line break too", template=False),
        },
        shorthand="pattern",
        library="regex",
    ),
    ScorerKind(
        name="length",
        target="llmops_cli.scorers.text:length",
        summary="Characters of the answer, between `min` and `max`.",
        revision=2,
        shorthand="max",
        unit="characters",
    ),
    ScorerKind(
        name="refusal",
        target="llmops_cli.scorers.refusal:refusal",
        check="llmops_cli.scorers.option_checks:check_phrases",
        summary="The answer refuses: filtered, empty, or opening with words of refusal (English).",
        revision=2,
        options={
            "phrases": Option(type=list[str], help="further words of refusal"),
        },
    ),
    ScorerKind(
        name="label",
        target="llmops_cli.scorers.label:label",
        check="llmops_cli.scorers.label:check",
        summary="The answer names the expected class; case and punctuation do not count, signs do.",
        revision=2,
        options={
            "value": Option(type=Texts, help="the right label, or a list; default: expected"),
            "labels": Option(
                type=list[Scalar],
                help="all classes: the first of them that the answer names is its label",
            ),
            "take": Option(
                type=Literal["first", "last", "only"],
                help="which named label counts (default first); only: two labels are wrong",
                template=False,
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
    summary="A number in the answer is the expected one: separators, fractions, powers, currency "
    "and LaTeX are read.",
    revision=2,
    options={
        "value": Option(type=Number, help="the number; default: the case's expected"),
        "tolerance": Option(type=float, help="largest absolute difference (default 0)"),
        "relative": Option(type=float, help="largest difference as a share of the expected"),
        "take": Option(
            type=Literal["first", "last"],
            help="which number of the text counts (default last)",
            template=False,
        ),
        "after": Option(type=str, help="read only what follows this text"),
        "occurrence": Option(
            type=Literal["first", "last"],
            help="which occurrence of `after` counts (default last)",
            template=False,
        ),
        "pattern": Option(
            type=str,
            help="read only what this regular expression (or its first "
            "group) matches, at its last match",
        ),
        "decimal": Option(
            type=Literal[".", ","], help="the decimal mark (default .)", template=False
        ),
        "percent": Option(
            type=bool, help="50% is 0.5, in the answer and in what is expected", template=False
        ),
    },
    shorthand="value",
    expects="value",
    library="regex",
)

_STRUCTURED = (
    ScorerKind(
        name="json",
        target="llmops_cli.scorers.structured:json_scorer",
        summary="The answer is JSON, alone or in one code fence.",
        revision=2,
        options={
            "fence": Option(
                type=bool, help="accept JSON in a code fence (default true)", template=False
            ),
            "equals": Option(type=Any, help="the JSON value that it must equal"),
            "expected": Option(type=bool, help="it must equal the case's expected", template=False),
        },
        shorthand="equals",
        structured=("equals", "expected"),
    ),
    ScorerKind(
        name="json_schema",
        target="llmops_cli.scorers.schema:open_json_schema",
        check="llmops_cli.scorers.schema:check",
        summary="The answer is JSON that satisfies a JSON Schema, formats included.",
        revision=2,
        options={
            "schema": Option(
                type=str | dict[str, Any],
                help="a project file, or the schema itself",
                required=True,
                template=False,
            ),
            "fence": Option(
                type=bool, help="accept JSON in a code fence (default true)", template=False
            ),
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
            "tool": Option(
                type=str | dict[str, Any] | list[str | dict[str, Any]],
                help="its name, {name, arguments}, or a list of these, where [] is no tool at all; "
                "default: expected",
            ),
            "arguments": Option(
                type=dict[str, Any], help="arguments that the call of the named tool must have"
            ),
            "match": Option(
                type=Literal["subset", "exact"],
                help="whether further arguments and further calls are allowed (subset, the "
                "default) or not (exact)",
                template=False,
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
            "kind": Option(
                type=Literal["rouge1", "rouge2", "rougeL", "rougeLsum"],
                help="words, pairs, longest common subsequence (default rougeL)",
                template=False,
            ),
            "stem": Option(type=bool, help="compare English word stems", template=False),
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
            "tokenize": Option(
                type=Literal["13a", "intl", "char", "zh", "none"],
                help="how words are found (default 13a)",
                template=False,
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
            "of": Option(
                type=Literal["whole", "first_token"],
                help="the whole answer (default), or the time until its first token: then answers "
                "are streamed",
                template=False,
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
            "count": Option(
                type=Literal["total", "input", "output"],
                help="which tokens (default total)",
                template=False,
            ),
        },
        shorthand="max",
        unit="tokens",
    ),
)

_OWN = ScorerKind(
    name="python",
    target="llmops_cli.scorers.python:open_python",
    check="llmops_cli.scorers.python:check",
    summary="A function of the project, run in a process of its own.",
    options={
        "call": Option(type=str, help="path/to/file.py:function", required=True, template=False),
        "arguments": Option(type=dict[str, Any], help="further keyword arguments of the function"),
        "timeout": Option(type=float, help="seconds for one call (default 30)", template=False),
        "identity": Option(
            type=int | list[str],
            help="what else it depends on: project files, or a revision raised by hand; without "
            "it scores live for one run",
            template=False,
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
"""By the name that stands under `scorers:`."""
