"""The catalog's rows of scorers that ask a model, and of retrieval (trec_eval's and ragas')."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llmops_cli.core.ports import Option, Part, Role, ScorerKind
from llmops_cli.plugins.options import fixed, option

JUDGE: Mapping[str, Option] = {
    "model": fixed(
        str,
        "the judge: a name from llmops.yaml or provider/model; default: the model of the judge "
        "prompt, which is `judge` in the default prompts",
    ),
    "prompt": fixed(str, "a prompt of the project to judge with; default: the bundled one"),
    "expected": fixed(bool, "show the judge the expected answer (default false)"),
    "contexts": fixed(bool, "show the judge the passages (default false)"),
    "reason": fixed(bool, "request a reason (default true); without, it costs less"),
}

JUDGED = (
    ScorerKind(
        name="rubric",
        target="llmops_cli.scorers.judged:rubric",
        check="llmops_cli.scorers.judged:check_rubric",
        summary="A model judges the answer by written criteria: pass or fail, or a grade.",
        revision=2,
        options={
            "criteria": option(str, "what makes a good answer", required=True),
            "scale": fixed(
                list[int],
                "lowest and highest grade, as [1, 5]; the score is the position between them",
            ),
            **JUDGE,
        },
        shorthand="criteria",
        unit="fraction",
        minimum=1.0,
        judged=True,
        asks={"judge": 1},
        prompt="rubric",
    ),
    ScorerKind(
        name="choice",
        target="llmops_cli.scorers.judged:choice",
        check="llmops_cli.scorers.judged:check_choice",
        summary="A model sorts the answer into a class; each class has a score.",
        revision=2,
        options={
            "criteria": option(str, "what the classes are about", required=True),
            "choices": fixed(
                dict[str, float], "the classes, each with a score from 0 to 1", required=True
            ),
            **JUDGE,
        },
        unit="fraction",
        minimum=1.0,
        judged=True,
        asks={"judge": 1},
        prompt="choice",
    ),
    ScorerKind(
        name="pairwise",
        target="llmops_cli.scorers.judged:pairwise",
        summary="A model compares the answer with the baseline's, in both orders.",
        revision=2,
        options={
            "criteria": option(str, "what makes an answer better (default: it helps more)"),
            **JUDGE,
        },
        shorthand="criteria",
        unit="fraction",
        minimum=0.5,
        judged=True,
        asks={"judge": 2},
        prompt="pairwise",
        paired=True,
    ),
)


_RELEVANT = option(
    str | int | list[str | int] | dict[str, int],
    "the relevant ids, or the grade of each as {id: grade}; default: metadata.relevant",
    default="{{ metadata.relevant }}",
)
_FIRST = fixed(int, "how many results count", required=True)
_FIRST_OR_ALL = fixed(int, "how many results count (default all)")


def _ranked(name: str, summary: str, k: Option, minimum: float | None) -> ScorerKind:
    return ScorerKind(
        name=name,
        target=f"llmops_cli.scorers.retrieval:{name}",
        check="llmops_cli.scorers.retrieval:check",
        summary=summary,
        options={"k": k, "relevant": _RELEVANT},
        structured=("relevant",),
        shorthand="k",
        unit="pass" if minimum is None else "fraction",
        minimum=minimum,
        library="pytrec-eval-terrier",
        extra="retrieval",
        part="retrieval",
    )


RETRIEVAL = (
    _ranked("hit_at_k", "A relevant document is among the first k results.", _FIRST, None),
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
    _ranked(
        "ndcg",
        "How close the ranking is to the best one, by grade.",
        _FIRST_OR_ALL,
        0.7,
    ),
)

_IDS = option(
    list[str | int],
    "the relevant ids; default: metadata.relevant",
    default="{{ metadata.relevant }}",
)
_TEXTS = option(
    list[str], "the relevant passages; default: the case's contexts", default="{{ contexts }}"
)
_THRESHOLD = fixed(
    float, "similarity from which two passages count as equal, from 0 to 1 (default 0.5)"
)


def _overlap(name: str, summary: str, relevant: Option) -> ScorerKind:
    """Return a row of ragas' metrics that need no model."""
    texts = {"threshold": _THRESHOLD} if relevant is _TEXTS else {}
    return ScorerKind(
        name=f"context_{name}",
        target=f"llmops_cli.scorers.rag:open_{name}",
        check="llmops_cli.scorers.rag:check_overlap",
        summary=summary,
        options={"relevant": relevant, **texts},
        structured=("relevant",),
        unit="fraction",
        minimum=0.5,
        library="ragas",
        extra="ragas",
        opens=True,
        part="retrieval",
    )


OVERLAP = (
    _overlap("precision_by_id", "The share of retrieved ids that is relevant.", _IDS),
    _overlap("recall_by_id", "The share of relevant ids that was retrieved.", _IDS),
    _overlap(
        "precision_by_text",
        "Whether passages similar to a relevant one are ranked first.",
        _TEXTS,
    ),
    _overlap("recall_by_text", "The share of relevant passages that was retrieved.", _TEXTS),
)

_MODEL = fixed(str, "the judge: a name from llmops.yaml or provider/model; default: `judge`")
_EMBEDDINGS = fixed(
    str, "the embedding model: a name from llmops.yaml or provider/model", required=True
)
_QUESTION = {
    "question": option(
        str, "the question; default: the input `question`, `query` or `input`, or the only text"
    )
}
_REFERENCE = {"reference": option(str, "the expected answer; default: the case's expected")}
_MODE = fixed(
    Literal["f1", "precision", "recall"],
    "precision: the answer's claims that are expected; recall: the reverse; f1: both (default)",
)


def _judged(  # noqa: PLR0913 - what differs between the rows
    name: str,
    summary: str,
    options: Mapping[str, Option],
    *,
    part: Part,
    minimum: float,
    asks: Mapping[Role, int],
    passages: bool = False,
) -> ScorerKind:
    """Return a row of ragas' metrics that ask a model."""
    return ScorerKind(
        name=name,
        target=f"llmops_cli.scorers.rag:open_{name}",
        summary=summary,
        options={**options, "model": _MODEL},
        question="question" if "question" in options else None,
        expects="reference" if "reference" in options else None,
        passages=passages,
        unit="fraction",
        minimum=minimum,
        library="ragas",
        extra="ragas",
        judged=True,
        asks=asks,
        opens=True,
        part=part,
    )


JUDGED_RAG = (
    _judged(
        "faithfulness",
        "The share of the answer's statements that follow from the passages.",
        _QUESTION,
        part="generation",
        minimum=0.8,
        asks={"judge": 2},
        passages=True,
    ),
    _judged(
        "answer_relevancy",
        "Whether the answer addresses the question, by questions generated from it.",
        {**_QUESTION, "embeddings": _EMBEDDINGS},
        part="generation",
        minimum=0.7,
        asks={"judge": 3, "embedding": 4},
    ),
    _judged(
        "context_precision",
        "Whether the passages that support the expected answer are ranked first.",
        {**_QUESTION, **_REFERENCE},
        part="retrieval",
        minimum=0.5,
        asks={"judge": 5},
        passages=True,
    ),
    _judged(
        "context_recall",
        "The share of the expected answer's statements found in the passages.",
        {**_QUESTION, **_REFERENCE},
        part="retrieval",
        minimum=0.8,
        asks={"judge": 1},
        passages=True,
    ),
    _judged(
        "factual_correctness",
        "Claims shared with the expected answer, as precision, recall or F1.",
        {**_REFERENCE, "mode": _MODE},
        part="generation",
        minimum=0.7,
        asks={"judge": 4},
    ),
)
