"""The catalog's rows of scorers: options, units, thresholds and where the code is.

The one declaration that loading, `schema`, `check` and the reference pages read. Reading it imports
no scorer and no vendor. A scorer of right and wrong (`unit="pass"`) passes at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from llmops_cli.core.ports import Option, ScorerKind, fixed

Scalar = str | int | float | bool
Texts = Scalar | list[Scalar]


def _row(
    name: str,
    target: str,
    summary: str,
    options: Mapping[str, Option] = MappingProxyType({}),
    *,
    check: str | None = None,
    **more: Any,  # noqa: ANN401 - fields of `ScorerKind`
) -> ScorerKind:
    """Return a row; `target` and `check` are `module:function` in `llmops_cli.scorers`."""
    return ScorerKind(
        name=name,
        target=f"llmops_cli.scorers.{target}",
        summary=summary,
        options=options,
        check=check and f"llmops_cli.scorers.{check}",
        **more,
    )


def _compared(
    name: str,
    summary: str,
    options: Mapping[str, Option],
    *,
    module: str = "text",
    check: str = "text:check_expected",
    **more: Any,  # noqa: ANN401 - fields of `ScorerKind`
) -> ScorerKind:
    """Return a row that compares the answer with `value`, by default the case's `expected`."""
    common = {"revision": 2, "shorthand": "value", "expects": "value"}
    return _row(name, f"{module}:{name}", summary, options, check=check, **common, **more)


def _by_judge(
    name: str,
    summary: str,
    options: Mapping[str, Option],
    *,
    calls: int = 1,
    **more: Any,  # noqa: ANN401 - fields of `ScorerKind`
) -> ScorerKind:
    """Return a row of a scorer whose judge has a prompt of its own."""
    judge = {
        "model": fixed(
            str,
            "the judge: a name from llmops.yaml or provider/model; default: the model of the "
            "judge prompt, which is `judge` in the default prompts",
        ),
        "prompt": fixed(str, "a prompt of the project to judge with; default: the bundled one"),
        "expected": fixed(bool, "show the judge the expected answer (default false)"),
        "contexts": fixed(bool, "show the judge the passages (default false)"),
        "reason": fixed(bool, "request a reason (default true); without, it costs less"),
    }
    return _row(
        name,
        f"judged:{name}",
        summary,
        {**options, **judge},
        revision=2,
        unit="fraction",
        judged=True,
        asks={"judge": calls},
        prompt=name,
        **more,
    )


def _ranked(name: str, summary: str, k: Option, minimum: float | None = None) -> ScorerKind:
    """Return a row of trec_eval's measures of a ranking."""
    relevant = Option(
        str | int | list[str | int] | dict[str, int],
        "the relevant ids, or the grade of each as {id: grade}; default: metadata.relevant",
        default="{{ metadata.relevant }}",
    )
    return _row(
        name,
        f"retrieval:{name}",
        summary,
        {"k": k, "relevant": relevant},
        check="retrieval:check",
        structured=("relevant",),
        shorthand="k",
        unit="pass" if minimum is None else "fraction",
        minimum=minimum,
        library="pytrec-eval-terrier",
        extra="retrieval",
        part="retrieval",
    )


def _ragas(
    name: str,
    summary: str,
    options: Mapping[str, Option],
    *,
    calls: int = 0,
    **more: Any,  # noqa: ANN401 - fields of `ScorerKind`
) -> ScorerKind:
    """Return a row of ragas' metrics; `calls` of the judge make a score."""
    model = fixed(str, "the judge: a name from llmops.yaml or provider/model; default: `judge`")
    overlap = {
        "check": "rag:check_overlap",
        "structured": ("relevant",),
        "minimum": 0.5,
        "part": "retrieval",
    }
    judged: dict[str, Any] = {
        "judged": True,
        "asks": {"judge": calls} | ({"embedding": 4} if "embeddings" in options else {}),
        "question": "question" if "question" in options else None,
        "expects": "reference" if "reference" in options else None,
    }
    return _row(
        name,
        f"rag:open_{name}",
        summary,
        {**options, "model": model} if calls else options,
        unit="fraction",
        library="ragas",
        extra="ragas",
        opens=True,
        **(judged if calls else overlap),
        **more,
    )


_VALUE = Option(Texts, "the text, or a list: any of them; default: the case's expected")
_REFERENCE_TEXT = Option(Texts, "the reference, or a list: the closest one counts")
_IGNORE_CASE = fixed(bool, "ignore case")
_IGNORING: Mapping[str, Option] = {
    "ignore_case": _IGNORE_CASE,
    "ignore_space": fixed(bool, "treat runs of white space as one space"),
    "ignore_punctuation": fixed(
        bool, "ignore punctuation and symbols that are not part of a number or a sign"
    ),
}
_TEXT = {
    "value": _VALUE,
    "strip": fixed(bool, "ignore leading and trailing white space (default true)"),
    **_IGNORING,
}
_FENCE = fixed(bool, "accept JSON in a code fence (default true)")
_FIRST = fixed(int, "how many results count", required=True)
_FIRST_OR_ALL = fixed(int, "how many results count (default all)")
_IDS = {
    "relevant": Option(
        list[str | int],
        "the relevant ids; default: metadata.relevant",
        default="{{ metadata.relevant }}",
    )
}
_PASSAGES = {
    "relevant": Option(
        list[str], "the relevant passages; default: the case's contexts", default="{{ contexts }}"
    ),
    "threshold": fixed(
        float, "similarity from which two passages count as equal, from 0 to 1 (default 0.5)"
    ),
}
_QUESTION = {
    "question": Option(
        str, "the question; default: the input `question`, `query` or `input`, or the only text"
    )
}
_REFERENCE = {"reference": Option(str, "the expected answer; default: the case's expected")}

_ROWS = (
    # Text
    _compared("exact", "The answer equals the expected text.", _TEXT),
    _compared(
        "contains",
        "The answer contains the expected text: any or all of a list.",
        {
            "value": _VALUE,
            "all": Option(list[Scalar], "texts that must all be in the answer"),
            **_IGNORING,
        },
        check="text:check_part",
        instead=("all",),
    ),
    _compared(
        "starts_with", "The answer starts with the expected text.", _TEXT, check="text:check_part"
    ),
    _compared(
        "ends_with", "The answer ends with the expected text.", _TEXT, check="text:check_part"
    ),
    _row(
        "regex",
        "text:regex_scorer",
        "The answer matches a regular expression.",
        {
            "pattern": Option(str, "Python syntax; matches anywhere unless `whole`", required=True),
            "whole": fixed(bool, "the whole answer must match"),
            "ignore_case": _IGNORE_CASE,
            "multiline": fixed(bool, "^ and $ match at line breaks"),
            "dotall": fixed(bool, ". also matches line breaks"),
        },
        check="text:check_regex",
        revision=2,
        shorthand="pattern",
        library="regex",
    ),
    _row(
        "length",
        "text:length",
        "Number of characters of the answer.",
        revision=2,
        shorthand="max",
        unit="characters",
    ),
    _row(
        "refusal",
        "text:refusal",
        "The answer is a refusal: filtered, empty, or starting like one (in English).",
        {"phrases": Option(list[str], "further refusal phrases")},
        check="text:check_phrases",
        revision=2,
    ),
    _compared(
        "label",
        "The answer names the expected class. Ignores case and punctuation, not signs.",
        {
            "value": Option(Texts, "the expected label, or a list; default: the case's expected"),
            "labels": Option(
                list[Scalar], "all classes; the first one that the answer names is its label"
            ),
            "take": fixed(
                Literal["first", "last", "only"],
                "which label counts (default first); only: naming two labels is wrong",
            ),
        },
        check="text:check_label",
    ),
    _compared(
        "number",
        "The answer contains the expected number. Reads separators, fractions, powers, currency "
        "and LaTeX.",
        {
            "value": Option(int | float | str, "the number; default: the case's expected"),
            "tolerance": Option(float, "largest absolute difference (default 0)"),
            "relative": Option(float, "largest difference as a share of the expected"),
            "take": fixed(
                Literal["first", "last"], "which number in the text counts (default last)"
            ),
            "after": Option(str, "read only what follows this text"),
            "occurrence": fixed(
                Literal["first", "last"], "which occurrence of `after` counts (default last)"
            ),
            "pattern": Option(
                str, "read only the last match of this regular expression, or of its first group"
            ),
            "decimal": fixed(Literal[".", ","], "the decimal mark (default .)"),
            "percent": fixed(bool, "read 50% as 0.5, in the answer and in the expected value"),
        },
        module="number",
        check="number:check",
        library="regex",
    ),
    # Structured answers
    _row(
        "json",
        "structured:json_scorer",
        "The answer is JSON, optionally in a code fence.",
        {
            "fence": _FENCE,
            "equals": Option(Any, "JSON value that the answer must equal"),
            "expected": fixed(bool, "the answer must equal the case's expected"),
        },
        revision=2,
        shorthand="equals",
        structured=("equals", "expected"),
    ),
    _row(
        "json_schema",
        "schema:open_json_schema",
        "The answer is JSON that matches a JSON Schema, including formats.",
        {
            "schema": fixed(
                str | dict[str, Any], "a project file, or the schema itself", required=True
            ),
            "fence": _FENCE,
        },
        check="schema:check",
        revision=2,
        shorthand="schema",
        files=("schema",),
        library="jsonschema",
        opens=True,
    ),
    _row(
        "tool_call",
        "structured:tool_call",
        "The model called the expected tools, with the expected arguments.",
        {
            "tool": Option(
                str | dict[str, Any] | list[str | dict[str, Any]],
                "a name, {name, arguments}, or a list of these ([]: no call); default: the case's "
                "expected",
            ),
            "arguments": Option(dict[str, Any], "arguments that the call must have"),
            "match": fixed(
                Literal["subset", "exact"],
                "subset allows further arguments and calls (default), exact does not",
            ),
        },
        check="structured:check_tool",
        revision=2,
        shorthand="tool",
        expects="tool",
        structured=("tool", "arguments"),
    ),
    # Likeness to a reference
    _compared(
        "similarity",
        "Edit similarity to the expected text: 1 − Levenshtein distance / longer length.",
        {"value": _REFERENCE_TEXT, "ignore_case": _IGNORE_CASE},
        module="similarity",
        unit="fraction",
        minimum=0.8,
        library="rapidfuzz",
    ),
    _compared(
        "rouge",
        "ROUGE F-measure against the expected text.",
        {
            "value": _REFERENCE_TEXT,
            "kind": fixed(
                Literal["rouge1", "rouge2", "rougeL", "rougeLsum"],
                "words, pairs, longest common subsequence (default rougeL)",
            ),
            "stem": fixed(bool, "compare English word stems"),
        },
        module="overlap",
        unit="fraction",
        minimum=0.75,
        library="rouge-score",
        extra="text",
    ),
    _compared(
        "bleu",
        "Sentence BLEU against the expected texts, smoothed, 0 to 1.",
        {
            "value": _REFERENCE_TEXT,
            "ignore_case": _IGNORE_CASE,
            "tokenize": fixed(
                Literal["13a", "intl", "char", "zh", "none"], "how words are found (default 13a)"
            ),
        },
        module="overlap",
        unit="fraction",
        minimum=0.5,
        library="sacrebleu",
        extra="text",
    ),
    # What a call took
    _row(
        "latency",
        "text:latency",
        "Seconds that the call took: of calls made in this run only.",
        {
            "of": fixed(
                Literal["whole", "first_token"],
                "the whole answer (default), or the time until its first token: then answers "
                "are streamed",
            )
        },
        shorthand="max",
        unit="seconds",
        live=True,
    ),
    _row("cost", "text:cost", "US dollars that the call cost.", shorthand="max", unit="usd"),
    _row(
        "tokens",
        "text:tokens",
        "Tokens of the call, as the API counted them.",
        {"count": fixed(Literal["total", "input", "output"], "which tokens (default total)")},
        shorthand="max",
        unit="tokens",
    ),
    # Judges
    _by_judge(
        "rubric",
        "A model judges the answer by written criteria: pass or fail, or a grade.",
        {
            "criteria": Option(str, "what makes a good answer", required=True),
            "scale": fixed(
                list[int],
                "lowest and highest grade, as [1, 5]; the score is the position between them",
            ),
        },
        check="judged:check_rubric",
        shorthand="criteria",
        minimum=1.0,
    ),
    _by_judge(
        "choice",
        "A model sorts the answer into a class; each class has a score.",
        {
            "criteria": Option(str, "what the classes are about", required=True),
            "choices": fixed(
                dict[str, float], "the classes, each with a score from 0 to 1", required=True
            ),
        },
        check="judged:check_choice",
        minimum=1.0,
    ),
    _by_judge(
        "pairwise",
        "A model compares the answer with the baseline's, in both orders.",
        {"criteria": Option(str, "what makes an answer better (default: it helps more)")},
        calls=2,
        shorthand="criteria",
        minimum=0.5,
        paired=True,
    ),
    # Retrieval
    _ranked("hit_at_k", "A relevant document is among the first k results.", _FIRST),
    _ranked(
        "precision_at_k",
        "The share of the first k results that is relevant; fewer than k count as k.",
        _FIRST,
        0.5,
    ),
    _ranked(
        "recall_at_k",
        "The share of relevant documents that is among the first k results.",
        _FIRST,
        0.8,
    ),
    _ranked("mrr", "1 / the rank of the first relevant document.", _FIRST_OR_ALL, 0.5),
    _ranked("ndcg", "How close the ranking is to the best one, by grade.", _FIRST_OR_ALL, 0.7),
    _ragas("context_precision_by_id", "The share of retrieved ids that is relevant.", _IDS),
    _ragas("context_recall_by_id", "The share of relevant ids that was retrieved.", _IDS),
    _ragas(
        "context_precision_by_text",
        "Whether passages similar to a relevant one are ranked first.",
        _PASSAGES,
    ),
    _ragas(
        "context_recall_by_text", "The share of relevant passages that was retrieved.", _PASSAGES
    ),
    # Generation from what was retrieved
    _ragas(
        "faithfulness",
        "The share of the answer's statements that follow from the passages.",
        _QUESTION,
        part="generation",
        minimum=0.8,
        calls=2,
        passages=True,
    ),
    _ragas(
        "answer_relevancy",
        "Whether the answer addresses the question, by questions generated from it.",
        {
            **_QUESTION,
            "embeddings": fixed(
                str, "the embedding model: a name from llmops.yaml or provider/model", required=True
            ),
        },
        part="generation",
        minimum=0.7,
        calls=3,
    ),
    _ragas(
        "context_precision",
        "Whether the passages that support the expected answer are ranked first.",
        {**_QUESTION, **_REFERENCE},
        part="retrieval",
        minimum=0.5,
        calls=5,
        passages=True,
    ),
    _ragas(
        "context_recall",
        "The share of the expected answer's statements found in the passages.",
        {**_QUESTION, **_REFERENCE},
        part="retrieval",
        minimum=0.8,
        calls=1,
        passages=True,
    ),
    _ragas(
        "factual_correctness",
        "Claims shared with the expected answer, as precision, recall or F1.",
        {
            **_REFERENCE,
            "mode": fixed(
                Literal["f1", "precision", "recall"],
                "precision: the answer's claims that are expected; recall: the reverse; f1: both "
                "(default)",
            ),
        },
        part="generation",
        minimum=0.7,
        calls=4,
    ),
    _row(
        "python",
        "python:open_python",
        "A function of the project, run in a separate process.",
        {
            "call": fixed(str, "path/to/file.py:function", required=True),
            "arguments": Option(dict[str, Any], "further keyword arguments of the function"),
            "timeout": fixed(float, "seconds for one call (default 30)"),
            "identity": fixed(
                int | list[str],
                "what else its scores depend on: project files, or a revision number; without "
                "it scores are only cached for one run",
            ),
        },
        check="python:check",
        shorthand="call",
        unit="fraction",
        minimum=1.0,
        files=("call", "identity"),
        code=True,
        opens=True,
    ),
)

SCORERS: Mapping[str, ScorerKind] = {kind.name: kind for kind in _ROWS}
"""Scorers by their name under `scorers:`."""
